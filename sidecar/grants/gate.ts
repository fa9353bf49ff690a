import type { Monotonic, Sleep } from '../ports.ts'

/** How much one endpoint is asked at once, and how it is left alone when it fails. Durations in milliseconds. */
export const GATE_LIMITS = {
  running: 8,
  waiting: 256,
  /** Of both, what is kept for questions about tokens that something is known of. */
  reserved: 2,
  reservedWaiting: 128,
  /** Failures in a row after which nothing is asked for a while, doubled each time. */
  failures: 5,
  firstPauseMs: 1_000,
  lastPauseMs: 30_000,
} as const

/** In front of one endpoint. */
export interface Gate {
  /** Resolves to true when the question may be asked now; whoever was let in must say how it went, once. */
  enter(unproven: boolean, waitMs: number, signal: AbortSignal): Promise<boolean>
  leave(outcome: 'answered' | 'failed' | 'given up'): void
  /** Whether the endpoint is left alone because it failed, until a question is answered again. */
  open(): boolean
}

export interface GateNeeds {
  readonly now: Monotonic
  readonly sleep: Sleep
  readonly changed: (state: 'open' | 'closed') => void
}

/** Tells a waiter whether it is let in. */
type Waiter = (admitted: boolean) => void

/**
 * Bounded in what runs and in what waits, in order of arrival but proven before unproven. After a few failures in a row it lets nothing
 * through for 1 to 30 seconds, then one question alone: an endpoint that cannot answer is not asked by everybody until it falls over.
 */
export function createGate({ now, sleep, changed }: GateNeeds): Gate {
  const breaker = createBreaker(now, changed)
  const queues = { proven: new Set<Waiter>(), unproven: new Set<Waiter>() }
  let running = 0

  const fits = (unproven: boolean): boolean =>
    !breaker.shut() && running < GATE_LIMITS.running - (unproven ? GATE_LIMITS.reserved : 0)
  const take = (): void => {
    running++
    breaker.entered()
  }
  const mayPass = (unproven: boolean): boolean =>
    fits(unproven) && queues.proven.size === 0 && (!unproven || queues.unproven.size === 0)
  const mayWait = (unproven: boolean): boolean =>
    queues.proven.size + queues.unproven.size <
    GATE_LIMITS.waiting - (unproven ? GATE_LIMITS.reservedWaiting : 0)
  const call = (queue: Set<Waiter>, unproven: boolean): void => {
    for (const waiter of queue) {
      if (!fits(unproven)) return
      queue.delete(waiter)
      take()
      waiter(true)
    }
  }
  // Whoever waits for an endpoint that is left alone waits for nothing.
  const turnAway = (queue: Set<Waiter>): void => {
    for (const waiter of queue) waiter(false)
    queue.clear()
  }
  return {
    open: breaker.open,
    async enter(unproven, waitMs, signal) {
      if (signal.aborted || breaker.shut()) return false
      if (mayPass(unproven)) {
        take()
        return true
      }
      if (!mayWait(unproven)) return false
      const queue = unproven ? queues.unproven : queues.proven
      const { promise, resolve: waiter } = Promise.withResolvers<boolean>()
      queue.add(waiter)
      const patience = new AbortController()
      const late = () => void (queue.delete(waiter) && waiter(false))
      sleep(waitMs, AbortSignal.any([signal, patience.signal])).then(late, late)
      const admitted = await promise
      patience.abort()
      return admitted
    },
    leave(outcome) {
      running--
      breaker.left(outcome)
      if (breaker.shut()) [queues.proven, queues.unproven].forEach(turnAway)
      call(queues.proven, false)
      call(queues.unproven, true)
    },
  }
}

interface Breaker {
  shut(): boolean
  open(this: void): boolean
  entered(): void
  left(outcome: 'answered' | 'failed' | 'given up'): void
}

function createBreaker(now: Monotonic, changed: GateNeeds['changed']): Breaker {
  let failures = 0
  /** 0 while all is well. */
  let pauseMs = 0
  let pausedUntil = Number.NEGATIVE_INFINITY
  let probing = false

  const failed = (): void => {
    failures++
    if (failures < GATE_LIMITS.failures) return
    // Questions that were under way when it opened say nothing new.
    if (pauseMs > 0 && !probing) return
    if (pauseMs === 0) changed('open')
    pauseMs = Math.min(GATE_LIMITS.lastPauseMs, pauseMs * 2 || GATE_LIMITS.firstPauseMs)
    pausedUntil = now() + pauseMs
  }
  return {
    open: () => pauseMs > 0,
    shut: () => pauseMs > 0 && (probing || now() < pausedUntil),
    entered() {
      probing = pauseMs > 0
    },
    left(outcome) {
      if (outcome === 'failed') failed()
      if (outcome === 'answered') {
        if (pauseMs > 0) changed('closed')
        failures = 0
        pauseMs = 0
      }
      probing = false
    },
  }
}
