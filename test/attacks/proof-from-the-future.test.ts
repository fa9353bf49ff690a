import { describe, expect, test } from 'vitest'
import { forgeProof } from '../fixtures/proofs.ts'
import { AT_S, tokenOf } from './arena.ts'
import { BOUND, openDpopArena } from './dpop-arena.ts'

const token = tokenOf(BOUND)

describe('attack 55: a proof dated ahead, kept until the memory of its first use is gone', () => {
  test.each([-60, -1, 0, 1, 9, 10])(
    'attack 55, 003-06: dated %i seconds ahead, it is known in every second in which it would be good',
    async (ahead) => {
      const clock = { at: AT_S * 1000 + 999 }
      const arena = await openDpopArena({ now: () => clock.at, replica: { now: () => clock.at } })
      const proof = [forgeProof({ token, at: AT_S + ahead })]
      expect(await arena.verdict({ token, proof })).toBe('allow')
      for (let second = 1; second <= 60 + ahead; second++) {
        clock.at = (AT_S + second) * 1000 + 999
        expect(await arena.verdict({ token, proof })).toBe('dpop_replay')
      }
      clock.at = (AT_S + 61 + ahead) * 1000
      expect(await arena.verdict({ token, proof })).toBe('dpop_iat_skew')
    },
  )

  test('attack 55: and when the clock is set back by as much as goes unnoticed', async () => {
    const clock = { at: AT_S * 1000, monotonic: 0 }
    const arena = await openDpopArena({ now: () => clock.at, replica: { now: () => clock.monotonic } })
    const proof = [forgeProof({ token, at: AT_S + 10 })]
    expect(await arena.verdict({ token, proof })).toBe('allow')
    clock.at += 70_000
    clock.monotonic += 70_000
    expect(await arena.verdict({ token, proof })).toBe('dpop_replay')
    clock.monotonic += 5_000
    expect(await arena.verdict({ token, proof })).toBe('dpop_replay')
  })

  test('attack 55: further ahead than that it is not taken at all', async () => {
    const arena = await openDpopArena()
    expect(await arena.verdict({ proof: { at: AT_S + 290 } })).toBe('dpop_iat_skew')
  })
})
