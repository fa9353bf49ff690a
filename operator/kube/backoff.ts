import type { Random } from '../ports.ts'

export interface Backoff {
  /** The next wait, milliseconds. */
  next(): number
  /** Things work again: the next wait is a short one. */
  reset(): void
}

/** Decorrelated jitter: each wait lies anywhere between the shortest and three times the one before, so that those who failed together part. */
export function createBackoff(baseMs: number, capMs: number, random: Random): Backoff {
  let last = baseMs
  return {
    next() {
      last = Math.min(capMs, baseMs + random() * (last * 3 - baseMs))
      return last
    },
    reset() {
      last = baseMs
    },
  }
}
