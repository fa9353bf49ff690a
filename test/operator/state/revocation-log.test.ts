import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import {
  append,
  beginTerm,
  type Change,
  compact,
  EMPTY_LOG,
  entriesSince,
  KEPT_MS,
  knows,
  merge,
  type RevocationLog,
  TERM_GAP,
  worthCompacting,
} from '../../../operator/state/revocation-log.ts'
import {
  formatSegment,
  loadLog,
  parseSegment,
  planSegments,
  type Segment,
  type Step,
} from '../../../operator/state/revocation-segments.ts'
import { REVOCATION_LIMITS } from '../../../sidecar/trust/revocation-wire.ts'
import { createRevocations, type Revocations } from '../../../sidecar/trust/revocations.ts'

const NEVER = 9_000_000_000_000

function entry(id: string, expiresAtMs = NEVER): Revocation {
  return {
    id,
    issuer: 'https://idp.example',
    subject: { $case: 'jti', jti: id },
    issuedBeforeMs: 0,
    expiresAtMs,
    source: 'shop/idp',
  }
}

const add = (id: string, expiresAtMs = NEVER): Change => ({
  op: 'add',
  entry: entry(id, expiresAtMs),
  recalled: false,
})
const remove = (id: string): Change => ({ op: 'remove', id })

function appended(log: RevocationLog, ...changes: readonly Change[]): RevocationLog {
  const result = append(log, changes)
  if (!result.ok) throw new Error(result.why)
  return result.log
}

const inForce = (log: RevocationLog): readonly string[] => [...log.live.keys()].sort()

const ONE_OR_TWO = { entries: 2, bytes: 1_000 }

/** The real sidecar's half: it refuses what does not fit, and must never have to. */
function tell(sidecar: Revocations, log: RevocationLog): void {
  sidecar.interrupted()
  const messages = entriesSince(log, sidecar.head, ONE_OR_TWO)
  for (const message of messages) {
    expect(message.entries.length + message.removed.length).toBeLessThanOrEqual(2)
    const [before, held] = [sidecar.head, holds(sidecar)]
    expect(sidecar.apply(message)).toEqual([])
    expect(sidecar.head).toBeGreaterThanOrEqual(before)
    // While a full set is under way nothing is forgotten.
    if (sidecar.head === before && message.head < before)
      expect(holds(sidecar)).toEqual(expect.arrayContaining(held))
  }
}

const entriesOf = (sidecar: Revocations): readonly Revocation[] =>
  [...sidecar.everything()].flatMap(({ entries }) => entries)
const holds = (sidecar: Revocations): string[] =>
  entriesOf(sidecar)
    .map(({ id }) => id)
    .sort()

test('a sidecar is told differences from where it stands, and everything when that is not known', () => {
  const first = appended(EMPTY_LOG, add('a'), add('b'))
  const second = appended(first, remove('a'), add('c'))
  const difference = { base: 2, head: 4, entries: [entry('c')], removed: ['a'] }
  const everything = { base: 0, head: 4, entries: [entry('b'), entry('c')], removed: [] }
  expect(entriesSince(second, first.head)).toEqual([difference])
  expect(entriesSince(second, 4)).toEqual([])
  for (const position of [0, 99]) expect(entriesSince(second, position)).toEqual([everything])
  expect(entriesSince(compact(second, 0), 2)).toEqual([everything])
})

test('what does not fit into one message comes in several that build on each other', () => {
  const log = appended(EMPTY_LOG, ...['a', 'b', 'c', 'd', 'e'].map((id) => add(id)))
  const parts = (limits: { entries: number; bytes: number }) =>
    entriesSince(log, 0, limits).map(({ base, head, entries }) => [base, head, entries.length])
  const [two, five] = [
    [
      [0, 2, 2],
      [2, 4, 2],
      [4, 5, 1],
    ],
    [[0, 5, 5]],
  ]
  expect(parts({ entries: 2, bytes: 10_000 })).toEqual(two)
  expect(parts({ entries: 9, bytes: 100 })).toEqual(two)
  expect(parts({ entries: 5, bytes: 10_000 })).toEqual(five)
})

test('an entry that is added again replaces itself and is told once', () => {
  const first = appended(EMPTY_LOG, add('a', 1_000))
  const longer = appended(first, add('a', 2_000))
  expect(entriesSince(longer, 1)[0]?.entries).toEqual([entry('a', 2_000)])
  expect(entriesSince(longer, 0)[0]?.entries).toEqual([entry('a', 2_000)])
})

test.each([
  ['one entry too many', { entries: 2, bytes: 10_000 }, [add('c')], false],
  ['one byte too many', { entries: 9, bytes: 100 }, [add('c')], false],
  ['as many as were taken away', { entries: 2, bytes: 10_000 }, [remove('a'), add('c')], true],
  ['only taking away', { entries: 1, bytes: 1 }, [remove('a')], true],
] as const)('a full log: %s -> accepted: %s', (_, limits, changes, ok) => {
  const log = appended(EMPTY_LOG, add('a'), add('b'))
  const result = append(log, changes, limits)
  expect(result.ok).toBe(ok)
  if (!result.ok) expect(result.why).toMatch(/^log is full: \d+ (entries|bytes) would be in force, at most/)
})

describe('what was recalled has a room of its own', () => {
  const limits = { entries: 2, bytes: 10_000 }
  const recalled = (...ids: readonly string[]): RevocationLog => {
    const result = merge(EMPTY_LOG, [{ head: 9, entries: ids.map((id) => entry(id)) }], limits)
    if (!result.ok) throw new Error(result.why)
    return result.log
  }
  const again = (id: string): Change => ({ op: 'add', entry: entry(id), recalled: true })

  test('which, full, keeps nothing out that is added', () => {
    expect(append(recalled('a', 'b'), [add('c'), add('d')], limits)).toMatchObject({ ok: true })
    expect(append(recalled('a', 'b'), [add('c'), add('d'), add('e')], limits)).toMatchObject({ ok: false })
  })
  test('and which what was added, full, keeps nothing out of', () => {
    const log = appended(EMPTY_LOG, add('a'), add('b'))
    const told = [{ head: 9, entries: [entry('c'), entry('d')] }]
    expect(merge(log, told, limits)).toMatchObject({ ok: true })
    expect(merge(log, [...told, { head: 9, entries: [entry('e')] }], limits)).toEqual({
      ok: false,
      why: 'log is full: 3 entries would be in force of what was recalled, at most 2 may; remove or shorten other revocations',
    })
  })
  test('what is told again by many counts once', () => {
    expect(merge(recalled('a', 'b'), [{ head: 9, entries: [entry('b'), entry('a')] }], limits)).toMatchObject(
      { ok: true },
    )
  })
  test('what is in force changes its room, however full that is: what stays denied needs no place', () => {
    const full = appended(recalled('a', 'b'), add('c'))
    expect(append(full, [again('c')], limits)).toMatchObject({ ok: true })
    expect(append(full, [add('a')], limits)).toMatchObject({ ok: true })
  })
  test('it is counted rightly whatever is added and taken away', () => {
    const log = appended(recalled('a', 'b'), remove('a'))
    expect(append(log, [again('c')], limits)).toMatchObject({ ok: true })
    expect(append(log, [again('c'), again('d')], limits)).toMatchObject({ ok: false })
    expect(append(compact(appended(log, add('c')), 0), [add('d')], limits)).toMatchObject({ ok: true })
  })
  test('of a large log people write what can be recalled of them, and sidecars take both', () => {
    const most = { entries: 250_000, bytes: 96 * 1024 * 1024 }
    const many = (count: number) => Array.from({ length: count }, (_, index) => entry(`${index}`))
    const written = (count: number) =>
      append(
        EMPTY_LOG,
        many(count).map((one): Change => ({ op: 'add', entry: one, recalled: false })),
        most,
      )
    for (const [count, ok] of [
      [50_000, true],
      [50_001, false],
    ] as const) {
      expect(written(count).ok).toBe(ok)
      expect(merge(EMPTY_LOG, [{ head: 9, entries: many(count) }], most).ok).toBe(ok)
    }
    expect(2 * 50_000).toBeLessThanOrEqual(REVOCATION_LIMITS.named)
  })
})

test('compaction forgets what expired or was removed, keeps the rest and never the head back', () => {
  const log = appended(EMPTY_LOG, add('a', 1_000), add('b', 2_000), add('c'), remove('c'))
  const compacted = compact(log, 1_000 + KEPT_MS)
  expect(inForce(compacted)).toEqual(['b'])
  expect(compacted.head).toBe(log.head)
  expect(compacted.recent).toEqual([])
})

test('compaction is worth its writes when most records say nothing any more', () => {
  let log = EMPTY_LOG
  for (let index = 0; index < 150; index++) {
    log = appended(appended(log, add(`${index}`)), remove(`${index}`))
  }
  expect(worthCompacting(log)).toBe(true)
  expect(worthCompacting(compact(log, 0))).toBe(false)
})

test('a position that only a forgotten history can have given out is unknown', () => {
  const log = appended(EMPTY_LOG, add('a'))
  const next = appended(beginTerm(log, 0.5), add('b'))
  expect([0, 1, next.head].map((position) => knows(next, position))).toEqual([true, true, true])
  expect([2, next.head - 2, next.head + 1].map((position) => knows(next, position))).toEqual([
    false,
    false,
    false,
  ])
  expect(entriesSince(next, 2)[0]?.base).toBe(0)
})

describe('an entry that is recalled under the id of another', () => {
  const theirs = (id: string, expiresAtMs = NEVER): Revocation => ({
    ...entry(id, expiresAtMs),
    subject: { $case: 'jti', jti: 'of no concern' },
    source: 'other/idp',
  })
  const merged = (log: RevocationLog, ...entries: readonly Revocation[]): RevocationLog => {
    const result = merge(log, [{ head: log.head, entries }])
    if (!result.ok) throw new Error(result.why)
    return result.log
  }
  const said = ({ live }: RevocationLog) =>
    [...live.values()].map(({ entry: { source, expiresAtMs } }) => [source, expiresAtMs])

  test.each([
    [1, 2],
    [2, 1],
  ])('stands beside it, whichever lasts longer: %i, %i', (mine, other) => {
    const log = merged(appended(EMPTY_LOG, add('a', mine)), theirs('a', other))
    expect(log.live.get('a')?.entry).toEqual(entry('a', mine))
    expect(said(log)).toEqual([
      ['shop/idp', mine],
      ['other/idp', other],
    ])
    // Told again, by whoever was told it by us, it is the same.
    const again = [...log.live.values()].map((one) => one.entry)
    expect(merged(log, ...again, theirs('a', other))).toEqual(log)
  })

  test('first, leaves room for the true one, even if it has taken the place beside it too', () => {
    const squatted = [...merged(appended(EMPTY_LOG, add('a')), theirs('a')).live.keys()].at(-1) ?? ''
    expect(squatted).toMatch(/^recalled\/[0-9a-f]{64}$/)
    const log = merged(EMPTY_LOG, entry('a'), { ...entry('z'), id: squatted }, theirs('a'))
    expect(log.live.size).toBe(3)
    expect(said(log).filter(([source]) => source === 'other/idp')).toHaveLength(1)
    expect(log.live.get(squatted)?.entry.source).toBe('other/idp')
  })
})

test('a rolled back log takes in what two sidecars of different age remember, and moves above both', () => {
  const then = appended(EMPTY_LOG, add('a'))
  const older = appended(then, add('b'))
  const newer = appended(older, add('c'), remove('b'), add('d'))
  const restored = beginTerm(then, 0.01)
  const one = merge(restored, [{ head: older.head, entries: [entry('a'), entry('b')] }])
  if (!one.ok) throw new Error(one.why)
  expect(knows(one.log, newer.head)).toBe(false)
  const two = merge(one.log, [{ head: newer.head, entries: [entry('a'), entry('c'), entry('d')] }])
  if (!two.ok) throw new Error(two.why)
  expect(inForce(two.log)).toEqual(['a', 'b', 'c', 'd'])
  expect(two.log.head).toBeGreaterThan(newer.head)
  expect(entriesSince(two.log, newer.head)[0]?.base).toBe(0)
  expect(merge(two.log, [{ head: newer.head, entries: [entry('a')] }])).toEqual(two)
})

test('of an entry that was made to last longer after the backup, the longer life is relearnt', () => {
  const log = appended(EMPTY_LOG, add('a', 1_000))
  const ends = (recalled: Revocation) => {
    const merged = merge(log, [{ head: 5, entries: [recalled] }])
    return merged.ok ? merged.log.live.get('a')?.entry.expiresAtMs : undefined
  }
  expect([entry('a', 999), entry('a', 1_000), entry('a', 1_001)].map(ends)).toEqual([1_000, 1_000, 1_001])
})

// ---- the database: an object store that is written step by step and may be restored to any earlier state

type Store = ReadonlyMap<number, string>

function written(store: Store, step: Step): Store {
  const next = new Map(store)
  if (step.op === 'delete') next.delete(step.number)
  else next.set(step.segment.number, formatSegment(step.segment))
  return next
}

function read(store: Store): readonly Segment[] {
  return [...store.values()].map((text) => {
    const parsed = parseSegment(text)
    if (!parsed.ok) throw new Error(parsed.problems.join())
    return parsed.value
  })
}

function load(store: Store): RevocationLog {
  const loaded = loadLog(read(store))
  if (!loaded.ok) throw new Error(loaded.problems.join())
  return loaded.value
}

/** What matters of a log: two that agree in this answer every sidecar alike. */
const meaning = ({ head, live, gaps }: RevocationLog) => ({
  head,
  gaps,
  live: [...live].map(([id, { sequence }]) => [id, sequence]).sort(),
})

const changesArbitrary = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 9 }).map((id) => add(`e${id}`)),
    fc.integer({ min: 0, max: 4 }).map((id) => remove(`e${id}`)),
  ),
  { maxLength: 6 },
)

const nextArbitrary: fc.Arbitrary<(log: RevocationLog) => RevocationLog> = fc.oneof(
  changesArbitrary.map((changes) => (log: RevocationLog) => appended(log, ...changes)),
  fc.constant((log: RevocationLog) => compact(log, 0)),
  fc.constant((log: RevocationLog) => beginTerm(log, 0.1)),
)

/** Between two writes on the way from `log` to `next`. */
function expectNothingLost(seen: RevocationLog, log: RevocationLog, next: RevocationLog): void {
  expect(seen.head).toBeGreaterThanOrEqual(log.head)
  // What was told to anybody is there: nothing is told before all steps are done.
  for (const [id, { sequence }] of log.live) {
    if (next.live.has(id)) expect(seen.live.get(id)?.sequence ?? 0).toBeGreaterThanOrEqual(sequence)
  }
  // A replica that reads now tells sidecars this head: nothing up to it may be missing.
  for (const [id, { sequence }] of next.live) {
    if (sequence <= seen.head) expect(seen.live.get(id)?.sequence).toBe(sequence)
  }
}

test('whatever is written is read back; a crash between any two writes loses no entry and no position', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(nextArbitrary, fc.nat({ max: 8 })), { maxLength: 12 }),
      fc.integer({ min: 60, max: 700 }),
      (history, bytes) => {
        let store: Store = new Map()
        let log = EMPTY_LOG
        for (const [change, crashAfter] of history) {
          const next = change(log)
          const steps = planSegments(next, read(store), bytes)
          for (const step of steps.slice(0, crashAfter)) {
            store = written(store, step)
            expectNothingLost(load(store), log, next)
          }
          if (crashAfter >= steps.length) {
            log = next
            expect(meaning(load(store))).toEqual(meaning(log))
          } else {
            log = load(store)
          }
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('a segment that is missing in the middle is a problem, not a shorter log', () => {
  let log = EMPTY_LOG
  let store: Store = new Map()
  for (let index = 0; index < 12; index++) {
    log = appended(log, add(`entry-${index}`))
    for (const step of planSegments(log, read(store), 300)) store = written(store, step)
  }
  expect(store.size).toBeGreaterThan(3)
  const holed = new Map(store)
  holed.delete(2)
  expect(loadLog(read(holed))).toMatchObject({ ok: false })
})

test.each(['', 'x', '{}', '{"version":2}', '{"version":1,"number":1,"first":1,"head":1,"compactedTo":0}'])(
  'a segment that says %j is a problem',
  (text) => {
    expect(parseSegment(text)).toMatchObject({ ok: false })
  },
)

const stepArbitrary = fc.oneof(
  changesArbitrary.map((changes) => ({ op: 'append' as const, changes })),
  fc.constant({ op: 'compact' as const }),
  fc.nat({ max: 3 }).map((sidecar) => ({ op: 'tell' as const, sidecar })),
  fc.nat({ max: 5 }).map((back) => ({ op: 'restore' as const, back })),
)

function createWorld() {
  let log = EMPTY_LOG
  let highest = 0
  const states: RevocationLog[] = [log]
  const fleet = [1, 2, 3, 4].map(createRevocations)
  // What people took back at some time: a restore may bring that moment back. The fleet may deny it for longer.
  const removed = new Set<string>()
  const to = (next: RevocationLog): void => {
    log = next
    highest = Math.max(highest, log.head)
    states.push(log)
  }
  return {
    append(changes: readonly Change[]): void {
      for (const change of changes) if (change.op === 'remove') removed.add(change.id)
      to(appended(log, ...changes))
    },
    compact: () => to(compact(log, 0)),
    restore(back: number): void {
      const then = states.at(-1 - Math.min(back, states.length - 1)) ?? EMPTY_LOG
      // Chance does not repeat itself: the term begins where no history was before.
      const chance = (highest - then.head + 2) / TERM_GAP
      to(beginTerm(then, chance))
    },
    tell(index: number): void {
      const sidecar = fleet[index]
      if (!sidecar) return
      const before = holds(sidecar)
      if (!knows(log, sidecar.head)) {
        const merged = merge(log, [{ head: sidecar.head, entries: entriesOf(sidecar) }])
        if (!merged.ok) throw new Error(merged.why)
        to(merged.log)
      }
      tell(sidecar, log)
      const after = holds(sidecar)
      for (const id of before) if (!removed.has(id)) expect(after).toContain(id)
      expect(after).toEqual(inForce(log))
      expect(sidecar.head).toBe(log.head)
    },
  }
}

test('no sequence of appends, compactions, restores and relearning makes the fleet forget or a head fall', () => {
  fc.assert(
    fc.property(fc.array(stepArbitrary, { maxLength: 24 }), (history) => {
      const world = createWorld()
      for (const one of history) {
        if (one.op === 'append') world.append(one.changes)
        else if (one.op === 'compact') world.compact()
        else if (one.op === 'tell') world.tell(one.sidecar)
        else world.restore(one.back)
      }
      for (const sidecar of [0, 1, 2, 3]) world.tell(sidecar)
    }),
    { numRuns: 500 },
  )
})
