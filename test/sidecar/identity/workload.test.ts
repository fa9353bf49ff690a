// The application's identities: asked for with the control identity only, renewed in time, replaced at once after a revocation.
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { until } from '../../fixtures/process.ts'
import { bundleOf, createAuthority, createJwtSigner } from './authority.ts'
import { identitiesIn, issued, reported } from './identities.ts'
import { openWorld, POD, TRUST_DOMAIN, WORKLOAD } from './identity-world.ts'

const CONTROL = `spiffe://${TRUST_DOMAIN}/portcullis/pod/${POD.uid}`
const HOUR_MS = 3_600_000

test('the workload has a key of its own, asked for as the control identity', async () => {
  await using world = await openWorld()
  const { workload } = identitiesIn(world)
  await issued(world, 'workload', 1)
  const [control, asked] = world.issuer.asked
  expect(asked).toMatchObject({ method: 'workload', peer: CONTROL, token: '' })
  expect(asked?.key).not.toBe(control?.key)
  const state = workload.state()
  expect(state.kind === 'held' && state.svids.map(({ id }) => id.uri)).toEqual([WORKLOAD])
})

test('each renewal has a new key', async () => {
  await using world = await openWorld()
  identitiesIn(world)
  await issued(world, 'workload', 1)
  for (const count of [2, 3]) {
    await world.time.advance(HOUR_MS / 2 + 1_000)
    await issued(world, 'workload', count)
  }
  const keys = world.issuer.asked.filter(({ method }) => method === 'workload').map(({ key }) => key)
  expect(new Set(keys).size).toBe(3)
})

test('several identities come in the order of the operator, with their hints', async () => {
  await using world = await openWorld()
  const ids = ['b', 'a', 'c'].map((name) => `spiffe://${TRUST_DOMAIN}/ns/shop/${name}`)
  Object.assign(world.script, { workloadIds: ids, hints: ['internal', '', ''] })
  const { workload } = identitiesIn(world)
  await issued(world, 'workload', 1)
  const state = workload.state()
  expect(state.kind === 'held' && state.svids.map(({ id, hint }) => [id.uri, hint])).toEqual([
    [ids[0], 'internal'],
    [ids[1], ''],
    [ids[2], ''],
  ])
})

test.each<readonly [what: string, change: object, problem: RegExp]>([
  [
    'an identity of the control plane',
    { workloadIds: [`spiffe://${TRUST_DOMAIN}/portcullis/pod/other`] },
    /which no workload can be/,
  ],
  ['the same hint twice', { workloadIds: [WORKLOAD, `${WORKLOAD}-2`], hints: ['x', 'x'] }, /same hint twice/],
  ['no identity at all', { workloadIds: [] }, /without an SVID/],
  ['a hint of a kilobyte', { hints: ['h'.repeat(1025)] }, /hint of the issued SVID is too long/],
])('an answer with %s is not taken', async (_what, change, problem) => {
  await using world = await openWorld()
  Object.assign(world.script, change)
  const { workload } = identitiesIn(world)
  await reported(world, 'svid_failed', 1, 'workload')
  expect(workload.problem()).toMatch(problem)
  expect(workload.state()).toEqual({ kind: 'waiting' })
})

test('a workload that is entitled to nothing is refused, and is given its identity when that changes', async () => {
  await using world = await openWorld()
  world.script.refuse = { workload: { code: status.PERMISSION_DENIED, details: 'nothing for you' } }
  const { workload } = identitiesIn(world)
  await until('refused', () => (workload.state().kind === 'refused' ? true : undefined))
  world.script.refuse = {}
  await world.time.advance(1_000)
  await issued(world, 'workload', 1)
  expect(workload.state().kind).toBe('held')
})

test('a refusal of what was fine before is believed only once the operator was told anew who asks', async () => {
  await using world = await openWorld()
  Object.assign(world.script, { workloadTtlMs: HOUR_MS / 3 })
  const { workload } = identitiesIn(world)
  await issued(world, 'workload', 1)
  const told: string[] = []
  workload.watch(() => told.push(workload.state().kind))
  // As after an etcd restore: the control SVID is in nobody's records, until it is renewed.
  world.script.refuse = {
    workload: { code: status.PERMISSION_DENIED, details: 'not the newest of this pod' },
  }
  const { spoil } = world.script
  world.script.spoil = (method, answer) => {
    if (method === 'control') world.script.refuse = {}
    return answer
  }
  await world.time.advance(HOUR_MS / 6 + 100)
  await issued(world, 'control', 2)
  expect(world.issuer.asked.filter(({ method }) => method === 'control').map(({ peer }) => peer)).toEqual([
    undefined,
    CONTROL,
  ])
  await world.time.advance(1_000)
  await issued(world, 'workload', 2)
  expect(told).not.toContain('refused')
  world.script.spoil = spoil

  world.script.refuse = { workload: { code: status.PERMISSION_DENIED, details: 'not entitled' } }
  await world.time.advance(HOUR_MS / 6 + 100)
  await issued(world, 'control', 3)
  await world.time.advance(1_000)
  await until('refused', () => (workload.state().kind === 'refused' ? true : undefined))
})

test('an SVID that lapses while the issuer is away is not given out any more, and whoever watches is told', async () => {
  await using world = await openWorld()
  const { workload } = identitiesIn(world)
  await issued(world, 'workload', 1)
  await world.issuer.down()
  const told: string[] = []
  workload.watch(() => told.push(workload.state().kind))
  await world.time.advance(HOUR_MS - 5_000)
  expect(workload.state().kind).toBe('held')
  await world.time.advance(10_000)
  expect(workload.state().kind).toBe('waiting')
  expect(told).toEqual(['waiting'])
})

test('a revoked root replaces the SVID at once, long before half of its life', async () => {
  const next = await createAuthority(TRUST_DOMAIN)
  await using world = await openWorld({ serverAuthority: next })
  const { authority, signer, script } = world
  const parts = { trustDomain: TRUST_DOMAIN, signers: [signer] }
  // Old and new root at first: the standby has long been published, and the issuer's server has moved to it already.
  const anchored = { ...world, settings: { ...world.settings, anchors: [authority.root, next.root] } }
  script.bundle = bundleOf({ ...parts, sequence: 1, authorities: [authority, next] })
  const { workload, trust } = identitiesIn(anchored)
  await issued(world, 'workload', 1)
  const before = workload.state()
  script.authority = next
  script.bundle = bundleOf({ ...parts, sequence: 2, authorities: [next] })
  expect(trust.offer(script.bundle)).toEqual({ ok: true, news: true })
  // The clock of the world stands still: nothing here waited for a moment to come.
  await issued(world, 'workload', 2)
  const after = workload.state()
  expect(after.kind === 'held' && before.kind === 'held' && after.svids[0] !== before.svids[0]).toBe(true)
  const asked = world.issuer.asked.map(({ method, peer }) => [method, peer])
  expect(asked.slice(2)).toEqual([
    ['control', undefined],
    ['workload', CONTROL],
  ])
})

test('the trust bundle never goes back, and two contents under one number are told', async () => {
  await using world = await openWorld()
  const { trust } = identitiesIn(world)
  const parts = { trustDomain: TRUST_DOMAIN, authorities: [world.authority], signers: [world.signer] }
  expect(trust.offer(bundleOf({ ...parts, sequence: 7 }))).toEqual({ ok: true, news: true })
  expect(trust.offer(bundleOf({ ...parts, sequence: 6 }))).toEqual({ ok: true, news: false })
  expect(trust.offer(bundleOf({ ...parts, sequence: 7 }))).toEqual({ ok: true, news: false })
  const other = bundleOf({ ...parts, sequence: 7, signers: [createJwtSigner('other')] })
  expect(trust.offer(other)).toEqual({ ok: false, problem: expect.stringContaining('two different') })
  expect(trust.current().sequence).toBe(7)
})

test.each<readonly [what: string, change: (jwk: Record<string, unknown>) => unknown, problem: RegExp]>([
  ['a private key', (jwk) => ({ ...jwk, d: 'AAAA' }), /private key/],
  ['a key without kid', ({ kid: _kid, ...jwk }) => jwk, /no usable "kid"/],
  ['a point that is not on the curve', (jwk) => ({ ...jwk, x: jwk['y'] }), /not a valid public key/],
  ['a key that is no object', () => 7, /no JWK Set/],
])('a bundle whose JWT keys hold %s is refused', async (_what, change, problem) => {
  await using world = await openWorld()
  const { trust } = identitiesIn(world)
  const parts = { trustDomain: TRUST_DOMAIN, authorities: [world.authority], signers: [] }
  const keys = [change({ ...world.signer.jwk })]
  const offered = trust.offer({
    ...bundleOf({ ...parts, sequence: 5 }),
    jwtKeys: Buffer.from(JSON.stringify({ keys })),
  })
  expect(offered).toEqual({ ok: false, problem: expect.stringMatching(problem) })
})
