import type { Clocks } from '../ports.ts'
import type { Key } from './resource.ts'

/** Keys that are due later. */
export interface Delays {
  /** Of several times for one key the earliest counts. */
  add(key: Key, ms: number): void
  stop(): void
}

/** One sleeper at most, for the earliest of all; `due` is called for each key when its time has come. */
export function createDelays(
  due: (key: Key) => void,
  { monotonic, sleep }: Pick<Clocks, 'monotonic' | 'sleep'>,
): Delays {
  const times = new Map<Key, number>()
  let sleeping: { readonly until: number; readonly stop: AbortController } | undefined

  const fire = (): void => {
    const now = monotonic()
    for (const [key, at] of [...times]) {
      if (at > now) continue
      times.delete(key)
      due(key)
    }
    arm()
  }
  const arm = (): void => {
    let until = Number.POSITIVE_INFINITY
    for (const at of times.values()) until = Math.min(until, at)
    if (!Number.isFinite(until) || (sleeping && sleeping.until <= until)) return
    sleeping?.stop.abort()
    const mine = { until, stop: new AbortController() }
    sleeping = mine
    sleep(Math.max(0, until - monotonic()), mine.stop.signal).then(
      () => {
        if (sleeping !== mine) return
        sleeping = undefined
        fire()
      },
      () => undefined,
    )
  }
  return {
    add(key, ms) {
      const at = monotonic() + ms
      times.set(key, Math.min(at, times.get(key) ?? at))
      arm()
    },
    stop() {
      times.clear()
      sleeping?.stop.abort()
      sleeping = undefined
    },
  }
}
