import type { TrustDomain } from '../../contracts/crd/trust-domain.ts'
import type { Condition } from '../../contracts/crd.ts'
import { formatTime, parseTime } from '../../contracts/time.ts'
import { judge } from './judgement.ts'

/** On every TrustDomain, once the fleet knew more than the database. */
export const ROLLED_BACK = 'StateRolledBack'

/** A restore is told again at most this often, however many sidecars tell of it. */
export const TOLD_EVERY_MS = 15_000
/** Longer than that, and than a log that another replica has written takes to be here: what is still being taken back is not over. */
const SETTLED_MS = 2 * TOLD_EVERY_MS

/** What was taken back, is in force, and stands in no object. */
export interface Unbacked {
  readonly count: number
  /** When the last of them ends. */
  readonly untilMs: number
}

/** What `StateRolledBack` is to say now; undefined: nothing else than it does. */
export function planRollback(
  { metadata: { generation }, status }: TrustDomain,
  { count, untilMs }: Unbacked,
  at: number,
): readonly Condition[] | undefined {
  const before = status?.conditions?.find(({ type }) => type === ROLLED_BACK)
  if (before?.status !== 'True') return undefined
  const say = (judged: Pick<Condition, 'status' | 'reason' | 'message'>) =>
    judge([before], [{ type: ROLLED_BACK, ...judged }], { generation, at })
  if (count > 0) {
    const message = `the database was restored to an older state, and what sidecars held was taken back: ${count} of the revocations in force have no object; apply yours again, or they end by ${formatTime(untilMs)}`
    return say({ status: 'True', reason: 'Relearned', message })
  }
  if (at - (parseTime(before.lastTransitionTime) ?? at) < SETTLED_MS) return undefined
  return say({
    status: 'False',
    reason: 'Recovered',
    message: 'every revocation that was taken back has an object again, or has ended',
  })
}
