import { describe, expect, test } from 'vitest'
import { type FedArena, openFedArena } from './fed.ts'

// Row 81: somebody who cannot forge a token keeps the news of its revocation from us. Silence must not be worth more than the lease.

const STRICT = 'invoice:refund'
const STANDARD = 'invoice:edit'
const READ = 'invoice:read'
// What a refund pays back: small enough that the policy allows all three.
const SMALL = { request: { amount: 10 } }

async function tiers(arena: FedArena): Promise<readonly string[]> {
  const verdicts: string[] = []
  for (const action of [STRICT, STANDARD, READ]) {
    const verdict = await arena.verdict({ at: Math.floor(arena.now() / 1000) }, { action, ...SMALL })
    verdicts.push({ revocation_stale: 'stale', allow: 'fresh' }[verdict] ?? verdict)
  }
  return verdicts
}

describe('attack 81: 002-15, 004-32: an operator that is not heard', () => {
  test.each([
    [4_999, ['fresh', 'fresh', 'fresh']],
    [5_000, ['stale', 'fresh', 'fresh']],
    [59_999, ['stale', 'fresh', 'fresh']],
    [60_000, ['stale', 'stale', 'fresh']],
    [899_999, ['stale', 'stale', 'fresh']],
    [900_000, ['stale', 'stale', 'stale']],
    [86_400_000, ['stale', 'stale', 'stale']],
  ])('for %i ms', async (ms, want) => {
    const arena = await openFedArena()
    arena.pass(ms)
    expect(await tiers(arena)).toEqual(want)
  })

  test('and whose heartbeats are held back and then let through all at once has not been heard', async () => {
    const arena = await openFedArena()
    arena.pass(70_000)
    for (let agoMs = 70_000; agoMs >= 61_000; agoMs -= 1_000) arena.heartbeat(undefined, agoMs)
    expect(await tiers(arena)).toEqual(['stale', 'stale', 'fresh'])
    arena.heartbeat(undefined, 10_000)
    expect(await tiers(arena)).toEqual(['stale', 'fresh', 'fresh'])
    arena.heartbeat()
    expect(await tiers(arena)).toEqual(['fresh', 'fresh', 'fresh'])
  })

  test('but whose heartbeats are, while its revocations are not', async () => {
    const arena = await openFedArena()
    for (let second = 0; second < 60; second++) {
      arena.pass(1_000)
      arena.heartbeat(11)
    }
    expect(await tiers(arena)).toEqual(['stale', 'stale', 'fresh'])
    arena.revoke({ subject: { $case: 'sub', sub: 'bob' } })
    arena.heartbeat(11)
    expect(await tiers(arena)).toEqual(['fresh', 'fresh', 'fresh'])
  })

  test('is not heard either by setting our clock back, or by stopping the machine', async () => {
    const arena = await openFedArena()
    arena.pass(58_000)
    arena.setWall(-4_000)
    arena.pass(2_000)
    expect(await tiers(arena)).toEqual(['stale', 'stale', 'fresh'])
    const slept = await openFedArena()
    slept.setWall(60_000)
    expect(await tiers(slept)).toEqual(['stale', 'stale', 'fresh'])
  })

  test('a new stream alone confirms nothing', async () => {
    const arena = await openFedArena()
    arena.pass(60_000)
    arena.believe.greet()
    expect(await tiers(arena)).toEqual(['stale', 'stale', 'fresh'])
  })

  test('what is known is still denied for what it is', async () => {
    const arena = await openFedArena()
    arena.revoke({ subject: { $case: 'sub', sub: 'alice' } })
    arena.pass(100_000)
    expect(await arena.verdict()).toBe('revoked_sub')
  })
})

test('a sidecar that has never heard its operator allows nothing, snapshot or not', async () => {
  const arena = await openFedArena({ silent: true })
  expect(await tiers(arena)).toEqual(['stale', 'stale', 'stale'])
})
