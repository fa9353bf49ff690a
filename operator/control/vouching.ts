import type { Monotonic } from '../ports.ts'
import { diffRevocations } from '../state/revocation-diff.ts'
import { append, type LogLimits } from '../state/revocation-log.ts'
import type { View, Views } from './view.ts'

/** Whether this replica may renew revocation leases. */
export interface Vouching {
  /** `at`: milliseconds since the epoch. */
  may(at: number): boolean
}

/** How long a Revocation that we see may be missing in the log before nobody is told that all is well. */
const PATIENCE_MS = 3_000
const AGAIN_MS = 1_000

/**
 * A replica vouches for the log it has read, but not for one that lacks what people have asked for: a Revocation which the leader does
 * not get stored stops the heartbeats, and after its lease every sidecar denies. One that the full log refuses is its own fault.
 */
export function createVouching(views: Views, limits: LogLimits, monotonic: Monotonic): Vouching {
  let looked: View | undefined
  let missingSince: number | undefined
  let lookedAt = 0
  return {
    may(at) {
      const view = views.current()
      if (typeof view.log === 'string') return false
      // What lacks may expire without anything changing.
      if (view !== looked || (missingSince !== undefined && monotonic() - lookedAt > AGAIN_MS)) {
        looked = view
        lookedAt = monotonic()
        missingSince = lacks(view, limits, at) ? (missingSince ?? monotonic()) : undefined
      }
      return missingSince === undefined || monotonic() - missingSince < PATIENCE_MS
    },
  }
}

function lacks({ log, cluster }: View, limits: LogLimits, at: number): boolean {
  if (typeof log === 'string') return true
  const issuerNamed = (key: string) => cluster.tokenIssuers.get(key)?.spec.issuer
  const { changes } = diffRevocations(log, [...cluster.revocations.values()], issuerNamed, at)
  const additions = changes.filter(({ op }) => op === 'add')
  return additions.length > 0 && append(log, additions, limits).ok
}
