// JWT-SVIDs from memory: until half of their life, never beyond their key, and never more than a bound.
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { bundleOf, createJwtSigner } from './authority.ts'
import { identitiesIn, issued } from './identities.ts'
import { openWorld, TRUST_DOMAIN, WORKLOAD, type World } from './identity-world.ts'

const asked = (world: World) => world.issuer.asked.filter(({ method }) => method === 'jwt').length

async function ready(world: World) {
  const all = identitiesIn(world)
  await issued(world, 'workload', 1)
  return all
}

test('one question is asked once until half of the life of its answer, whatever the order of its audiences', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  const first = await jwt.fetch(['a', 'b'], '')
  expect(await jwt.fetch(['b', 'a'], '')).toBe(first)
  await world.time.advance(149_000)
  expect(await jwt.fetch(['a', 'b', 'a'], '')).toBe(first)
  expect(asked(world)).toBe(1)
  await world.time.advance(2_000)
  expect(await jwt.fetch(['a', 'b'], '')).not.toBe(first)
  expect(asked(world)).toBe(2)
})

test('another audience or another identity is another question', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  await jwt.fetch(['a'], '')
  await jwt.fetch(['b'], '')
  await jwt.fetch(['a'], WORKLOAD)
  expect(asked(world)).toBe(3)
})

test('callers that ask the same at once share one answer', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  const answers = await Promise.all(Array.from({ length: 50 }, () => jwt.fetch(['a'], '')))
  expect(new Set(answers).size).toBe(1)
  expect(asked(world)).toBe(1)
})

test('more different questions at once than the bound are told to come back', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  const answers = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) => jwt.fetch([`a${index}`], '')),
  )
  const refused = answers.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []))
  expect(refused).toEqual(Array(4).fill(status.UNAVAILABLE))
})

test('memory holds 128 answers and forgets the oldest', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  for (let index = 0; index < 130; index++) await jwt.fetch([`a${index}`], '')
  expect(jwt.held()).toBe(128)
  const before = asked(world)
  await jwt.fetch(['a129'], '')
  expect(asked(world)).toBe(before)
  await jwt.fetch(['a0'], '')
  expect(asked(world)).toBe(before + 1)
})

test('while the issuer is away the held answer goes on to its last second, and not beyond', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  const first = await jwt.fetch(['a'], '')
  world.script.refuse = { jwt: { code: status.UNAVAILABLE, details: 'away' } }
  await world.time.advance(290_000)
  expect(await jwt.fetch(['a'], '')).toBe(first)
  await world.time.advance(11_000)
  await expect(jwt.fetch(['a'], '')).rejects.toMatchObject({ code: status.UNAVAILABLE })
})

test('a refusal takes the held answer away', async () => {
  await using world = await openWorld()
  const { jwt } = await ready(world)
  await jwt.fetch(['a'], '')
  await world.time.advance(160_000)
  world.script.refuse = { jwt: { code: status.PERMISSION_DENIED, details: 'no' } }
  await expect(jwt.fetch(['a'], '')).rejects.toMatchObject({ code: status.PERMISSION_DENIED })
  expect(jwt.held()).toBe(0)
})

test('a key that leaves the bundle takes its tokens with it at once', async () => {
  await using world = await openWorld()
  const { jwt, trust } = await ready(world)
  const first = await jwt.fetch(['a'], '')
  const next = createJwtSigner('jwt-2')
  world.script.signer = next
  const parts = { trustDomain: TRUST_DOMAIN, authorities: [world.authority] }
  trust.offer(bundleOf({ ...parts, sequence: 2, signers: [world.signer, next] }))
  expect(await jwt.fetch(['a'], ''), 'a further key changes nothing').toBe(first)
  trust.offer(bundleOf({ ...parts, sequence: 3, signers: [next] }))
  expect(jwt.held()).toBe(0)
  expect(await jwt.fetch(['a'], '')).not.toBe(first)
})
