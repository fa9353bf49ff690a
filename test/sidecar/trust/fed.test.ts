// What an operator may change, and in which direction nothing ever goes.
import { describe, expect, test } from 'vitest'
import type { Delta, Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import type { PolicyModule } from '../../../sidecar/ports.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { blobsOf, INVOICES, issuerMessage, policyMessage, preparePolicy } from './beliefs.ts'
import { bundleSigner, fedSnapshot, LEASES, openFed, SIGNER, withheldSnapshot } from './fed-world.ts'
import { AT, entry, message } from './revocation-world.ts'

const EDITED = await readBundle(POLICY.edited)
const KEY = signingKey('RS256', 'k1')
const NEXT = signingKey('RS256', 'k2')
const OTHER = 'https://other.test.example'
const blobs = blobsOf(INVOICES, EDITED)

function delta(base: number, generation: number, change: Partial<Delta> = {}): Delta {
  return {
    baseGeneration: base,
    generation,
    issuers: [],
    removedIssuers: [],
    profile: undefined,
    policy: undefined,
    ...change,
  }
}

async function open(first: Snapshot | 'nothing' = fedSnapshot(5, [{ keys: [KEY] }])) {
  const fed = openFed()
  if (first !== 'nothing')
    expect(await fed.believe.install(first, blobs)).toEqual({ ok: true, generation: first.generation })
  return {
    ...fed,
    install: (snapshot: Snapshot) => fed.believe.install(snapshot, blobs),
    amend: (change: Delta) => fed.believe.amend(change, blobs),
    kids: (issuer = ISSUER) => [...(fed.store.installed()?.issuers.get(issuer)?.keys.byKid.keys() ?? [])],
    reason: () => {
      const now = fed.store.current(AT)
      return 'reason' in now ? now.reason : 'believed'
    },
  }
}

describe('withheld', () => {
  test('permissions are gone before anything else happens, and the reason is told', async () => {
    const { believe, store, reason } = await open()
    const taken = believe.install(withheldSnapshot(6, 'no AccessPolicy selects this pod'), blobs)
    expect(reason()).toBe('not_ready')
    expect(store.installed()).toBeUndefined()
    expect(await taken).toEqual({ ok: true, generation: 6 })
    expect(store.withheld()).toBe('no AccessPolicy selects this pod')
    expect(believe.held()).toMatchObject({ generation: 6, policyDigest: Buffer.alloc(0) })
  })

  test('a newer snapshot ends it, without compiling the policy again', async () => {
    const modules: PolicyModule[] = []
    const fed = openFed({}, async (files) => {
      const module = await preparePolicy(files)
      modules.push(module)
      return module
    })
    await fed.believe.install(fedSnapshot(5, [{ keys: [KEY] }]), blobs)
    await fed.believe.install(withheldSnapshot(6, 'conflict'), blobs)
    expect(await fed.believe.install(fedSnapshot(7, [{ keys: [KEY] }]), blobs)).toMatchObject({ ok: true })
    expect(fed.store.withheld()).toBe('')
    expect(modules).toHaveLength(1)
  })

  test.each([4, 5])('generation %i, which is not newer, withholds nothing', async (generation) => {
    const { install, reason } = await open()
    expect(await install(withheldSnapshot(generation, 'old news'))).toMatchObject({ ok: false })
    expect(reason()).toBe('believed')
  })

  test('told again on a new stream, it is the same; an older snapshot does not end it', async () => {
    const { install, reason } = await open()
    await install(withheldSnapshot(6, 'conflict'))
    expect(await install(withheldSnapshot(6, 'conflict'))).toMatchObject({ ok: true })
    expect(await install(fedSnapshot(6, [{ keys: [KEY] }]))).toMatchObject({ ok: false })
    expect(await install(fedSnapshot(5, [{ keys: [KEY] }]))).toMatchObject({ ok: false })
    expect(reason()).toBe('not_ready')
  })

  test('a policy that was compiling meanwhile is not put into use', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const fed = openFed({}, async (files) => {
      await promise
      return preparePolicy(files)
    })
    const slow = fed.believe.install(fedSnapshot(5, [{ keys: [KEY] }]), blobs)
    await fed.believe.install(withheldSnapshot(6, 'conflict'), blobs)
    resolve()
    expect(await slow).toMatchObject({ ok: false })
    expect(fed.store.installed()).toBeUndefined()
    expect(fed.store.generation()).toBe(6)
  })

  test('there is nothing for a delta to build on', async () => {
    const { install, amend, reason } = await open()
    await install(withheldSnapshot(6, 'conflict'))
    expect(await amend(delta(6, 7))).toMatchObject({ ok: false })
    expect(await amend(delta(5, 7))).toMatchObject({ ok: false })
    expect(reason()).toBe('not_ready')
  })
})

describe('a delta', () => {
  test('adds, changes and removes issuers and leaves the rest', async () => {
    const { amend, kids, store } = await open(
      fedSnapshot(5, [{ keys: [KEY] }, { issuer: OTHER, keys: [KEY] }]),
    )
    const third = issuerMessage({ issuer: 'https://third.example', keys: [KEY] })
    expect(
      await amend(
        delta(5, 6, { issuers: [issuerMessage({ keys: [NEXT] }), third], removedIssuers: [OTHER] }),
      ),
    ).toEqual({ ok: true, generation: 6 })
    expect([...(store.installed()?.issuers.keys() ?? [])]).toEqual([ISSUER, 'https://third.example'])
    expect(kids()).toEqual(['k2'])
    expect(await amend(delta(6, 7))).toEqual({ ok: true, generation: 7 })
    expect(kids()).toEqual(['k2'])
  })

  test('changes routes, and the policy', async () => {
    const { amend, store, believe } = await open()
    const profile = fedSnapshot(0, []).profile
    expect(
      await amend(
        delta(5, 6, { profile: profile && { ...profile, leases: { ...LEASES, standardMs: 7_000 } } }),
      ),
    ).toMatchObject({ ok: true })
    expect(store.installed()?.tiers?.leaseMs('x')).toBe(7_000)
    const before = believe.held().policyDigest
    expect(await amend(delta(6, 7, { policy: SIGNER.sign(policyMessage(EDITED)) }))).toMatchObject({
      ok: true,
    })
    expect(believe.held().policyDigest).not.toEqual(before)
  })

  test.each<readonly [what: string, change: Delta]>([
    ['on an older one', delta(4, 6)],
    ['on a newer one', delta(6, 7)],
    ['that goes nowhere', delta(5, 5)],
    ['that goes back', delta(5, 4)],
    ['that removes everybody', delta(5, 6, { removedIssuers: [ISSUER] })],
    ['with a bad issuer', delta(5, 6, { issuers: [issuerMessage({ algorithms: ['HS256'] })] })],
    ['with an issuer twice', delta(5, 6, { issuers: [issuerMessage(), issuerMessage()] })],
    ['with a policy that nobody signed', delta(5, 6, { policy: policyMessage(EDITED) })],
  ])('%s is refused and changes nothing', async (_what, change) => {
    const { amend, store } = await open()
    const before = store.installed()
    expect(await amend(change)).toMatchObject({ ok: false })
    expect(store.installed()).toBe(before)
    expect(await amend(delta(5, 6))).toMatchObject({ ok: true })
  })

  test('and the whole snapshot that it led to are the same', async () => {
    const others = [{ issuer: 'https://a.example' }, { issuer: 'https://b.example' }]
    const { amend, install } = await open(fedSnapshot(5, [{ keys: [KEY] }, ...others]))
    await amend(delta(5, 6, { issuers: [issuerMessage({ keys: [NEXT] })] }))
    expect(await install(fedSnapshot(6, [{ keys: [NEXT] }, ...others]))).toMatchObject({ ok: true })
    expect(await install(fedSnapshot(6, [{ keys: [KEY] }, ...others]))).toMatchObject({ ok: false })
  })

  test('before the first snapshot is refused', async () => {
    const fed = openFed()
    expect(await fed.believe.amend(delta(0, 1), blobs)).toMatchObject({ ok: false })
  })

  test('that arrives with its base is taken after it', async () => {
    const { believe } = await open('nothing')
    const outcomes = await Promise.all([
      believe.install(fedSnapshot(5, [{ keys: [KEY] }]), blobs),
      believe.amend(delta(5, 6), blobs),
      believe.amend(delta(6, 7), blobs),
      believe.amend(delta(6, 8), blobs),
    ])
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, true, true, false])
  })
})

describe('freshness of keys', () => {
  const notAfter = (fed: { store: ReturnType<typeof openFed>['store'] }) =>
    fed.store.installed()?.issuers.get(ISSUER)?.keys.notAfter
  const term = (notAfterMs: number, issuer = ISSUER) => ({ terms: [{ issuer, notAfterMs }] })

  test('moves the end of their use, later only, and changes no generation', async () => {
    const fed = await open(fedSnapshot(5, [{ keys: [KEY], notAfterMs: AT }]))
    for (const [ms, want] of [
      [AT + 1_000, AT + 1_000],
      [AT - 1_000, AT + 1_000],
      [0, AT + 1_000],
    ] as const) {
      expect(await fed.believe.freshen(term(ms))).toEqual({ ok: true, generation: 5 })
      expect(notAfter(fed)).toBe(want)
    }
    expect(fed.kids()).toEqual(['k1'])
  })

  test('survives a delta that does not name the issuer', async () => {
    const fed = await open(fedSnapshot(5, [{ keys: [KEY], notAfterMs: AT }]))
    await fed.believe.freshen(term(AT + 1_000))
    await fed.amend(delta(5, 6))
    expect(notAfter(fed)).toBe(AT + 1_000)
  })

  test('of keys without an end, and of issuers that nobody knows, changes nothing', async () => {
    const fed = await open()
    expect(await fed.believe.freshen(term(AT))).toMatchObject({ ok: true })
    expect(await fed.believe.freshen(term(AT, OTHER))).toMatchObject({ ok: true })
    expect(notAfter(fed)).toBe(Number.POSITIVE_INFINITY)
    expect(await openFed().believe.freshen(term(AT))).toMatchObject({ ok: true })
  })

  test('the same snapshot again is no rollback, and brings its freshness', async () => {
    const fed = await open(fedSnapshot(5, [{ keys: [KEY], notAfterMs: AT }]))
    expect(await fed.install(fedSnapshot(5, [{ keys: [KEY], notAfterMs: AT + 9 }]))).toMatchObject({
      ok: true,
    })
    expect(notAfter(fed)).toBe(AT + 9)
    expect(await fed.install(fedSnapshot(5, [{ keys: [NEXT], notAfterMs: AT + 99 }]))).toMatchObject({
      ok: false,
    })
    expect(await fed.install(fedSnapshot(5, [{ keys: [KEY] }]))).toMatchObject({ ok: false })
    expect(notAfter(fed)).toBe(AT + 9)
    expect(fed.kids()).toEqual(['k1'])
  })
})

describe('a pushed snapshot needs', () => {
  const stranger = bundleSigner()
  const signed = SIGNER.sign(policyMessage(INVOICES))
  const signature = signed.signature ?? { keyId: '', value: Buffer.alloc(0) }
  const bare = fedSnapshot(5, [{ keys: [KEY] }])
  test.each<readonly [what: string, change: Partial<Snapshot>, problem: RegExp]>([
    ['a signature', { policy: policyMessage(INVOICES) }, /policy\.signature: unset/],
    [
      'one of a key of the trust bundle, named',
      { policy: stranger.sign(policyMessage(INVOICES)) },
      new RegExp(`policy\\.signature: key "${stranger.key.id}" is not in the trust bundle, which has 1 key`),
    ],
    [
      'one that fits its files',
      { policy: { ...SIGNER.sign(policyMessage(EDITED)), files: signed.files } },
      /does not fit/,
    ],
    [
      'one that fits the paths too',
      { policy: { ...signed, files: signed.files.map((file) => ({ ...file, path: `x${file.path}` })) } },
      /does not fit/,
    ],
    [
      'a whole one',
      { policy: { ...signed, signature: { ...signature, value: signature.value.subarray(1) } } },
      /must be 64 bytes/,
    ],
    [
      'leases',
      { profile: bare.profile && { ...bare.profile, leases: undefined, routes: [] } },
      /profile\.leases/,
    ],
    [
      'each path once',
      { policy: { ...signed, files: [...signed.files, ...signed.files] } },
      /each path once/,
    ],
    [
      'digests of 32 bytes',
      { policy: { ...signed, files: signed.files.map((file) => ({ ...file, sha256: Buffer.alloc(31) })) } },
      /32 bytes/,
    ],
  ])('%s', async (_what, change, problem) => {
    const { install, store } = await open('nothing')
    const installed = await install(fedSnapshot(5, [{ keys: [KEY] }], change))
    expect(installed.ok ? '' : installed.problems.join()).toMatch(problem)
    expect(store.installed()).toBeUndefined()
  })

  test('the key of today: what was vouched for goes on after its key has left, and nothing new comes in by it', async () => {
    const { install, signers, amend } = await open()
    const use = signers.read([stranger.key])
    if (typeof use === 'function') use()
    expect(await amend(delta(5, 6, { issuers: [issuerMessage({ keys: [NEXT] })] }))).toMatchObject({
      ok: true,
    })
    const edited = { policy: SIGNER.sign(policyMessage(EDITED)) }
    expect(await install(fedSnapshot(7, [{ keys: [KEY] }], edited))).toMatchObject({ ok: false })
    const resigned = { policy: stranger.sign(policyMessage(EDITED)) }
    expect(await install(fedSnapshot(7, [{ keys: [KEY] }], resigned))).toMatchObject({ ok: true })
  })
})

describe('revoked keys', () => {
  const kid = (...revokedKids: string[]) => ({
    issuers: [{ ...issuerMessage({ keys: [KEY, NEXT] }), revokedKids }],
  })
  test('come with the issuer and go with it', async () => {
    const { install, store } = await open('nothing')
    const revoked = () => [...(store.installed()?.issuers.get(ISSUER)?.keys.revokedKids ?? [])]
    await install(fedSnapshot(1, [], kid('k1', 'k9')))
    expect(revoked()).toEqual(['k1', 'k9'])
    await install(fedSnapshot(2, [], kid()))
    expect(revoked()).toEqual([])
  })
  test('are at most 64', async () => {
    const { install } = await open('nothing')
    const many = (count: number) => kid(...Array.from({ length: count }, (_, i) => `k${i}`))
    expect(await install(fedSnapshot(1, [], many(65)))).toMatchObject({ ok: false })
    expect(await install(fedSnapshot(1, [], many(64)))).toMatchObject({ ok: true })
  })
})

describe('heartbeats', () => {
  test.each([
    [0, true],
    [9, true],
    [10, true],
    [11, false],
    [Number.NaN, false],
  ])('at head 10, one for head %d renews the lease: %s', (revocationHead, renews) => {
    const { believe } = openFed({ monotonic: () => 0, wall: () => AT })
    believe.revoke(message(0, 10, [entry('a', { $case: 'sub', sub: 'alice' })]))
    believe.greet()
    believe.heartbeat({ revocationHead, atMs: 1 })
    expect(believe.silenceMs()).toBe(renews ? 0 : Number.POSITIVE_INFINITY)
  })
})

test('a wall clock that jumps ahead and comes back has emptied no table unnoticed', () => {
  let wall = AT
  const { believe, revocations, store } = openFed({ wall: () => wall })
  believe.revoke(message(0, 1, [entry('a', { $case: 'sub', sub: 'alice' })]))
  wall = AT + 86_400_000
  believe.sweep()
  wall = AT
  expect(revocations.size).toBe(0)
  expect(store.obstacle(wall)).toBe('clock_unsafe')
})
