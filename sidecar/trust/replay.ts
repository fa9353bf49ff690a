import type { Monotonic } from '../ports.ts'

/**
 * What became of a proof's one use: `fresh` once for each key while it is remembered, `seen` ever after, `unavailable` when nobody can
 * tell, which is a refusal.
 */
export type Spent = 'fresh' | 'seen' | 'unavailable'

/** Remembers which proofs were used (RFC 9449 section 11.1). */
export interface Replay {
  /**
   * Uses `key` up, atomically. `key` is a digest of 32 bytes that holds whose proof it is; it is remembered for
   * at least `ttlMs` (1 to REPLAY_LIMITS.ttlMs, whole). A promise only where it takes a turn of the event loop; never rejects for a
   * store that is lost. Waits no longer than its own limit, and stops when `signal()` aborts.
   */
  spend(key: Buffer, ttlMs: number, signal: () => AbortSignal): Spent | Promise<Spent>
}

/** One that answers at once. */
export interface LocalReplay extends Replay {
  spend(key: Buffer, ttlMs: number, signal: () => AbortSignal): Spent
}

export const REPLAY_LIMITS = { ttlMs: 120_000, entries: 500_000 } as const

/** Parts of the longest life; one more than these is kept, so an entry outlives its time by an eighth at most. */
const PARTS = 8

/**
 * Memory of this process. Never forgets an entry that may still matter: at `entries` it answers `unavailable` until time has
 * freed room. About 50 bytes an entry.
 */
export function createReplayMemory(now: Monotonic, entries: number = REPLAY_LIMITS.entries): LocalReplay {
  const partMs = REPLAY_LIMITS.ttlMs / PARTS
  let parts: readonly Part[] = []
  let held = 0

  const part = (at: number): Part => {
    const number = Math.floor(at / partMs)
    const current = parts[0]
    if (current && current.number >= number) return current
    const live = parts.filter((one) => one.number >= number - PARTS)
    const fresh: Part = { number, keys: new Set() }
    parts = [fresh, ...live]
    held = live.reduce((sum, { keys }) => sum + keys.size, 0)
    return fresh
  }
  return {
    spend(key, ttlMs) {
      // Longer than anything is kept, or no time at all: whoever asks this is wrong, and the answer is no.
      if (!(ttlMs >= 1 && ttlMs <= REPLAY_LIMITS.ttlMs)) return 'unavailable'
      const { keys } = part(now())
      // Half of a SHA-256: nobody finds two of these, and strings this short are kept without a copy.
      const name = key.toString('latin1', 0, 16)
      if (parts.some((one) => one.keys.has(name))) return 'seen'
      if (held >= entries) return 'unavailable'
      keys.add(name)
      held++
      return 'fresh'
    },
  }
}

interface Part {
  readonly number: number
  readonly keys: Set<string>
}
