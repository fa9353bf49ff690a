import { type Denial, deny, type Reason } from '../decision.ts'
import type { Moment } from '../request.ts'
import type { Snapshot } from './snapshot.ts'

/** What is believed now, and whether it may be acted on. */
export interface TrustStore {
  /** The snapshot to decide with, or why there can be no permission at all. */
  current(at: Moment): Snapshot | Denial
  /** The snapshot as installed, whatever the clock says; `undefined` before the first. */
  installed(): Snapshot | undefined
  /** Replaces all beliefs in one assignment. */
  swap(next: Snapshot): void
  /** Why `current` would refuse now. */
  obstacle(at: Moment): Extract<Reason, 'not_ready' | 'clock_unsafe'> | undefined
}

/** How far the wall clock may step back before we stop believing it, milliseconds. */
const TOLERATED_STEP_BACK_MS = 5_000

export function createTrustStore(): TrustStore {
  let believed: Snapshot | undefined
  let latest: Moment = 0

  // An expired token stays expired: time that was once reached is never un-reached by more than a clock correction.
  const obstacle = (at: Moment) => {
    if (at > latest) latest = at
    if (at < latest - TOLERATED_STEP_BACK_MS) return 'clock_unsafe'
    return believed ? undefined : 'not_ready'
  }
  return {
    current(at) {
      const reason = obstacle(at)
      if (reason) return deny(reason)
      return believed ?? deny('not_ready')
    },
    installed: () => believed,
    swap(next) {
      believed = next
    },
    obstacle,
  }
}
