import type { Revocation, RevocationStatus } from '../../contracts/crd/revocation.ts'
import { formatTime, parseTime } from '../../contracts/time.ts'
import { bad, good, type Judged, judge, programmed, type Rollout, readyFrom } from './judgement.ts'

/** Where a Revocation stands in the log. */
export interface Logged {
  /** Why what it says now is not in force; empty when it is. */
  readonly problem: string
  /** Whether all its entries are in the log. */
  readonly inForce: boolean
}

/** What the status of a Revocation is to say. */
export function planRevocation(
  revocation: Revocation,
  logged: Logged,
  rollout: Rollout,
  at: number,
): RevocationStatus {
  const { generation, creationTimestamp } = revocation.metadata
  const before = revocation.status
  const expired = (parseTime(revocation.spec.expiresAt) ?? Number.POSITIVE_INFINITY) <= at
  const done = logged.inForce && rollout.acknowledged >= rollout.total
  // The first time that every sidecar had it; a pod that comes later is served it before anything else.
  const enforcedAt = before?.enforcedAt ?? (done ? formatTime(at) : undefined)
  const judged = [enforcement(logged, rollout, expired)]
  const expiry = expired
    ? good('Expired', 'Expired', 'it no longer denies anything; delete it')
    : bad('Expired', 'InForce', '')
  const since = parseTime(creationTimestamp)
  return {
    observedGeneration: generation,
    conditions: [...judge(before?.conditions, [...judged, expiry, readyFrom(judged)], { generation, at })],
    programmed: rollout.text,
    ...(enforcedAt === undefined ? {} : { enforcedAt }),
    ...(enforcedAt === undefined || since === undefined
      ? {}
      : { seconds: before?.seconds ?? Math.max(0, Math.round((at - since) / 1000)) }),
  }
}

function enforcement({ problem, inForce }: Logged, rollout: Rollout, expired: boolean): Judged {
  if (expired) return good('Programmed', 'Expired')
  if (problem) return bad('Programmed', 'Refused', problem)
  if (!inForce) return bad('Programmed', 'Pending', 'not in the revocation log yet')
  return programmed(rollout)
}
