import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { made, partsOfId } from '../../../contracts/fingerprint.ts'
import {
  FingerprintKind,
  type Recalled,
  type Revocation,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { recallable } from '../../../operator/publish/recall.ts'
import { createRevocations } from '../../../sidecar/trust/revocations.ts'
import { accessPolicy, put, shop, tokenIssuer } from '../state/objects.ts'
import { worldOf } from './stage.ts'

const IDP = 'https://idp.example'
const AT = Date.UTC(2026, 0)
const shared = [
  put('tokenIssuers', 'idm/hub', tokenIssuer('idm', 'hub', { allowedNamespaces: ['shop'] })),
  put(
    'accessPolicies',
    'shop/front',
    accessPolicy('shop', 'front', { issuers: [{ name: 'idp' }, { name: 'hub', namespace: 'idm' }] }),
  ),
]
const world = worldOf({ cluster: shop(['a'], ...shared) })
const withheld = worldOf({ cluster: shop(['a'], ...shared, put('bundles', 'shop/rules', undefined)) })

const GOOD: Revocation = {
  id: 'r',
  source: 'shop/idp',
  issuer: IDP,
  subject: { $case: 'sub', sub: 'alice' },
  issuedBeforeMs: 0,
  expiresAtMs: 9_000_000_000_000,
}
const told = (...entries: readonly Revocation[]): Recalled => ({
  held: undefined,
  revocations: { base: 0, head: 9, entries: [...entries], removed: [] },
})
const taken = (change: Partial<Revocation>, from = world, projection = 'shop/front') =>
  recallable(from, projection, told({ ...GOOD, ...change }), AT).length === 1

describe('whose tokens a sidecar may have us deny', () => {
  test.each<readonly [what: string, change: Partial<Revocation>, ok: boolean]>([
    ['those of an issuer that it believes', {}, true],
    ['those of one that is shared', { source: 'idm/hub', issuer: 'https://hub.example' }, true],
    ['of the same issuer, but under another source', { source: 'other/idp' }, false],
    ['of the same source, but of another issuer', { issuer: 'https://hub.example' }, false],
    ['of an issuer that it does not name', { source: 'shop/x', issuer: 'https://x.example' }, false],
    ['under no source', { source: '' }, false],
    ['under a source that is none', { source: '__proto__', issuer: '__proto__' }, false],
    ['under a source that is nearly its own', { source: 'shop/idp ' }, false],
    ['under a source longer than any', { source: `shop/${'x'.repeat(316)}` }, false],
  ])('%s: %s', (_what, change, ok) => {
    expect(taken(change)).toBe(ok)
    // What cannot be served for another reason was believed before, perhaps.
    expect(taken(change, withheld)).toBe(ok)
  })

  test('what a machine made is told by fingerprint: under the id that follows from it, and no other', () => {
    const kept = made({ ...GOOD, issuer: IDP, source: 'shop/idp' })
    if (!kept) throw new Error('no machine makes these')
    const value = Buffer.from(partsOfId(kept.id)?.fingerprint ?? '', 'latin1')
    const kind = FingerprintKind.FINGERPRINT_KIND_SUB
    const fingerprint = { kind, value }
    expect(taken({ ...kept })).toBe(true)
    expect(taken({ ...kept, subject: { $case: 'fingerprint', fingerprint } })).toBe(true)
    expect(taken({ subject: { $case: 'fingerprint', fingerprint } })).toBe(false)
    expect(taken({ ...kept, subject: { $case: 'sub', sub: 'bob' } })).toBe(false)
    const unknown = FingerprintKind.FINGERPRINT_KIND_UNSPECIFIED
    expect(taken({ ...kept, subject: { $case: 'fingerprint', fingerprint: { kind: unknown, value } } })).toBe(
      false,
    )
    const another = { kind, value: Buffer.alloc(12) }
    expect(taken({ ...kept, subject: { $case: 'fingerprint', fingerprint: another } })).toBe(false)
    const hub = { source: 'idm/hub', issuer: 'https://hub.example' }
    expect(taken({ ...kept, ...hub, subject: { $case: 'fingerprint', fingerprint } })).toBe(false)
  })

  test.each(['shop/', 'shop/other', 'gone/front', ''])(
    'nobody’s, for a pod of projection %j',
    (projection) => {
      expect(taken({}, world, projection)).toBe(false)
    },
  )

  test('nothing, when it recalls nothing', () => {
    expect(recallable(world, 'shop/front', { held: undefined, revocations: undefined }, AT)).toEqual([])
  })
})

const DAY_MS = 86_400_000
test.each([
  ['what people wrote', GOOD, 401 * DAY_MS],
  ['what machines made', made({ ...GOOD, subject: { $case: 'sid', sid: 's' } }), DAY_MS + 600_000],
])('%s ends when it must have ended, however long it is said to last', (_what, entry, longest) => {
  const ends = (expiresAtMs: number) =>
    recallable(world, 'shop/front', told({ ...GOOD, ...entry, expiresAtMs }), AT).map(
      (one) => one.expiresAtMs - AT,
    )
  expect([AT + 1, AT + longest, AT + longest + 1, 9_000_000_000_000].flatMap(ends)).toEqual([
    1,
    longest,
    longest,
    longest,
  ])
})

test.each<readonly [what: string, change: Partial<Revocation>, ok: boolean]>([
  ['an id of 128', { id: 'x'.repeat(128) }, true],
  ['an id of 129', { id: 'x'.repeat(129) }, false],
  ['no id', { id: '' }, false],
  ['no subject', { subject: undefined }, false],
  ['an empty value', { subject: { $case: 'jti', jti: '' } }, false],
  ['a value of 512', { subject: { $case: 'kid', kid: 'x'.repeat(512) } }, true],
  ['a value of 513', { subject: { $case: 'kid', kid: 'x'.repeat(513) } }, false],
  ['no end', { expiresAtMs: 0 }, false],
  ['everything for ever', { subject: { $case: 'everything', everything: true } }, false],
  ['everything', { subject: { $case: 'everything', everything: true }, issuedBeforeMs: 1 }, true],
  [
    'everything, but not so',
    { subject: { $case: 'everything', everything: false }, issuedBeforeMs: 1 },
    false,
  ],
])('an entry with %s is taken: %s', (_what, change, ok) => {
  expect(taken(change)).toBe(ok)
})

const text = fc.oneof(
  fc.constantFrom('', 'a', '__proto__', IDP, 'shop/idp'),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.integer({ min: 120, max: 600 }).map((length) => '\u{1f512}'.repeat(length / 2)),
)
const subject = fc.oneof(
  fc.constant(undefined),
  fc.boolean().map((everything) => ({ $case: 'everything' as const, everything })),
  text.map((jti) => ({ $case: 'jti' as const, jti })),
  text.map((tenant) => ({ $case: 'tenant' as const, tenant })),
)
const entry: fc.Arbitrary<Revocation> = fc.record({
  id: text,
  source: fc.oneof({ weight: 3, arbitrary: fc.constant('shop/idp') }, { weight: 1, arbitrary: text }),
  issuer: fc.oneof({ weight: 3, arbitrary: fc.constant(IDP) }, { weight: 1, arbitrary: text }),
  subject,
  issuedBeforeMs: fc.constantFrom(0, 1),
  expiresAtMs: fc.constantFrom(0, 1, 9_000_000_000_000),
})

test('whatever is taken, every sidecar takes from us: no recall spoils the log for the fleet', () => {
  let some = 0
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      const kept = recallable(world, 'shop/front', told(...entries), AT)
      some += kept.length
      const message = { base: 0, head: 9, entries: [...kept], removed: [] }
      expect(createRevocations().apply(message)).toEqual([])
    }),
    { numRuns: 500 },
  )
  expect(some).toBeGreaterThan(100)
})
