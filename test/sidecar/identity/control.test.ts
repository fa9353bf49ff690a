// The sidecar's own identity: bootstrap, renewal, refusals, and an operator that is somebody else.
import { generateKeyPairSync } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { createControl } from '../../../sidecar/identity/control.ts'
import { createIssuer } from '../../../sidecar/identity/issuer.ts'
import { createTrustState } from '../../../sidecar/identity/trust.ts'
import { until } from '../../fixtures/process.ts'
import { bundleOf, createAuthority } from './authority.ts'
import { AUDIENCE, openWorld, POD, TRUST_DOMAIN, type World } from './identity-world.ts'

const CONTROL = `spiffe://${TRUST_DOMAIN}/portcullis/pod/${POD.uid}`
const HOUR_MS = 3_600_000

function controlIn({ settings, ports, lifetime }: World) {
  const trust = createTrustState(settings)
  const issuer = createIssuer(settings, { trust: trust.current, wall: ports.wall })
  const control = createControl(settings, { ...ports, issuer, trust })
  const running = control.run(lifetime)
  return { trust, control, running }
}

const calls = (world: World, count: number) =>
  until(`${count} calls`, () => (world.issuer.asked.length >= count ? true : undefined))
const failures = (world: World, count: number) =>
  until(`${count} failures`, () =>
    world.reports.filter(({ event }) => event === 'svid_failed').length >= count ? true : undefined,
  )
const issued = (world: World, count: number) =>
  until(`${count} SVIDs`, () =>
    world.reports.filter(({ event }) => event === 'svid_issued').length >= count ? true : undefined,
  )
const problems = (world: World) =>
  world.reports.filter(({ event }) => event === 'svid_failed').map(({ facts }) => String(facts['problem']))

test('a bootstrap sends the token and no certificate, and brings the identity and the trust bundle', async () => {
  await using world = await openWorld()
  const token = world.writeToken({ aud: AUDIENCE })
  const { control, trust } = controlIn(world)
  await issued(world, 1)
  expect(control.current()?.id.uri).toBe(CONTROL)
  expect(trust.current().sequence).toBe(1)
  expect(world.issuer.asked).toEqual([expect.objectContaining({ method: 'control', peer: undefined, token })])
})

test('half of the life before, it is renewed with a new key, the current SVID as client certificate and a fresh token', async () => {
  await using world = await openWorld()
  controlIn(world)
  await issued(world, 1)
  const tokens = ['first', 'second', 'third'].map((jti) => {
    return () => world.writeToken({ aud: AUDIENCE, jti })
  })
  const sent: string[] = []
  for (const [index, write] of tokens.entries()) {
    sent.push(write())
    await world.time.advance(HOUR_MS / 2 + 1_000)
    await issued(world, index + 2)
  }
  const [, ...renewals] = world.issuer.asked
  expect(renewals.map(({ peer }) => peer)).toEqual([CONTROL, CONTROL, CONTROL])
  expect(renewals.map(({ token }) => token)).toEqual(sent)
  expect(new Set(world.issuer.asked.map(({ key }) => key)).size).toBe(4)
})

test('004-20: it is not renewed long before half of its life', async () => {
  await using world = await openWorld()
  controlIn(world)
  await issued(world, 1)
  await world.time.advance(HOUR_MS / 2 - 200_000)
  expect(world.issuer.asked).toHaveLength(1)
})

test.each([
  [0, 0.45],
  [0.999, 0.55],
])('chance %d makes the renewal due at %d of the life', async (chance, share) => {
  await using world = await openWorld()
  const { settings, ports, lifetime } = world
  const trust = createTrustState(settings)
  const issuer = createIssuer(settings, { trust: trust.current, wall: ports.wall })
  const control = createControl(settings, { ...ports, random: () => chance, issuer, trust })
  void control.run(lifetime)
  await issued(world, 1)
  await world.time.advance(HOUR_MS * share - 40_000)
  expect(world.issuer.asked).toHaveLength(1)
  await world.time.advance(80_000)
  await calls(world, 2)
})

test.each([
  ['PERMISSION_DENIED', status.PERMISSION_DENIED],
  ['UNAUTHENTICATED', status.UNAUTHENTICATED],
  ['UNAVAILABLE', status.UNAVAILABLE],
])(
  'refused with %s it comes back later and later, and takes the answer when there is one',
  async (name, code) => {
    await using world = await openWorld()
    world.script.refuse = { control: { code, details: 'pod is gone' } }
    const { control } = controlIn(world)
    await failures(world, 1)
    for (let count = 2; count <= 5; count++) {
      await world.time.advance(30_000)
      await failures(world, count)
    }
    const waits = world.reports.map(({ facts }) => Number(facts['retryMs']))
    expect(waits).toEqual([150, 300, 600, 1200, 2400])
    expect(control.problem()).toBe(`${name}: pod is gone`)
    expect(control.current()).toBeUndefined()
    world.script.refuse = {}
    await world.time.advance(30_000)
    await issued(world, 1)
    expect(control.problem()).toBe('')
  },
)

test.each([0, 2])(
  'once the issuer was away until the SVID lapsed, after %i renewals, it begins again with the last certified key',
  async (renewals) => {
    await using world = await openWorld()
    const { control } = controlIn(world)
    await issued(world, 1)
    for (let done = 1; done <= renewals; done++) {
      await world.time.advance(HOUR_MS / 2 + 1_000)
      await issued(world, 1 + done)
    }
    const certified = world.issuer.asked.at(-1)?.key
    await world.issuer.down()
    await world.time.advance(HOUR_MS / 2 + 1_000)
    await failures(world, 1)
    expect(control.current()?.id.uri, 'held while it is valid').toBe(CONTROL)
    await world.time.advance(HOUR_MS / 2)
    await until('lapse', () => (control.current() ? undefined : true))
    // Whatever was under way when it lapsed has failed by then.
    for (let round = 0; round < 2; round++) {
      const before = problems(world).length
      await world.time.advance(31_000)
      await failures(world, before + 1)
    }
    await world.issuer.up()
    await until(
      'another',
      async () => {
        await world.time.advance(31_000)
        return control.current()
      },
      { withinMs: 20_000, everyMs: 100 },
    )
    expect(world.issuer.asked.at(-1)).toMatchObject({ peer: undefined, key: certified })
  },
)

test('a renewal that the issuer does not recognise is followed by a bootstrap', async () => {
  await using world = await openWorld()
  controlIn(world)
  await issued(world, 1)
  world.script.refuse = { control: { code: status.UNAUTHENTICATED, details: 'unknown SVID' } }
  await world.time.advance(HOUR_MS / 2 + 1_000)
  await failures(world, 1)
  world.script.refuse = {}
  await world.time.advance(1_000)
  await issued(world, 2)
  expect(world.issuer.asked.map(({ peer }) => peer)).toEqual([undefined, CONTROL, undefined])
  expect(world.issuer.asked[2]?.key).toBe(world.issuer.asked[0]?.key)
})

test('a root that leaves the trust bundle takes the identity with it, and it begins again at once', async () => {
  await using world = await openWorld()
  const { control, trust } = controlIn(world)
  await issued(world, 1)
  const next = await createAuthority(TRUST_DOMAIN)
  const parts = { trustDomain: TRUST_DOMAIN, signers: [world.signer] }
  // The server's own certificate is still of the old root, so the old root is revoked only in what the leaf chains to.
  world.script.authority = next
  world.script.bundle = bundleOf({ ...parts, sequence: 3, authorities: [next] })
  trust.offer(bundleOf({ ...parts, sequence: 2, authorities: [next] }))
  expect(control.current()).toBeUndefined()
  await failures(world, 1)
  expect(problems(world)[0]).toMatch(/UNAVAILABLE.*(unable to verify|self.signed|issuer certificate)/i)
})

test.each([
  ['of the feed', `spiffe://${TRUST_DOMAIN}/portcullis/operator/control/c-1`],
  ['of a workload', `spiffe://${TRUST_DOMAIN}/ns/portcullis-system/sa/issuer`],
  ['of a pod', `spiffe://${TRUST_DOMAIN}/portcullis/pod/issuer`],
  ['with a longer role', `spiffe://${TRUST_DOMAIN}/portcullis/operator/issuer-2/x`],
  ['of another trust domain', 'spiffe://other.example/portcullis/operator/issuer/i-1'],
])('a server with the identity %s gets no token', async (_what, serverId) => {
  await using world = await openWorld({ serverId })
  controlIn(world)
  await failures(world, 1)
  expect(world.issuer.asked).toEqual([])
  expect(problems(world)[0]).toMatch(/the server is |no SPIFFE identity/)
})

test('a server whose certificate is of a foreign root gets no token', async () => {
  await using world = await openWorld({ serverAuthority: await createAuthority(TRUST_DOMAIN) })
  controlIn(world)
  await failures(world, 1)
  expect(world.issuer.asked).toEqual([])
  expect(problems(world)[0]).toMatch(/^UNAVAILABLE/)
})

test.each([
  ['another audience', { aud: ['https://kubernetes.default.svc'] }],
  ['a further audience', { aud: [AUDIENCE, 'vault'] }],
  ['no audience', {}],
])('a token with %s is not sent', async (_what, claims) => {
  await using world = await openWorld()
  const token = world.writeToken(claims)
  controlIn(world)
  await failures(world, 1)
  expect(world.issuer.asked).toEqual([])
  expect(problems(world)[0]).toMatch(/audience .*; look at the pod's projected volume/)
  expect(problems(world)[0]).not.toContain(token.split('.')[1])
})

test.each<readonly [what: string, spoil: (answer: Spoilt) => unknown, problem: RegExp]>([
  ['no SVID', (answer) => ({ ...answer, svid: undefined }), /without an SVID/],
  [
    'another trust domain in the bundle',
    (answer) => ({ ...answer, bundle: { ...answer.bundle, trustDomain: 'other.example' } }),
    /trust bundle of another trust domain/,
  ],
  [
    'a bundle without roots',
    (answer) => ({ ...answer, bundle: { ...answer.bundle, x509Roots: [] } }),
    /with 0 roots/,
  ],
  [
    'a broken chain',
    (answer) => ({ ...answer, svid: { ...answer.svid, chain: [Buffer.from('x')] } }),
    /not genuine/,
  ],
  [
    'another ID than certified',
    (answer) => ({ ...answer, svid: { ...answer.svid, spiffeId: 'spiffe://cluster.example/x' } }),
    /another ID/,
  ],
])('an answer with %s is not taken', async (_what, spoil, problem) => {
  await using world = await openWorld()
  world.script.spoil = (_method, answer) => spoil(answer as unknown as Spoilt) as typeof answer
  const { control } = controlIn(world)
  await failures(world, 1)
  expect(problems(world)[0]).toMatch(problem)
  expect(control.current()).toBeUndefined()
})

test('an SVID that certifies another key than the one asked for is not taken', async () => {
  await using world = await openWorld()
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const stranger = await world.authority.issue({
    id: CONTROL,
    spki: publicKey.export({ type: 'spki', format: 'der' }),
  })
  world.script.spoil = (_method, answer) => {
    const { svid, ...rest } = answer as unknown as Spoilt
    return { ...rest, svid: { ...svid, chain: [stranger] } } as unknown as typeof answer
  }
  const { control } = controlIn(world)
  await failures(world, 1)
  expect(problems(world)[0]).toMatch(/certifies another key/)
  expect(control.current()).toBeUndefined()
})

test('an SVID for another pod is not taken', async () => {
  await using world = await openWorld()
  world.script.podUid = 'another'
  controlIn(world)
  await failures(world, 1)
  expect(problems(world)[0]).toMatch(/not for this pod/)
})

interface Spoilt {
  readonly svid: { readonly chain: readonly Buffer[]; readonly spiffeId: string }
  readonly bundle: { readonly trustDomain: string; readonly x509Roots: readonly Buffer[] }
}
