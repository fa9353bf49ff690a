import { formatTime } from '../../contracts/time.ts'

/** meta/v1 Condition. */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** CamelCase, from the kind's own list. */
  readonly reason: string
  readonly message: string
  /** When `status` last became another. */
  readonly lastTransitionTime: string
  /** The generation of the spec that was looked at. */
  readonly observedGeneration?: number
}

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

/** True, and about this generation: a condition about an older spec says nothing about the present one. */
export function isTrue(conditions: readonly Condition[], type: string, generation: number): boolean {
  const found = conditionOf(conditions, type)
  return found?.status === 'True' && found.observedGeneration === generation
}

function isSame(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  )
}
