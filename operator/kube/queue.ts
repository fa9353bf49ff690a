import type { Clocks, Random } from '../ports.ts'
import { createDelays } from './delays.ts'
import { createLanes } from './lanes.ts'
import type { KubeMetrics } from './metrics.ts'
import type { Key } from './resource.ts'

export interface WorkQueue extends Disposable {
  /** Wants the key worked on, once, however often it is asked for before that happens. Higher priority goes first; 0 by default. */
  add(key: Key, priority?: number): void
  addAfter(key: Key, ms: number): void
  /** Again after a failure: later each time, until `forget`. */
  retry(key: Key): void
  /** The key is fine now: its next failure starts from the shortest wait. */
  forget(key: Key): void
  /** The next key; it is given to nobody else until `done`. `undefined` when the signal aborted or the queue was disposed of. */
  take(signal: AbortSignal): Promise<Key | undefined>
  done(key: Key): void
  /** Brings the gauges that grow with time alone up to date. */
  measure(): void
  /** Keys ready to be taken. */
  depth(): number
}

export interface QueueOptions {
  readonly name: string
  /** First wait after a failure; doubles at each further one. controller-runtime's values by default. */
  readonly baseMs?: number
  readonly capMs?: number
}
export type QueueNeeds = Pick<Clocks, 'monotonic' | 'random' | 'sleep'> & { readonly metrics: KubeMetrics }

const BASE_MS = 5
const CAP_MS = 1_000_000
/** Part of a wait that is left to chance, either way. */
const JITTER = 0.1

/**
 * Keys that need work. One key is never worked on twice at the same time, and a key added while it is worked on comes again
 * afterwards: the last event is never lost. Holds at most one entry a key, so its size is bounded by the objects there are.
 */
export function createWorkQueue(options: QueueOptions, needs: QueueNeeds): WorkQueue {
  const { monotonic, random, metrics } = needs
  const labels = { name: options.name, controller: options.name }
  const ready = createLanes((priority, depth) =>
    metrics.set('workqueue_depth', { ...labels, priority: String(priority) }, depth),
  )
  const work = createWork(labels, needs)
  const waits = createWaits(options, random)
  const takers = new Set<() => void>()
  let closed = false

  const wakeOne = (): void => {
    const [taker] = takers
    if (ready.size() > 0) taker?.()
  }
  const add = (key: Key, priority = 0): void => {
    if (closed) return
    const anew = work.again(key, priority) ?? ready.add(key, priority, monotonic())
    if (anew) metrics.add('workqueue_adds_total', labels)
    wakeOne()
  }
  const later = createDelays(add, needs)

  return {
    add,
    addAfter(key, ms) {
      if (ms <= 0) add(key)
      else if (!closed) later.add(key, ms)
    },
    retry(key) {
      metrics.add('workqueue_retries_total', labels)
      if (!closed) later.add(key, waits.next(key))
    },
    forget: waits.forget,
    async take(signal) {
      while (!closed && !signal.aborted) {
        const next = ready.take()
        if (next) return work.begin(next)
        await arrival(takers, signal)
      }
      // Whoever was woken for a key and leaves without it wakes the next.
      wakeOne()
      return undefined
    },
    done(key) {
      const priority = work.end(key)
      if (priority !== undefined && !closed) ready.add(key, priority, monotonic())
      wakeOne()
    },
    measure: work.measure,
    depth: ready.size,
    [Symbol.dispose]() {
      closed = true
      later.stop()
      for (const taker of [...takers]) taker()
    },
  }
}

interface Work {
  begin(next: { readonly key: Key; readonly addedAt: number }): Key
  /** Whether the key is new to those that must come again; `undefined` when it is not worked on at all. */
  again(key: Key, priority: number): boolean | undefined
  /** The priority with which the key must come again, if it must. */
  end(key: Key): number | undefined
  measure(): void
}

/** Keys that are worked on now, and those of them that were asked for meanwhile. */
function createWork(
  labels: { readonly name: string; readonly controller: string },
  { monotonic, metrics }: QueueNeeds,
): Work {
  const since = new Map<Key, number>()
  const wanted = new Map<Key, number>()
  const secondsFrom = (at: number) => (monotonic() - at) / 1_000
  return {
    begin({ key, addedAt }) {
      since.set(key, monotonic())
      metrics.observe('workqueue_queue_duration_seconds', labels, secondsFrom(addedAt))
      return key
    },
    again(key, priority) {
      if (!since.has(key)) return undefined
      const before = wanted.get(key)
      wanted.set(key, Math.max(priority, before ?? priority))
      return before === undefined
    },
    end(key) {
      const startedAt = since.get(key)
      if (startedAt === undefined) return undefined
      metrics.observe('workqueue_work_duration_seconds', labels, secondsFrom(startedAt))
      const priority = wanted.get(key)
      since.delete(key)
      wanted.delete(key)
      return priority
    },
    measure() {
      const running = [...since.values()].map(secondsFrom)
      const total = running.reduce((sum, one) => sum + one, 0)
      metrics.set('workqueue_unfinished_work_seconds', labels, total)
      metrics.set('workqueue_longest_running_processor_seconds', labels, Math.max(0, ...running))
    },
  }
}

/** How long a key waits after each of its failures in a row. */
function createWaits({ baseMs = BASE_MS, capMs = CAP_MS }: QueueOptions, random: Random) {
  const failures = new Map<Key, number>()
  return {
    next(key: Key): number {
      const failed = failures.get(key) ?? 0
      failures.set(key, failed + 1)
      return Math.min(capMs, baseMs * 2 ** Math.min(failed, 60)) * (1 - JITTER + 2 * JITTER * random())
    },
    forget(key: Key): void {
      failures.delete(key)
    },
  }
}

function arrival(takers: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      takers.delete(wake)
      signal.removeEventListener('abort', wake)
      resolve()
    }
    takers.add(wake)
    signal.addEventListener('abort', wake, { once: true })
  })
}
