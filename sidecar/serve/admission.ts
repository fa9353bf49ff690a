import type { Monotonic, Sleep } from '../ports.ts'

/** Whether one more question can be taken. Overload is a fast denial, never a queue without bound. */
export interface Admission {
  /** Takes a place, or refuses. */
  enter(): boolean
  leave(): void
  /** Smoothed delay of the event loop, milliseconds. */
  lagMs(): number
  inFlight(): number
}

export interface AdmissionLimits {
  readonly inFlight: number
  /** Of the event loop, smoothed; milliseconds. */
  readonly lagMs: number
}

const TICK_MS = 20
const WEIGHT = 0.3
/**
 * For how much one late turn counts at most, in limits. A stall (of the garbage collector, of a neighbour on the node) is no overload,
 * however long; three long ones in a row are.
 */
const STALL = 1.6

/** Measures the event loop until `signal` aborts; sheds while it stays late or too many questions are unanswered. */
export function openAdmission(
  limits: AdmissionLimits,
  now: Monotonic,
  sleep: Sleep,
  signal: AbortSignal,
): Admission {
  let inFlight = 0
  let lag = 0
  let load = 0
  const measure = async (): Promise<void> => {
    while (!signal.aborted) {
      const due = now() + TICK_MS
      await sleep(TICK_MS, signal)
      const late = Math.max(0, now() - due)
      lag += WEIGHT * (late - lag)
      load += WEIGHT * (Math.min(late, STALL * limits.lagMs) - load)
    }
  }
  measure().catch(() => undefined)
  return {
    enter() {
      if (inFlight >= limits.inFlight || load > limits.lagMs) return false
      inFlight++
      return true
    },
    leave() {
      inFlight--
    },
    lagMs: () => lag,
    inFlight: () => inFlight,
  }
}
