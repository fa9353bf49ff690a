import type { Caller } from '../decide.ts'
import type { Monotonic, Sleep } from '../ports.ts'

export interface CallerNeeds {
  readonly now: Monotonic
  readonly sleep: Sleep
}

/** The line to whoever asked. */
export interface Line {
  readonly hungUp: () => boolean
  /** Has `act` called when the caller hangs up; returns how to take that back. */
  readonly onHangUp: (act: () => void) => () => void
}

/** The line of a gRPC call. */
export function lineTo(call: Cancellable): Line {
  return {
    hungUp: () => call.cancelled,
    onHangUp: (act) => {
      call.once('cancelled', act)
      return () => call.off('cancelled', act)
    },
  }
}
interface Cancellable {
  readonly cancelled: boolean
  once(event: 'cancelled', act: () => void): unknown
  off(event: 'cancelled', act: () => void): unknown
}

/** A caller and the end of our interest in it. */
export interface TrackedCaller extends Caller {
  /** Stops the timer and lets go of the line, if they were needed. */
  release(): void
}

/** Follows one caller: its deadline on the monotonic clock, and whether it hung up. */
export function trackCaller(waitsMs: number, line: Line, needs: CallerNeeds): TrackedCaller {
  const until = needs.now() + waitsMs
  let waiting: { readonly signal: AbortSignal; readonly release: () => void } | undefined
  return {
    gone() {
      if (line.hungUp()) return 'cancelled'
      // The timer and the clock may disagree by a fraction of a millisecond; either one is the end.
      return waiting?.signal.aborted || needs.now() >= until ? 'deadline' : undefined
    },
    signal() {
      waiting ??= watch(Math.max(0, until - needs.now()), line, needs.sleep)
      return waiting.signal
    },
    release: () => waiting?.release(),
  }
}

function watch(ms: number, line: Line, sleep: Sleep) {
  const over = new AbortController()
  const timer = new AbortController()
  const end = () => over.abort()
  const letGo = line.onHangUp(end)
  sleep(ms, timer.signal).then(end, () => undefined)
  const release = () => {
    timer.abort()
    letGo()
  }
  return { signal: over.signal, release }
}
