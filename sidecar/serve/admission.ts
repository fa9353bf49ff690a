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
  readonly lagMs: number
}

const TICK_MS = 20
const WEIGHT = 0.3

/** Measures the event loop until `signal` aborts; sheds while it stays late or too many questions are unanswered. */
export function openAdmission(
  limits: AdmissionLimits,
  now: Monotonic,
  sleep: Sleep,
  signal: AbortSignal,
): Admission {
  let inFlight = 0
  let lag = 0
  const measure = async (): Promise<void> => {
    while (!signal.aborted) {
      const due = now() + TICK_MS
      await sleep(TICK_MS, signal)
      lag += WEIGHT * (Math.max(0, now() - due) - lag)
    }
  }
  measure().catch(() => undefined)
  return {
    enter() {
      if (inFlight >= limits.inFlight || lag > limits.lagMs) return false
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
