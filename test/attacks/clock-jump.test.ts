import { describe, expect, test } from 'vitest'
import { createTrustStore } from '../../sidecar/trust/store.ts'
import { AT_S, openArena } from './arena.ts'

const START = AT_S * 1000

async function arenaOnAClock() {
  let now = START
  const arena = await openArena({ now: () => now })
  const set = (ms: number) => {
    now = START + ms
  }
  return { verdict: arena.verdict, set }
}

describe('attack 53: 001-15: a node whose clock jumps', () => {
  test.each([
    [0, 'allow'],
    [-4_999, 'allow'],
    [-5_000, 'allow'],
    [-5_001, 'clock_unsafe'],
    [-3_600_000, 'clock_unsafe'],
  ])('%i ms', async (step, want) => {
    const { verdict, set } = await arenaOnAClock()
    expect(await verdict({})).toBe('allow')
    set(step)
    expect(await verdict({})).toBe(want)
  })

  test('an expired token stays expired when the clock goes back', async () => {
    const { verdict, set } = await arenaOnAClock()
    const dying = { claims: { exp: AT_S + 10 } }
    expect(await verdict(dying)).toBe('allow')
    set(70_000)
    expect(await verdict(dying)).toBe('expired')
    set(0)
    expect(await verdict(dying)).toBe('clock_unsafe')
  })

  test('many small steps back are one large one', async () => {
    const { verdict, set } = await arenaOnAClock()
    expect(await verdict({})).toBe('allow')
    for (const step of [-2_000, -4_000]) {
      set(step)
      expect(await verdict({})).toBe('allow')
    }
    set(-6_000)
    expect(await verdict({})).toBe('clock_unsafe')
  })

  test('a token that nobody could check moves the clock too', async () => {
    const { verdict, set } = await arenaOnAClock()
    set(60_000)
    expect(await verdict('garbage')).toBe('token_format')
    set(0)
    expect(await verdict({})).toBe('clock_unsafe')
  })

  test('readiness says so, and ends when the clock has caught up', () => {
    const store = createTrustStore()
    expect(store.obstacle(START)).toBe('not_ready')
    expect(store.obstacle(START - 5_001)).toBe('clock_unsafe')
    expect(store.obstacle(START - 5_000)).toBe('not_ready')
  })

  test('a step forward is believed: tokens expire, nothing is allowed that was not', async () => {
    const { verdict, set } = await arenaOnAClock()
    set(360_000)
    expect(await verdict({})).toBe('expired')
    expect(await verdict({ at: AT_S + 360 })).toBe('allow')
  })
})
