import { type Denial, deny, type Reason } from '../decision.ts'
import type { Moment } from '../request.ts'
import { type LeaseView, NO_LEASE } from './lease.ts'
import { type KnownRevocations, NO_REVOCATIONS } from './revocations.ts'
import type { Snapshot } from './snapshot.ts'

/** What is believed now, and whether it may be acted on. */
export interface TrustStore {
  /** The snapshot to decide with, or why there can be no permission at all. */
  current(at: Moment): Snapshot | Denial
  /** The snapshot as installed, whatever the clock says; `undefined` before the first and while everything is withheld. */
  installed(): Snapshot | undefined
  /** Replaces all beliefs in one assignment. */
  swap(next: Snapshot): void
  /** From now on everything is denied, and why; until the next swap. */
  withhold(generation: number, why: string): void
  /** Why everything is denied, for people; empty when it is not. */
  withheld(): string
  /** Generation of the newest that took effect, withheld or not; 0 before the first. Never goes backwards. */
  generation(): number
  /** Why `current` would refuse now. */
  obstacle(at: Moment): Extract<Reason, 'not_ready' | 'clock_unsafe'> | undefined
  /** What is pushed between snapshots; each snapshot that is swapped in carries it. */
  readonly pushed: Pushed
}

export interface Pushed {
  readonly revocations: KnownRevocations
  readonly lease: LeaseView
}

/** How far the wall clock may step back before we stop believing it, milliseconds. */
const TOLERATED_STEP_BACK_MS = 5_000
/** Standalone: nobody pushes anything. */
const NOTHING: Pushed = { revocations: NO_REVOCATIONS, lease: NO_LEASE }

/** `swapped` is told of all that is believed, each time. */
export function createTrustStore(
  pushed: Pushed = NOTHING,
  swapped: (issuers: Snapshot['issuers']) => void = () => undefined,
): TrustStore {
  let believed: Snapshot | undefined
  let generation = 0
  let withheld = ''
  let latest: Moment = 0

  // An expired token stays expired: time that was once reached is never un-reached by more than a clock correction.
  const obstacle = (at: Moment) => {
    if (at > latest) latest = at
    if (at < latest - TOLERATED_STEP_BACK_MS) return 'clock_unsafe'
    return believed ? undefined : 'not_ready'
  }
  return {
    pushed,
    current(at) {
      const reason = obstacle(at)
      if (reason) return deny(reason)
      return believed ?? deny('not_ready')
    },
    installed: () => believed,
    swap(next) {
      believed = next
      swapped(next.issuers)
      generation = Math.max(generation, next.generation)
      withheld = ''
    },
    withhold(next, why) {
      believed = undefined
      generation = Math.max(generation, next)
      withheld = why
    },
    withheld: () => withheld,
    generation: () => generation,
    obstacle,
  }
}
