import { expect, test } from 'vitest'
import { Staleness } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Cluster } from '../../../operator/state/cluster.ts'
import { projectAll } from '../../../operator/state/projections.ts'
import {
  accessPolicy,
  bundle,
  fold,
  keys,
  type Observed,
  pod,
  put,
  shop,
  sidecarProfile,
  tokenIssuer,
  uidOf,
} from './objects.ts'

const front = (cluster: Cluster) => projectAll(cluster).byKey.get('shop/front')

test('a resolved AccessPolicy becomes one snapshot for all its pods', () => {
  const all = projectAll(shop(['a', 'b']))
  const projection = all.byKey.get('shop/front')
  expect([...all.byPod.values()]).toEqual(['shop/front', 'shop/front'])
  expect(projection?.problems).toEqual([])
  expect(projection?.snapshot).toMatchObject({
    generation: 0,
    withheld: '',
    profile: {
      audience: 'https://shop.example',
      exclusiveAudience: false,
      maxTokenLifetimeS: 3600,
      leases: { strictMs: 5_000, standardMs: 60_000, readDegradedMs: 900_000 },
      routes: [],
    },
    issuers: [
      {
        issuer: 'https://idp.example',
        algorithms: ['RS256'],
        skewS: 30,
        tenant: { $case: 'fixedTenant', fixedTenant: 'acme' },
        keys: { notAfterMs: 1_900_000_000_000, refreshable: true },
        revokedKids: [],
        source: 'shop/idp',
      },
    ],
    policy: { revision: 'r1', files: [{ path: 'policy.wasm', size: 2 }], signature: { keyId: 'k' } },
  })
  expect(projection?.issuers.get('https://idp.example')).toMatchObject({ tokenIssuer: 'shop/idp' })
  expect([...(projection?.blobs.values() ?? [])]).toEqual([2])
})

test.each<[string, readonly Observed[], RegExp]>([
  [
    'the issuer is not there',
    [put('tokenIssuers', 'shop/idp', undefined)],
    /no TokenIssuer idp in namespace shop/,
  ],
  [
    'the bundle has no revision',
    [put('bundles', 'shop/rules', undefined)],
    /PolicyBundle rules of namespace shop has no compiled and signed revision/,
  ],
  [
    'the issuer of another namespace is not shared',
    [
      put('tokenIssuers', 'idm/idp', tokenIssuer('idm', 'idp', { allowedNamespaces: ['other'] })),
      put(
        'accessPolicies',
        'shop/front',
        accessPolicy('shop', 'front', { issuers: [{ name: 'idp', namespace: 'idm' }] }),
      ),
    ],
    /no TokenIssuer idp in namespace idm, or its spec.allowedNamespaces does not name shop/,
  ],
  [
    'two issuers are one',
    [
      put('tokenIssuers', 'shop/twin', tokenIssuer('shop', 'twin', { issuer: 'https://idp.example' })),
      put(
        'accessPolicies',
        'shop/front',
        accessPolicy('shop', 'front', { issuers: [{ name: 'idp' }, { name: 'twin' }] }),
      ),
    ],
    /shop\/twin and shop\/idp have the same issuer/,
  ],
])('withheld as a whole when %s', (_, changes, why) => {
  const projection = front(shop(['a'], ...changes))
  expect(projection?.problems.join()).toMatch(why)
  expect(projection?.snapshot).toMatchObject({ issuers: [], policy: undefined, profile: undefined })
  expect(projection?.snapshot.withheld).toMatch(why)
  expect(Buffer.byteLength(projection?.snapshot.withheld ?? '')).toBeLessThanOrEqual(512)
})

test.each([['*'], ['shop']])('an issuer that names namespace %s is shared', (allowed) => {
  const projection = front(
    shop(
      ['a'],
      put('tokenIssuers', 'idm/idp', tokenIssuer('idm', 'idp', { allowedNamespaces: [allowed] })),
      put(
        'accessPolicies',
        'shop/front',
        accessPolicy('shop', 'front', { issuers: [{ name: 'idp', namespace: 'idm' }] }),
      ),
    ),
  )
  expect(projection?.problems).toEqual([])
  expect(projection?.issuers.get('https://idp.example')?.tokenIssuer).toBe('idm/idp')
})

test('a reason of any length fits the contract, and is cut between characters', () => {
  const issuers = Array.from({ length: 32 }, (_, index) => ({ name: `lacking-${index}` }))
  const projection = front(
    shop(['a'], put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', { issuers }))),
  )
  expect(projection?.problems).toHaveLength(32)
  expect(Buffer.byteLength(projection?.snapshot.withheld ?? '')).toBe(512)
  expect(projection?.snapshot.withheld).toMatch(/…$/)
})

test('the digest follows the content and not the term of the keys', () => {
  const before = front(shop(['a']))?.digest
  const later = keys('{"keys":[]}', 1_900_000_900_000)
  expect(front(shop(['a'], put('keySets', 'shop/idp', later)))?.digest).toBe(before)
  const changes: readonly Observed[] = [
    put('keySets', 'shop/idp', keys('{"keys":[{}]}')),
    put('bundles', 'shop/rules', bundle('r2')),
    put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp', { revokedKids: ['k1'] })),
    put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', { exclusiveAudience: 'Required' })),
    put('profiles', 'fast', sidecarProfile('fast', { strict: '2s' })),
  ]
  const digests = changes.map((change) => front(shop([], change))?.digest)
  expect(new Set([before, ...digests]).size).toBe(changes.length + 1)
})

test('the order in which lists are written changes no digest', () => {
  const spec = (order: (list: readonly unknown[]) => readonly unknown[]) => ({
    issuers: order([{ name: 'idp' }, { name: 'other' }]),
    routes: [{ actions: order(['a', 'b']), staleness: 'Strict' }],
  })
  const digest = (order: (list: readonly unknown[]) => readonly unknown[]) =>
    front(
      shop(
        ['a'],
        put(
          'tokenIssuers',
          'shop/other',
          tokenIssuer('shop', 'other', { algorithms: order(['RS256', 'ES256']) }),
        ),
        put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', spec(order))),
      ),
    )?.digest
  expect(digest((list) => list)).toBe(digest((list) => list.toReversed()))
})

test('routes carry their tier, and of several profiles the shortest lease counts', () => {
  const routes = [
    { actions: ['pay'], staleness: 'Strict' },
    { actions: ['read*'], staleness: 'ReadDegraded' },
    { actions: ['list'] },
  ]
  const projection = front(
    shop(
      [],
      put('pods', uidOf('shop/a'), pod('shop', 'a', { profile: 'one' })),
      put('pods', uidOf('shop/b'), pod('shop', 'b', { profile: 'two' })),
      put('profiles', 'one', sidecarProfile('one', { strict: '2s', standard: '5m' })),
      put('profiles', 'two', sidecarProfile('two', { strict: '9s', standard: '30s' })),
      put('profiles', 'unused', sidecarProfile('unused', { strict: '1s' })),
      put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', { routes })),
    ),
  )
  expect(projection?.snapshot.profile?.leases).toEqual({
    strictMs: 2_000,
    standardMs: 30_000,
    readDegradedMs: 900_000,
  })
  expect(projection?.snapshot.profile?.routes.map(({ staleness }) => staleness)).toEqual([
    Staleness.STALENESS_STRICT,
    Staleness.STALENESS_READ_DEGRADED,
    Staleness.STALENESS_STANDARD,
  ])
})

test('inline keys have no term and cannot be refreshed', () => {
  const jwks = { inline: '{"keys":[]}' }
  const projection = front(shop(['a'], put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp', { jwks }))))
  expect(projection?.snapshot.issuers[0]?.keys).toEqual({
    jwks: Buffer.from('{"keys":[]}'),
    notAfterMs: 0,
    refreshable: false,
  })
})

test('an issuer whose keys were never fetched has none yet, and the rest works', () => {
  const projection = front(shop(['a'], put('keySets', 'shop/idp', undefined)))
  expect(projection?.problems).toEqual([])
  expect(projection?.snapshot.issuers[0]?.keys?.jwks).toHaveLength(0)
})

test.each<[string, Partial<ReturnType<typeof pod>>, string]>([
  ['all labels', { labels: { app: 'shop', more: 'x' } }, 'shop/front'],
  ['another value', { labels: { app: 'bar' } }, 'shop/'],
  ['no labels', { labels: {} }, 'shop/'],
  ['another namespace', { namespace: 'bar' }, 'bar/'],
  ['a label named like a member of objects', { labels: { constructor: 'x' } }, 'shop/'],
])('a pod with %s', (_, more, key) => {
  const all = projectAll(shop([], put('pods', 'u', pod('shop', 'a', { ...more, uid: 'u' }))))
  expect(all.byPod.get('u')).toBe(key)
  if (key.endsWith('/'))
    expect(all.byKey.get(key)?.snapshot.withheld).toMatch(
      /^no AccessPolicy selects this pod: create one in namespace /,
    )
})

test.each<[string, Partial<ReturnType<typeof pod>>, boolean]>([
  ['pending', { phase: 'Pending' }, true],
  ['on its way out', { deleting: true }, true],
  ['at its end', { phase: 'Succeeded' }, false],
  ['failed', { phase: 'Failed' }, false],
  ['without sidecar', { sidecar: false }, false],
])('a pod that is %s is served: %s', (_, more, served) => {
  const all = projectAll(shop([], put('pods', 'u', pod('shop', 'a', { ...more, uid: 'u' }))))
  expect(all.byPod.has('u')).toBe(served)
})

test('two AccessPolicies that contradict each other withhold their common pods, name each other, and leave the others alone', () => {
  const back = accessPolicy('shop', 'back', {
    selector: { matchLabels: { tier: 'back' } },
    audience: 'https://back.example',
  })
  const both = { app: 'shop', tier: 'back' }
  const all = projectAll(
    shop(
      ['a'],
      put('accessPolicies', 'shop/back', back),
      put('pods', 'u', pod('shop', 'b', { uid: 'u', labels: both })),
    ),
  )
  expect(all.byPod.get(uidOf('shop/a'))).toBe('shop/front')
  expect(all.byPod.get('u')).toBe('shop/back+front')
  expect(all.byKey.get('shop/back+front')?.snapshot.withheld).toMatch(
    /AccessPolicies back and front of namespace shop/,
  )
  expect([...all.conflicts].map(([key, others]) => [key, [...others]])).toEqual([
    ['shop/back', ['shop/front']],
    ['shop/front', ['shop/back']],
  ])
})

test('two AccessPolicies that say the same are no conflict', () => {
  const all = projectAll(shop(['a'], put('accessPolicies', 'shop/again', accessPolicy('shop', 'again'))))
  expect(all.conflicts.size).toBe(0)
  expect(all.byPod.get(uidOf('shop/a'))).toBe('shop/again')
})

test('folding keeps what nothing touched, and forgets what is gone', () => {
  const before = shop(['a'])
  const after = fold(before, [{ part: 'pods', key: uidOf('shop/a') }])
  expect(after.pods.size).toBe(0)
  expect(before.pods.size).toBe(1)
  expect(after.tokenIssuers).toBe(before.tokenIssuers)
})
