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
  /** Of one turn of the event loop; milliseconds. */
  readonly lagMs: number
}

const TICK_MS = 20
const WEIGHT = 0.3
/** Late turns in a row that are overload. One stall (of the garbage collector, of a neighbour on the node) is none, however long. */
const TURNS = 3

/** Measures the event loop until `signal` aborts; sheds while each of its turns is late or too many questions are unanswered. */
export function openAdmission(
  limits: AdmissionLimits,
  now: Monotonic,
  sleep: Sleep,
  signal: AbortSignal,
): Admission {
  let inFlight = 0
  let lag = 0
  let lateTurns = 0
  const measure = async (): Promise<void> => {
    while (!signal.aborted) {
      const due = now() + TICK_MS
      await sleep(TICK_MS, signal)
      const late = Math.max(0, now() - due)
      lag += WEIGHT * (late - lag)
      lateTurns = late > limits.lagMs ? lateTurns + 1 : 0
    }
  }
  measure().catch(() => undefined)
  return {
    enter() {
      if (inFlight >= limits.inFlight || lateTurns >= TURNS) return false
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
