// A stream that anybody may append to at any time is one log to everybody who reads it: what does not build on it does not count.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { append, beginTerm, compact, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import {
  type Batch,
  batchesFor,
  formatBatch,
  NOTHING_READ,
  parseBatch,
  type Reading,
  readOn,
} from '../../../operator/state/revocation-stream.ts'

const entry = (id: string, expiresAtMs = 9_000_000_000_000): Revocation => ({
  id,
  source: 'shop/idp',
  issuer: 'https://idp.example',
  subject: { $case: 'sid', sid: id },
  issuedBeforeMs: 0,
  expiresAtMs,
})
function added(log: RevocationLog, ...ids: readonly string[]): RevocationLog {
  const result = append(
    log,
    ids.map((id) => ({ op: 'add', entry: entry(id), recalled: true })),
  )
  if (!result.ok) throw new Error(result.why)
  return result.log
}
const readAll = (batches: readonly Batch[], from = NOTHING_READ): Reading =>
  readOn(
    from,
    batches.map((batch) => parseBatch(formatBatch(batch))),
  ).reading
const said = ({ log }: Reading) => ({
  ...log,
  live: [...log.live.keys()],
  recent: log.recent.map(({ id }) => id),
})

describe('what is appended', () => {
  const first = added(NOTHING_READ.log, 'a', 'b')
  const stream = batchesFor(NOTHING_READ, first, 1)
  const reading = readAll(stream)

  test('is read back', () => {
    expect(said(reading)).toEqual(said({ ...reading, log: first }))
  })
  test('by two at once: the first counts, the other one is told so', () => {
    const one = batchesFor(reading, added(reading.log, 'c'), 1)
    const other = batchesFor(reading, added(reading.log, 'd', 'e'), 1)
    const { reading: after, counted } = readOn(reading, [...one, ...other])
    expect(counted).toEqual([true, false])
    expect([...after.log.live.keys()]).toEqual(['a', 'b', 'c'])
  })
  test('in a term that is over counts for nothing, although it builds on the end', () => {
    const second = readOn(reading, batchesFor(reading, beginTerm(reading.log, 0), 2)).reading
    const late = batchesFor(second, added(second.log, 'z'), 1)
    expect(readOn(second, late).counted).toEqual([false])
  })
  test('and damaged spoils nothing before or after it', () => {
    const good = batchesFor(reading, added(reading.log, 'c'), 1)
    const texts = ['', '{}', 'null', '{"version":2}', '{"version":1,"term":1}', '\n']
    expect(texts.map(parseBatch)).toEqual(texts.map(() => undefined))
    expect(readOn(reading, [...texts.map(parseBatch), ...good]).counted.at(-1)).toBe(true)
  })
})

describe('a log that is told anew', () => {
  const many = added(NOTHING_READ.log, ...Array.from({ length: 6_000 }, (_, index) => `id-${index}`))
  const parts = batchesFor(NOTHING_READ, compact(many, 0), 1)

  test('comes in parts, and counts when it is whole', () => {
    expect(parts.length).toBeGreaterThan(1)
    expect(readAll(parts.slice(0, -1)).begun).toBe(false)
    const reading = readAll(parts)
    expect(reading.log.live.size).toBe(6_000)
    expect(said(reading)).toMatchObject({ head: many.head, compactedTo: many.head, recent: [] })
  })
  test('can be read when everything before it was cut off', () => {
    const before = readAll(parts)
    const next = compact(added(before.log, 'new'), 0)
    const stream = batchesFor(before, next, 1)
    expect(said(readAll(stream))).toEqual(said(readAll(stream, before)))
  })
  test('does not count when somebody appended meanwhile', () => {
    const before = readAll(parts)
    const anew = batchesFor(before, compact(before.log, 0), 1)
    const appended = batchesFor(before, added(before.log, 'between'), 1)
    const after = readAll([...anew.slice(0, -1), ...appended, ...anew.slice(-1)], before)
    expect(after.log.live.has('between')).toBe(true)
    expect(after.log.compactedTo).toBe(before.log.compactedTo)
  })
})

test('whoever reads how much at a time, and whoever writes what: all read the same, and what counted is never lost', () => {
  const act = fc.record({
    writer: fc.nat({ max: 2 }),
    look: fc.boolean(),
    do: fc.constantFrom('add' as const, 'compact' as const, 'term' as const),
  })
  fc.assert(
    fc.property(
      fc.array(act, { maxLength: 40 }),
      fc.array(fc.nat({ max: 5 }), { maxLength: 20 }),
      (acts, cuts) => {
        const stream: Batch[] = []
        const writers = [0, 1, 2].map(() => ({ reading: NOTHING_READ as Reading, at: 0, term: 1 }))
        const kept: string[] = []
        let name = 0
        for (const { writer, look, do: what } of acts) {
          const me = writers[writer]
          if (!me) continue
          if (look) {
            me.reading = readOn(me.reading, stream.slice(me.at)).reading
            me.at = stream.length
          }
          if (what === 'term') me.term = Math.max(me.term, me.reading.term) + 1
          const id = `e-${name++}`
          const next = what === 'compact' ? compact(me.reading.log, 0) : added(me.reading.log, id)
          const mine = batchesFor(me.reading, next, me.term)
          stream.push(...mine)
          const { reading, counted } = readOn(me.reading, stream.slice(me.at))
          me.reading = reading
          me.at = stream.length
          if (what !== 'compact' && counted.at(-1)) kept.push(id)
        }
        const whole = readAll(stream)
        let piecemeal: Reading = NOTHING_READ
        let from = 0
        for (const cut of cuts) {
          piecemeal = readOn(piecemeal, stream.slice(from, from + cut)).reading
          from += cut
        }
        piecemeal = readOn(piecemeal, stream.slice(from)).reading
        expect(said(piecemeal)).toEqual(said(whole))
        expect(kept.every((id) => whole.log.live.has(id))).toBe(true)
      },
    ),
    { numRuns: 500 },
  )
})
