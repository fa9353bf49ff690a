// What was used once is remembered for as long as it could be used again, and nothing that may still matter is forgotten for room.
import { hash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createReplayMemory, REPLAY_LIMITS } from '../../../sidecar/trust/replay.ts'

const key = (name: string | number) => hash('sha256', String(name), 'buffer')
const NEVER = () => new AbortController().signal

function openMemory(entries?: number) {
  const clock = { now: 5_000 }
  const memory = createReplayMemory(() => clock.now, entries)
  return { clock, spend: (name: string | number, ttlMs = 60_000) => memory.spend(key(name), ttlMs, NEVER) }
}

describe('003-06: a used proof', () => {
  test('003-06: is fresh once, and seen from then on', () => {
    const { spend } = openMemory()
    expect([spend('a'), spend('a'), spend('b'), spend('a'), spend('b')]).toEqual([
      'fresh',
      'seen',
      'fresh',
      'seen',
      'seen',
    ])
  })

  test.each([1, 59_999, 60_000, REPLAY_LIMITS.ttlMs])('003-06: is remembered for all of %i ms', (ttlMs) => {
    for (const begin of [0, 1, 14_999, 15_000, 20_001]) {
      const { spend, clock } = openMemory()
      clock.now += begin
      spend('a', ttlMs)
      clock.now += ttlMs
      expect(spend('a', ttlMs)).toBe('seen')
    }
  })

  test('003-06: whatever else happens meanwhile, at whatever times', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(40_000), fc.nat(50)), { maxLength: 60 }), (events) => {
        const { spend, clock } = openMemory()
        const usedAt = new Map<number, number>()
        for (const [pause, name] of events) {
          clock.now += pause
          const before = usedAt.get(name)
          const answer = spend(name, REPLAY_LIMITS.ttlMs)
          if (before !== undefined && clock.now - before <= REPLAY_LIMITS.ttlMs) expect(answer).toBe('seen')
          if (answer === 'fresh') usedAt.set(name, clock.now)
        }
      }),
    )
  })

  test.each([0, -1, Number.NaN, REPLAY_LIMITS.ttlMs + 1, Number.POSITIVE_INFINITY])(
    '003-06: that would have to be remembered for %d ms is refused',
    (ttlMs) => {
      expect(openMemory().spend('a', ttlMs)).toBe('unavailable')
    },
  )
})

describe('003-06: a full memory', () => {
  test('003-06: refuses what is new, knows what is old, and takes more once time has passed', () => {
    const { spend, clock } = openMemory(3)
    expect(['a', 'b', 'c', 'd'].map((name) => spend(name))).toEqual([
      'fresh',
      'fresh',
      'fresh',
      'unavailable',
    ])
    expect(['a', 'b', 'c'].map((name) => spend(name))).toEqual(['seen', 'seen', 'seen'])
    clock.now += 2 * REPLAY_LIMITS.ttlMs
    expect(['d', 'e', 'f', 'g'].map((name) => spend(name))).toEqual([
      'fresh',
      'fresh',
      'fresh',
      'unavailable',
    ])
  })

  test('003-06: does not grow beyond its limit by being asked', () => {
    const { spend } = openMemory(100)
    const answers = Array.from({ length: 1_000 }, (_, index) => spend(index))
    expect(answers.filter((one) => one === 'fresh').length).toBe(100)
    expect(answers.slice(100)).toEqual(Array.from({ length: 900 }, () => 'unavailable'))
  })
})
