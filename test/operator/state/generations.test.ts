import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  allocate,
  beginTerm,
  EMPTY_TABLE,
  follows,
  formatTable,
  type GenerationTable,
  parseTable,
  raise,
  servable,
} from '../../../operator/state/generations.ts'

const digest = (n: number): string => n.toString(16).padStart(64, '0')
const wanted = (entries: Readonly<Record<string, number>>): ReadonlyMap<string, string> =>
  new Map(Object.entries(entries).map(([key, n]) => [key, digest(n)]))

function stored(table: GenerationTable): GenerationTable {
  const parsed = parseTable(formatTable(table))
  if (!parsed.ok) throw new Error(parsed.problems.join())
  return parsed.value
}

test('what did not change keeps its number, also after a restart; what did gets one above all others', () => {
  const first = allocate(EMPTY_TABLE, wanted({ a: 1, b: 2 }))
  const second = allocate(stored(first), wanted({ a: 1, b: 3 }))
  expect(servable(second, 'a', digest(1))).toBe(servable(first, 'a', digest(1)))
  expect(servable(second, 'b', digest(3))).toBe(3)
  expect(allocate(second, wanted({ a: 1, b: 3 }))).toBe(second)
})

test('a replica that is behind finds nothing that it may serve', () => {
  const table = allocate(allocate(EMPTY_TABLE, wanted({ a: 1 })), wanted({ a: 2 }))
  expect(servable(table, 'a', digest(1))).toBeUndefined()
  expect(servable(table, 'b', digest(2))).toBeUndefined()
})

test.each([
  [1, 1],
  [2, 4],
  [3, 4],
  [99, 1],
])(
  'a sidecar of the projection that already holds number %i: the projection is served as %i',
  (floor, number) => {
    const table = allocate(EMPTY_TABLE, wanted({ a: 1, b: 2, c: 3 }))
    const next = allocate(table, wanted({ a: 1, b: 2, c: 3 }), new Map([['a', floor]]))
    expect(servable(next, 'a', digest(1))).toBe(number)
  },
)

test('after a restore every projection is numbered anew, above what the fleet has seen', () => {
  const table = allocate(EMPTY_TABLE, wanted({ a: 1 }))
  const raised = raise(table, 500)
  expect(servable(raised, 'a', digest(1))).toBeUndefined()
  expect(servable(allocate(raised, wanted({ a: 1 })), 'a', digest(1))).toBeGreaterThan(500)
  expect(raise(table, 1)).toBe(table)
})

test.each([
  '',
  '{}',
  '{"version":1,"counter":1,"projections":{"a":{"digest":"x","generation":1}}}',
  '{"version":1,"counter":1.5,"projections":{}}',
  `{"version":1,"counter":1,"projections":{"a":{"digest":"${digest(1)}","generation":2}}}`,
])('a table that says %j is a problem and no empty table', (text) => {
  expect(parseTable(text)).toMatchObject({ ok: false })
})

test('no sequence of changes, terms, restores and raises lets the counter fall or two contents share a number', () => {
  const step = fc.oneof(
    fc
      .dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat({ max: 3 }))
      .map((entries) => ({ op: 'want' as const, entries })),
    fc.double({ min: 0, max: 0.99, noNaN: true }).map((chance) => ({ op: 'term' as const, chance })),
    fc.nat({ max: 50 }).map((seen) => ({ op: 'raise' as const, seen })),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (history) => {
      const meaning = new Map<number, string>()
      let table = EMPTY_TABLE
      for (const one of history) {
        const before = table
        if (one.op === 'want') table = allocate(table, wanted(one.entries))
        else if (one.op === 'term') table = beginTerm(table, one.chance)
        else table = raise(table, table.counter + one.seen)
        table = stored(table)
        expect(follows(table, before)).toBe(true)
        for (const [key, { digest: content, generation }] of table.projections) {
          expect(generation).toBeLessThanOrEqual(table.counter)
          expect(meaning.get(generation) ?? `${key} ${content}`).toBe(`${key} ${content}`)
          meaning.set(generation, `${key} ${content}`)
        }
      }
    }),
  )
})
