import { setImmediate } from 'node:timers/promises'
import type { Monotonic, Sleep } from '../../sidecar/ports.ts'

// A clock that stands still until it is told to go on, and the sleep that belongs to it.

export interface FakeTime {
  readonly now: Monotonic
  readonly sleep: Sleep
  /** Lets everything that is due within `ms` happen, in order, and what follows from it. */
  advance(ms: number): Promise<void>
  /** Sleepers that have not woken yet. */
  sleeping(): number
}

interface Sleeper {
  readonly due: number
  readonly wake: () => void
}

export function createFakeTime(start = 1_000): FakeTime {
  const sleepers = new Set<Sleeper>()
  let now = start
  const next = (until: number): Sleeper | undefined => {
    const due = [...sleepers].filter((one) => one.due <= until)
    return due.sort((a, b) => a.due - b.due)[0]
  }
  return {
    now: () => now,
    sleeping: () => sleepers.size,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const sleeper = { due: now + ms, wake: resolve }
        sleepers.add(sleeper)
        signal.addEventListener('abort', () => sleepers.delete(sleeper) && reject(signal.reason), {
          once: true,
        })
      }),
    async advance(ms) {
      const until = now + ms
      await setImmediate()
      for (let one = next(until); one; one = next(until)) {
        sleepers.delete(one)
        now = Math.max(now, one.due)
        one.wake()
        await setImmediate()
      }
      now = until
      await setImmediate()
    },
  }
}
