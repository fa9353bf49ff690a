import { describe, expect, test } from 'vitest'
import { createSingleUse, type Use } from '../../../sidecar/token/single-use.ts'
import { createReplayMemory, type Replay, type Spent } from '../../../sidecar/trust/replay.ts'

// Tokens that are used once: here, and among replicas.

const AT = 1_790_000_000_000
const never = () => new AbortController().signal

const USE: Omit<Use, 'jti'> = {
  audience: 'invoices',
  source: 'shop/idp',
  issuer: 'i',
  until: AT + 60_000,
  at: AT,
  everywhere: false,
}

/** One replica, beside this store of all of them. */
function open(shared?: Replay, entries?: number) {
  const once = createSingleUse(shared, entries)
  return async (jti: string, change: Partial<Use> = {}): Promise<Spent> =>
    once.spend({ ...USE, jti, ...change }, never)
}

/** A store that is lost while `lost` says so. */
function losing(lost: () => boolean): Replay {
  const memory = createReplayMemory(() => 0)
  return { spend: async (...use) => (lost() ? 'unavailable' : memory.spend(...use)) }
}

test('L6: a full memory forgets nothing: it refuses', async () => {
  const spend = open(undefined, 2)
  expect(await spend('a', { until: 100, at: 0 })).toBe('fresh')
  expect(await spend('b', { until: 50, at: 0 })).toBe('fresh')
  expect(await spend('c', { until: 100, at: 49 })).toBe('unavailable')
  expect(await spend('a', { until: 100, at: 49 })).toBe('seen')
  expect(await spend('c', { until: 100, at: 50 })).toBe('fresh')
  expect(await spend('a', { issuer: 'i2', until: 100, at: 100 })).toBe('fresh')
})

describe('L6: replicas with a store between them', () => {
  test('know what another one has seen, of the same issuer', async () => {
    const shared = losing(() => false)
    const [one, other] = [open(shared), open(shared)]
    expect(await one('a')).toBe('fresh')
    expect(await other('a')).toBe('seen')
    expect(await one('a')).toBe('seen')
    expect(await other('a', { issuer: 'i2' })).toBe('fresh')
  })

  test('know nothing of what other workloads have seen, nor of another tenant’s issuer with the same name', async () => {
    const shared = losing(() => false)
    const [one, other] = [open(shared), open(shared)]
    expect(await one('a', { source: 'hostile/idp' })).toBe('fresh')
    expect(await one('a', { audience: 'orders' })).toBe('fresh')
    expect([await other('a'), await other('a')]).toEqual(['fresh', 'seen'])
  })

  test('know each for itself while it is lost, and ever after', async () => {
    let lost = true
    const shared = losing(() => lost)
    const [one, other] = [open(shared), open(shared)]
    expect([await one('a'), await one('a'), await other('a')]).toEqual(['fresh', 'seen', 'fresh'])
    lost = false
    expect([await one('a'), await other('a')]).toEqual(['seen', 'seen'])
  })

  test('told to come again, what must be unused everywhere comes again once the store is back', async () => {
    let lost = true
    const shared = losing(() => lost)
    const [one, other] = [open(shared), open(shared)]
    expect(await one('a', { everywhere: true })).toBe('unavailable')
    lost = false
    expect(await one('a', { everywhere: true })).toBe('fresh')
    expect([await other('a', { everywhere: true }), await one('a', { everywhere: true })]).toEqual([
      'seen',
      'seen',
    ])
    // What was used while nobody demanded the store is used.
    lost = true
    expect(await one('b')).toBe('fresh')
    lost = false
    expect(await one('b', { everywhere: true })).toBe('seen')
  })

  test('refuse while it is lost, or where there is none, when it must be unused everywhere', async () => {
    expect(await open(losing(() => true))('a', { everywhere: true })).toBe('unavailable')
    expect(await open()('a', { everywhere: true })).toBe('unavailable')
    expect(await open(losing(() => false))('a', { everywhere: true })).toBe('fresh')
  })
})
