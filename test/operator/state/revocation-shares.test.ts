import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/crd/revocation.ts'
import { diffRevocations } from '../../../operator/state/revocation-diff.ts'
import { append, EMPTY_LOG, KEPT_MS, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { withinShares } from '../../../operator/state/revocation-shares.ts'
import { revocation } from './objects.ts'

const LIMITS = { entries: 60, bytes: 1 << 20 }
const AT = Date.UTC(2026, 0)
const MINUTE = 60_000
const bornAt = (object: Revocation, second: number): Revocation => ({
  ...object,
  metadata: { ...object.metadata, creationTimestamp: new Date(AT + second * 1000).toISOString() },
})
const sized = (namespace: string, name: string, count: number, expiresAtMs = Date.UTC(2030, 0)): Revocation =>
  revocation(namespace, name, {
    expiresAt: new Date(expiresAtMs).toISOString(),
    entries: Array.from({ length: count }, (_, index) => ({ type: 'Jti', value: `${name}-${index}` })),
  })

function settle(log: RevocationLog, objects: readonly Revocation[], limits = LIMITS, at = AT) {
  const { changes } = diffRevocations(log, objects, () => 'https://idp.example', at)
  const fitting = withinShares(log, changes, objects, limits)
  const appended = append(log, fitting.changes, limits)
  // Whatever fits by shares fits the room.
  if (!appended.ok) throw new Error(appended.why)
  return { log: appended.log, refused: fitting.refused }
}

function stands({ spec }: Revocation, at: number): boolean {
  return Date.parse(spec.expiresAt) + KEPT_MS > at
}

function heldIn({ live }: RevocationLog, namespace: string): number {
  return [...live.values()].filter(({ entry }) => entry.source.startsWith(`${namespace}/`)).length
}

test('of any objects that come, grow, shrink, are extended, expire and go in any order, each is in force whole or as it was before, and nobody comes to hold more than stays free', () => {
  const step = fc.record({
    namespace: fc.constantFrom('a', 'b', 'c'),
    name: fc.constantFrom('one', 'two', 'three'),
    count: fc.integer({ min: 0, max: 30 }),
    minutes: fc.integer({ min: 0, max: 2 }),
    life: fc.integer({ min: 1, max: 9 }),
  })
  let refusals = 0
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
      const objects = new Map<string, Revocation>()
      let log = EMPTY_LOG
      let at = AT
      for (const [index, { namespace, name, count, minutes, life }] of steps.entries()) {
        at += minutes * MINUTE
        const key = `${namespace}/${name}`
        if (count === 0) objects.delete(key)
        else objects.set(key, bornAt(sized(namespace, name, count, at + life * MINUTE), index))
        const before = log
        const settled = settle(log, [...objects.values()], LIMITS, at)
        log = settled.log
        refusals += settled.refused.size
        const grown: string[] = []
        for (const [key, object] of objects) {
          const of = ({ live }: RevocationLog) =>
            [...live.keys()].filter((id) => id.startsWith(`${object.metadata.uid}/`))
          const own = of(log)
          if (settled.refused.has(key)) expect(own).toEqual(of(before))
          else expect(own).toHaveLength(stands(object, at) ? object.spec.entries.length : 0)
          if (own.length > of(before).length) grown.push(object.metadata.namespace)
        }
        // Who grew after another has left it less.
        if (grown.length === 1)
          expect(heldIn(log, String(grown))).toBeLessThanOrEqual(LIMITS.entries - log.live.size)
      }
    }),
    { numRuns: 500 },
  )
  expect(refusals).toBeGreaterThan(50)
})

test('the oldest first, whatever their order', () => {
  const objects = [bornAt(sized('a', 'late', 20), 9), bornAt(sized('a', 'early', 20), 1)]
  for (const order of [objects, objects.toReversed()]) {
    const { refused } = settle(EMPTY_LOG, order)
    expect([...refused.keys()]).toEqual(['a/late'])
  }
})

test('bytes count as entries do', () => {
  const { refused } = settle(EMPTY_LOG, [sized('a', 'one', 20)], { entries: 60, bytes: 1024 })
  expect(refused.get('a/one')).toMatch(/^log is full: namespace a would have more bytes in force than it/)
})
