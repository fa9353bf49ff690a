import { describe, expect, test } from 'vitest'
import { made } from '../../../contracts/fingerprint.ts'
import type { Revocation as Entry } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { diffRevocations, positionOf, unbacked } from '../../../operator/state/revocation-diff.ts'
import {
  append,
  EMPTY_LOG,
  KEPT_MS,
  merge,
  type RevocationLog,
} from '../../../operator/state/revocation-log.ts'
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

test('what is extended after it ended and before it was forgotten is added anew, and not removed as well', () => {
  const at = END + KEPT_MS
  const log = following(EMPTY_LOG, [revocation('shop', 'r')])
  const extended = revocation('shop', 'r', { expiresAt: '2031-01-01T00:00:00Z' })
  const { changes } = diffRevocations(log, [extended], named, at)
  expect(changes.map(({ op }) => op)).toEqual(entries(log).map(() => 'add'))
  expect(diffRevocations(log, [revocation('shop', 'r')], named, at).changes).toMatchObject([{ op: 'remove' }])
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

describe('what was recalled and stands in no object', () => {
  const before = revocation('shop', 'r', { entries: [{ type: 'Jti', value: 'a' }] })
  const recalled = (...told: readonly Entry[]): RevocationLog => {
    const result = merge(EMPTY_LOG, [{ head: 9, entries: told }])
    if (!result.ok) throw new Error(result.why)
    return result.log
  }
  const told = entries(following(EMPTY_LOG, [before]))
  const again = (spec: object = {}) =>
    revocation('shop', 'again', { entries: before.spec.entries, ...spec }, { uid: 'another' })

  test.each<readonly [what: string, log: RevocationLog, count: number, at: number]>([
    ['nothing', EMPTY_LOG, 0, AT],
    ['what stands in an object', following(EMPTY_LOG, [before]), 0, AT],
    ['what has no object', recalled(...told), 1, AT],
    ['what has no object, a moment before its end', recalled(...told), 1, END - 1],
    ['what has ended', recalled(...told), 0, END],
    ['what has its object again', following(recalled(...told), [before]), 0, AT],
    ['what another object says', following(recalled(...told), [again()]), 0, AT],
    [
      'what another object says for longer',
      following(recalled(...told), [again({ expiresAt: '2031-01-01T00:00:00Z' })]),
      0,
      AT,
    ],
    [
      'what another object says for less',
      following(recalled(...told), [again({ expiresAt: '2029-01-01T00:00:00Z' })]),
      1,
      AT,
    ],
    [
      'what another object says of another value',
      following(recalled(...told), [again({ entries: [{ type: 'Sid', value: 'a' }] })]),
      1,
      AT,
    ],
    [
      'what machines made, for which there is no object',
      recalled(...told.flatMap((one) => made(one) ?? [])),
      0,
      AT,
    ],
  ])('%s', (_what, log, count, at) => {
    expect(unbacked(log, at)).toEqual({ count, untilMs: count ? END : 0 })
  })
})
