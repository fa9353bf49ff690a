import type { Monotonic, Now } from '../ports.ts'
import type { Moment } from '../request.ts'
import type { Tiers } from './tiers.ts'

/** For how long the operator has not confirmed that we know every revocation. */
export interface Lease extends LeaseView {
  /** A stream to the operator begins now: whatever is heard on it was sent later. */
  greet(): void
  /** A heartbeat of that stream which we are level with; `sentAtMs` is the operator's clock. */
  renew(sentAtMs: number): void
  /** As `silence`, by the monotonic clock alone. */
  unheardMs(): number
}

export interface LeaseView {
  /** Milliseconds since the last confirmation was sent; infinite before the first. */
  silence(at: Moment): number
}

/** The state of a sidecar that hears from nobody. */
export const NO_LEASE: LeaseView = { silence: () => Number.POSITIVE_INFINITY }

/** Whether what we know of revocations is too old for this action. Without tiers nothing is pushed and nothing lapses. */
export function lapsed(
  trust: { readonly tiers: Tiers | undefined; readonly lease: LeaseView },
  action: string,
  at: Moment,
): boolean {
  // Not `>=`: whatever is no number has lapsed.
  return trust.tiers !== undefined && !(trust.lease.silence(at) < trust.tiers.leaseMs(action))
}

/**
 * A lease counts from when a heartbeat was SENT: one that lay in a buffer while this process was stopped proves nothing about the time
 * since. The sender's clock is compared with ours once a stream: its first heartbeat is taken to have been sent when the stream
 * began, which is never too late; a later one at most as much later as both clocks say. Silence is what the monotonic clock
 * or the wall clock says, whichever is more: the one stands still while a machine is suspended, the other can be set back.
 */
export function createLease(monotonic: Monotonic, wall: Now): Lease {
  let greetedAt = Number.NEGATIVE_INFINITY
  let offset: number | undefined
  let confirmedAt = Number.NEGATIVE_INFINITY
  let confirmedWall = Number.NEGATIVE_INFINITY
  // A monotonic clock that goes back is none.
  const unheardMs = (): number => {
    const passed = monotonic() - confirmedAt
    return passed < 0 ? Number.POSITIVE_INFINITY : passed
  }
  return {
    unheardMs,
    greet() {
      greetedAt = monotonic()
      offset = undefined
    },
    renew(sentAtMs) {
      const now = monotonic()
      // Nothing is sent in the future: a sender whose clock went forward is measured anew.
      offset = Math.min(offset ?? greetedAt - sentAtMs, now - sentAtMs)
      const sent = sentAtMs + offset
      if (!(sent > confirmedAt)) return
      confirmedAt = sent
      confirmedWall = wall() - (now - sent)
    },
    silence: (at) => Math.max(unheardMs(), at - confirmedWall),
  }
}
