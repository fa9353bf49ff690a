import type { Caller } from '../decide.ts'
import type { Monotonic, Sleep } from '../ports.ts'

export interface CallerNeeds {
  readonly now: Monotonic
  readonly sleep: Sleep
}

/** A caller and the end of our interest in it. */
export interface TrackedCaller extends Caller {
  /** Stops the timer, if there is one. */
  release(): void
}

/** Follows one caller: its deadline on the monotonic clock, and whether it hung up. */
export function trackCaller(waitsMs: number, hungUp: () => boolean, needs: CallerNeeds): TrackedCaller {
  const until = needs.now() + waitsMs
  let controller: AbortController | undefined
  let released: AbortController | undefined
  const gone = () => {
    if (hungUp()) return 'cancelled'
    return needs.now() >= until ? 'deadline' : undefined
  }
  return {
    gone,
    signal() {
      if (controller) return controller.signal
      const aborting = new AbortController()
      const timer = new AbortController()
      controller = aborting
      released = timer
      needs.sleep(Math.max(0, until - needs.now()), timer.signal).then(
        () => aborting.abort(),
        () => undefined,
      )
      return aborting.signal
    },
    release: () => released?.abort(),
  }
}
