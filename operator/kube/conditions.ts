import type { Condition } from '../../contracts/crd.ts'
import { formatTime } from '../../contracts/time.ts'

/** Limit of meta/v1 for a condition's message. */
const MESSAGE_CHARS = 32_768

/**
 * The conditions with this one in place of its predecessor. `lastTransitionTime` moves with `status` only; the very same array comes
 * back when nothing differs, so that callers can tell whether there is anything to write. `at`: milliseconds since the epoch.
 */
export function setCondition(
  conditions: readonly Condition[],
  next: Omit<Condition, 'lastTransitionTime'>,
  at: number,
): readonly Condition[] {
  const before = conditionOf(conditions, next.type)
  const lastTransitionTime =
    before && before.status === next.status ? before.lastTransitionTime : formatTime(at)
  const after = { ...next, message: next.message.slice(0, MESSAGE_CHARS), lastTransitionTime }
  if (!before) return [...conditions, after]
  if (isSame(before, after)) return conditions
  return conditions.map((one) => (one === before ? after : one))
}

export function conditionOf(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((one) => one.type === type)
}

function isSame(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  )
}
