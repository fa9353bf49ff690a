import { expect, test } from 'vitest'
import type { Snapshot as SnapshotMessage } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import type { PolicyModule } from '../../../sidecar/ports.ts'
import { createInstall } from '../../../sidecar/trust/install.ts'
import { createTrustStore } from '../../../sidecar/trust/store.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { blobsOf, INVOICES, policyMessage, preparePolicy, snapshotMessage } from './beliefs.ts'

const EDITED = await readBundle(POLICY.edited)
const KEY = signingKey('RS256', 'k1')
const NEXT = signingKey('RS256', 'k2')

function open() {
  const store = createTrustStore()
  const prepared: PolicyModule[] = []
  const install = createInstall(store, async (files) => {
    const module = await preparePolicy(files)
    prepared.push(module)
    return module
  })
  const blobs = blobsOf(INVOICES, EDITED)
  return {
    store,
    prepared,
    blobs,
    install: (message: SnapshotMessage) => install(message, blobs),
    raw: install,
  }
}

test('a good snapshot is installed under its generation', async () => {
  const { store, install, prepared } = open()
  expect(await install(snapshotMessage(7, [{ keys: [KEY] }]))).toEqual({ ok: true, generation: 7 })
  expect(store.installed()?.generation).toBe(7)
  expect(store.installed()?.policy).toBe(prepared[0])
})

test.each([
  [6, false],
  [7, false],
  [8, true],
  [1_000, true],
])('after generation 7, generation %i is installed: %s', async (generation, ok) => {
  const { store, install } = open()
  await install(snapshotMessage(7, [{ keys: [KEY] }]))
  const before = store.installed()
  const installed = await install(snapshotMessage(generation, [{ keys: [NEXT] }]))
  expect(installed.ok).toBe(ok)
  expect(store.installed() === before).toBe(!ok)
  if (!installed.ok) {
    expect(installed.problems).toEqual([`generation: ${generation} is not greater than 7, which is in use`])
  }
})

test.each([
  [7 + 2 ** 40, true],
  [8 + 2 ** 40, false],
  [Number.MAX_SAFE_INTEGER, false],
  [Number.MAX_SAFE_INTEGER + 1, false],
  [7.5, false],
  [Number.NaN, false],
  [Number.POSITIVE_INFINITY, false],
])('a generation leaves room for those after it: from 7 to %s is taken: %s', async (generation, ok) => {
  const { store, install } = open()
  await install(snapshotMessage(7, [{ keys: [KEY] }]))
  const before = store.installed()
  for (const withheld of ['', 'all of it']) {
    const installed = await install(snapshotMessage(generation, [{ keys: [NEXT] }], { withheld }))
    if (ok) return expect(installed).toEqual({ ok, generation })
    expect(installed).toEqual({ ok, problems: [expect.stringMatching(/^generation: /)] })
    expect(store.installed()).toBe(before)
  }
  // It has blocked nothing.
  expect(await install(snapshotMessage(8, [{ keys: [NEXT] }]))).toEqual({ ok: true, generation: 8 })
})

test('all problems are told at once, each with its path', async () => {
  const { install } = open()
  const bad = snapshotMessage(1, [{ algorithms: ['HS256'] }, {}, {}, { document: Buffer.from('no JSON') }], {
    profile: {
      audience: '',
      exclusiveAudience: false,
      maxTokenLifetimeS: 5,
      leases: undefined,
      routes: [],
      tokens: undefined,
    },
    policy: {
      revision: '',
      files: [{ path: 'policy.wasm', sha256: Buffer.alloc(32), size: 1 }],
      signature: undefined,
    },
  })
  const installed = await install(bad)
  expect(installed.ok ? [] : installed.problems).toEqual([
    'profile.audience: must be 1 to 512 characters',
    'profile.max_token_lifetime_s: must be 60 to 86400',
    'issuers[0].algorithms: must name known asymmetric algorithms',
    'issuers[2].issuer: given twice',
    expect.stringContaining('issuers[3].keys.jwks: not JSON'),
    'policy.files: content of policy.wasm is not at hand',
  ])
})

const noPolicy = ['policy.files: empty; a bundle has .manifest and policy.wasm']

test.each<readonly [what: string, change: Partial<SnapshotMessage>, problems: readonly unknown[]]>([
  ['no policy', { policy: undefined }, noPolicy],
  ['a policy without files', { policy: { revision: 'r', files: [], signature: undefined } }, noPolicy],
  [
    'a policy that does not load',
    { policy: policyMessage(new Map([...INVOICES].filter(([path]) => path !== 'policy.wasm'))) },
    ['policy: policy.wasm: named in .manifest but missing'],
  ],
  ['no issuers', { issuers: [] }, ['issuers: must be 1 to 32']],
  [
    'no profile',
    { profile: undefined },
    [expect.stringMatching(/^profile.audience/), expect.stringMatching(/^profile.max/)],
  ],
])('%s: refused, and what is in use stays in use, untouched', async (_what, change, problems) => {
  const { store, install } = open()
  await install(snapshotMessage(1, [{ keys: [KEY] }]))
  const before = store.installed()
  const installed = await install(snapshotMessage(2, [{ keys: [NEXT] }], change))
  expect(installed).toEqual({ ok: false, problems })
  expect(store.installed()).toBe(before)
  expect(await install(snapshotMessage(2, [{ keys: [NEXT] }]))).toEqual({ ok: true, generation: 2 })
})

test('content that is not what its digest says is refused', async () => {
  const { store, raw } = open()
  const forged = Buffer.from('{"settings":{"refund_limit":1000000}}')
  const data = policyMessage(INVOICES)
    .files.find(({ path }) => path === 'data.json')
    ?.sha256.toString('hex')
  const lying = (sha256: string) => (sha256 === data ? forged : blobsOf(INVOICES)(sha256))
  expect((await raw(snapshotMessage(1, [{ keys: [KEY] }]), lying)).ok).toBe(false)
  expect(store.installed()).toBeUndefined()
})

test('an unchanged policy is not prepared again; a changed one is, and back again too', async () => {
  const { store, prepared, install } = open()
  await install(snapshotMessage(1, [{ keys: [KEY] }]))
  await install(snapshotMessage(2, [{ keys: [NEXT] }]))
  expect(prepared).toHaveLength(1)
  await install(snapshotMessage(3, [{ keys: [NEXT] }], { policy: policyMessage(EDITED) }))
  expect(prepared).toHaveLength(2)
  expect(store.installed()?.policy).toBe(prepared[1])
  await install(snapshotMessage(4, [{ keys: [NEXT] }]))
  expect(store.installed()?.policy).toBe(prepared[2])
})

test('an unchanged key set keeps its imported keys; a changed one is imported anew', async () => {
  const { store, install } = open()
  const keyOf = (kid: string) => store.installed()?.issuers.get(ISSUER)?.keys.byKid.get(kid)?.[0]
  await install(snapshotMessage(1, [{ keys: [KEY] }]))
  const first = keyOf('k1')
  await install(snapshotMessage(2, [{ keys: [KEY], notAfterMs: 5, refreshable: false }]))
  expect(keyOf('k1')).toBe(first)
  expect(store.installed()?.issuers.get(ISSUER)?.keys).toMatchObject({ notAfter: 5, refreshable: false })
  await install(snapshotMessage(3, [{ keys: [KEY, NEXT] }]))
  expect(keyOf('k1')).not.toBe(first)
  expect(keyOf('k2')).toBeDefined()
})

test('an unchanged document is read again when the pinned algorithms change', async () => {
  const { store, install } = open()
  const kids = () => [...(store.installed()?.issuers.get(ISSUER)?.keys.byKid.keys() ?? [])]
  await install(snapshotMessage(1, [{ keys: [KEY], algorithms: ['RS256'] }]))
  await install(snapshotMessage(2, [{ keys: [KEY], algorithms: ['ES256'] }]))
  expect(kids()).toEqual([])
  await install(snapshotMessage(3, [{ keys: [KEY], algorithms: ['RS256', 'ES256'] }]))
  expect(kids()).toEqual(['k1'])
})

test('a key that has left the set is no longer believed', async () => {
  const { store, install } = open()
  await install(snapshotMessage(1, [{ keys: [KEY, NEXT] }]))
  await install(snapshotMessage(2, [{ keys: [NEXT] }]))
  expect([...(store.installed()?.issuers.get(ISSUER)?.keys.byKid.keys() ?? [])]).toEqual(['k2'])
})

test('snapshots that arrive together are installed in order of arrival, however long each takes', async () => {
  const { store, install } = open()
  const outcomes = await Promise.all([
    install(snapshotMessage(1, [{ keys: [KEY] }])),
    install(snapshotMessage(3, [{ keys: [NEXT] }], { policy: policyMessage(EDITED) })),
    install(snapshotMessage(2, [{ keys: [KEY] }])),
    install(snapshotMessage(4, [{ keys: [KEY, NEXT] }])),
  ])
  expect(outcomes.map(({ ok }) => ok)).toEqual([true, true, false, true])
  expect(store.installed()?.generation).toBe(4)
})

test('a refused snapshot does not hold up the next one in the queue', async () => {
  const { install } = open()
  const outcomes = await Promise.all([
    install(snapshotMessage(1, [], {})),
    install(snapshotMessage(1, [{ keys: [KEY] }])),
  ])
  expect(outcomes.map(({ ok }) => ok)).toEqual([false, true])
})
