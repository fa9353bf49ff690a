import { describe, expect, test } from 'vitest'
import type { Revocation as Entry } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { diffRevocations, positionOf } from '../../../operator/state/revocation-diff.ts'
import { append, EMPTY_LOG, KEPT_MS, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { revocation } from './objects.ts'

const AT = Date.parse('2026-01-01T00:00:00Z')
const END = Date.parse('2030-01-01T00:00:00Z')
const named = (key: string) => (key === 'shop/idp' ? 'https://idp.example' : undefined)

function following(
  log: RevocationLog,
  objects: readonly ReturnType<typeof revocation>[],
  at = AT,
): RevocationLog {
  const result = append(log, diffRevocations(log, objects, named, at).changes)
  if (!result.ok) throw new Error(result.why)
  return result.log
}
const entries = (log: RevocationLog): readonly Entry[] => [...log.live.values()].map(({ entry }) => entry)

test.each([
  ['Jti', { value: 'x' }, { $case: 'jti', jti: 'x' }],
  ['Sid', { value: 'x' }, { $case: 'sid', sid: 'x' }],
  ['Subject', { value: 'x' }, { $case: 'sub', sub: 'x' }],
  ['ClientId', { value: 'x' }, { $case: 'clientId', clientId: 'x' }],
  ['Kid', { value: 'x' }, { $case: 'kid', kid: 'x' }],
  ['Tenant', { value: 'x' }, { $case: 'tenant', tenant: 'x' }],
  ['Issuer', { issuedBefore: '2025-06-01T00:00:00Z' }, { $case: 'everything', everything: true }],
])('an entry of type %s', (type, rest, subject) => {
  const log = following(EMPTY_LOG, [revocation('shop', 'r', { entries: [{ type, ...rest }] })])
  expect(entries(log)).toMatchObject([
    {
      issuer: 'https://idp.example',
      source: 'shop/idp',
      subject,
      expiresAtMs: Date.parse('2030-01-01T00:00:00Z'),
    },
  ])
  expect(entries(log)[0]?.issuedBeforeMs).toBe(type === 'Issuer' ? Date.parse('2025-06-01T00:00:00Z') : 0)
})

describe('what changes when', () => {
  const two = revocation('shop', 'r', {
    entries: [
      { type: 'Jti', value: 'a' },
      { type: 'Jti', value: 'b' },
    ],
  })
  const turned = revocation('shop', 'r', {
    entries: [
      { type: 'Jti', value: 'b' },
      { type: 'Jti', value: 'a' },
    ],
  })
  const one = revocation('shop', 'r', { entries: [{ type: 'Jti', value: 'a' }] })
  const longer = revocation('shop', 'r', { entries: two.spec.entries, expiresAt: '2031-01-01T00:00:00Z' })
  const dying = revocation(
    'shop',
    'r',
    { entries: two.spec.entries },
    { deletionTimestamp: '2026-01-01T00:00:00Z' },
  )
  const homeless = revocation('shop', 'r', {
    entries: [{ type: 'Jti', value: 'c' }],
    issuerRef: { name: 'gone' },
  })

  test.each([
    ['nothing changed', [two], AT, []],
    ['entries traded places', [turned], AT, []],
    ['one entry was taken away', [one], AT, ['remove']],
    ['the object is gone', [], AT, ['remove', 'remove']],
    ['the object is being deleted', [dying], AT, ['remove', 'remove']],
    ['it denies for longer', [longer], AT, ['add', 'add']],
    [
      'it has expired, and so have tokens that are tolerated after it',
      [two],
      END + KEPT_MS,
      ['remove', 'remove'],
    ],
    ['it has expired, and tokens are still tolerated', [two], END + KEPT_MS - 1, []],
    ['its issuer is gone: what it denies stays', [homeless], AT, []],
  ])('%s', (_, objects, at, ops) => {
    const log = following(EMPTY_LOG, [two])
    expect(diffRevocations(log, objects, named, at).changes.map(({ op }) => op)).toEqual(ops)
  })

  test('an issuer that is not there is told, with what to do', () => {
    const { problems, changes } = diffRevocations(EMPTY_LOG, [homeless], named, AT)
    expect(changes).toEqual([])
    expect(problems.get('shop/r')).toMatch(/no TokenIssuer gone in namespace shop; create it/)
  })

  test('a recalled entry has no object and stays until it expires', () => {
    const [entry] = entries(following(EMPTY_LOG, [one]))
    if (!entry) throw new Error('no entry')
    const recalled = append(EMPTY_LOG, [{ op: 'add', entry, recalled: true }])
    if (!recalled.ok) throw new Error(recalled.why)
    expect(diffRevocations(recalled.log, [], named, AT).changes).toEqual([])
    expect(diffRevocations(recalled.log, [], named, entry.expiresAtMs + KEPT_MS).changes).toHaveLength(1)
    // An object from before it was made to last longer does not shorten it.
    const lasting = append(EMPTY_LOG, [
      { op: 'add', entry: { ...entry, expiresAtMs: entry.expiresAtMs + 1 }, recalled: true },
    ])
    if (!lasting.ok) throw new Error(lasting.why)
    expect(diffRevocations(lasting.log, [one], named, AT).changes).toEqual([])
    // Nor does another that was recalled under its id keep it away.
    const squatted = append(EMPTY_LOG, [
      {
        op: 'add',
        entry: { ...entry, source: 'other/idp', expiresAtMs: entry.expiresAtMs + 1 },
        recalled: true,
      },
    ])
    if (!squatted.ok) throw new Error(squatted.why)
    expect(entries(following(squatted.log, [one]))).toEqual([entry])
    // Its object is back: from now on it goes when that goes.
    const owned = following(recalled.log, [one])
    expect(diffRevocations(owned, [], named, AT).changes).toHaveLength(1)
  })
})

test('a sidecar enforces a Revocation from the position of its last entry on', () => {
  const entriesOf = (...values: readonly string[]) => ({
    entries: values.map((value) => ({ type: 'Jti', value })),
  })
  const first = revocation('shop', 'one', entriesOf('a', 'b'))
  const second = revocation('shop', 'two', entriesOf('c'))
  const log = following(following(EMPTY_LOG, [first]), [first, second])
  expect([first, second].map(({ metadata }) => positionOf(log, metadata.uid))).toEqual([2, 3])
  expect(positionOf(log, 'nobody')).toBeUndefined()
})
