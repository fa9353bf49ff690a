import type { Sleep } from '../../sidecar/ports.ts'

/** Time that passes when the test says so. */
export interface Clock {
  readonly now: () => number
  readonly sleep: Sleep
  /** Lets time pass, waking sleepers in order, each with everything that follows from it. */
  pass(ms: number): Promise<void>
}

export function createClock(start = 0): Clock {
  let now = start
  let sleepers: { readonly at: number; readonly wake: () => void }[] = []
  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        if (signal.aborted) reject(signal.reason)
        else sleepers.push({ at: now + ms, wake: resolve })
      }),
    async pass(ms) {
      const end = now + ms
      await settle()
      for (;;) {
        const next = sleepers.toSorted((one, other) => one.at - other.at)[0]
        if (!next || next.at > end) break
        sleepers = sleepers.filter((one) => one !== next)
        now = Math.max(now, next.at)
        next.wake()
        await settle()
      }
      now = end
    },
  }
}

/** Lets every promise that can go on go on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
