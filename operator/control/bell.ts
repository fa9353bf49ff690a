import type { Sleep } from '../ports.ts'

/** Wakes a loop: rings between two rounds count once. */
export interface Bell {
  ring(): void
  /** Resolves at the next ring, after `mostMs`, or when the signal aborts. */
  rung(mostMs: number, signal: AbortSignal): Promise<void>
}

export function createBell(sleep: Sleep): Bell {
  let next = Promise.withResolvers<void>()
  return {
    ring: () => next.resolve(),
    async rung(mostMs, signal) {
      const over = new AbortController()
      const until = AbortSignal.any([signal, over.signal])
      await Promise.race([next.promise, sleep(mostMs, until).catch(() => undefined)])
      over.abort()
      next = Promise.withResolvers<void>()
    },
  }
}
