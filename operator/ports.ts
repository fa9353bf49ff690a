/** Wall clock, milliseconds since the epoch. */
export type Now = () => number
/** Clock that never goes back, milliseconds from an arbitrary start. */
export type Monotonic = () => number
/** Uniform in [0, 1). */
export type Random = () => number
/** Resolves after `ms`, or rejects with the signal's reason as soon as it aborts. Never keeps the process alive. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>

/** The four of them, for the rooms that need most. */
export interface Clocks {
  readonly now: Now
  readonly monotonic: Monotonic
  readonly random: Random
  readonly sleep: Sleep
}

/** Operational log line: an event name and facts from a fixed vocabulary; never a token, key or secret. */
export type Report = (event: string, facts?: Readonly<Record<string, Fact>>) => void
export type Fact = string | number | boolean | readonly string[]

/** Something broke, as opposed to: something was refused. Thrown by adapters, caught by loops and by main. */
export class Fault extends Error {
  readonly code: FaultCode
  constructor(code: FaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'Fault'
    this.code = code
  }

  /** Whatever was thrown, as a Fault. */
  static from(cause: unknown): Fault {
    if (cause instanceof Fault) return cause
    return new Fault('internal', cause instanceof Error ? cause.message : 'unexpected fault', cause)
  }
}
export type FaultCode =
  | 'api'
  | 'conflict'
  | 'not_found'
  | 'gone'
  | 'fetch'
  | 'compile'
  | 'lost_lease'
  | 'internal'

/** What a piece of work came to: a value, or every problem that was found, each with place and remedy. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly string[] }
