import { CONDITION_LIMITS, type Condition } from '../../contracts/crd.ts'
import { setCondition } from '../kube/conditions.ts'

/** What is said about one condition of an object. */
export interface Judged {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** CamelCase. */
  readonly reason: string
  /** What, where and what to do; empty when all is well. */
  readonly message: string
}

export const good = (type: string, reason: string, message = ''): Judged => ({
  type,
  status: 'True',
  reason,
  message,
})
export const bad = (type: string, reason: string, message: string): Judged => ({
  type,
  status: 'False',
  reason,
  message,
})
export const unsure = (type: string, reason: string, message: string): Judged => ({
  type,
  status: 'Unknown',
  reason,
  message,
})

/** `Ready` from the others: the first that is not True decides, and says why. */
export function readyFrom(judged: readonly Judged[]): Judged {
  const first = judged.find(({ status }) => status !== 'True')
  if (!first) return good('Ready', 'Ready')
  return { ...first, type: 'Ready' }
}

/** The conditions of an object after this judgement. Those that nobody judged stay as they are. */
export function judge(
  before: readonly Condition[] | undefined,
  judged: readonly Judged[],
  { generation, at }: { readonly generation: number; readonly at: number },
): readonly Condition[] {
  let conditions = before ?? []
  for (const one of judged) {
    const message = one.message.slice(0, CONDITION_LIMITS.message)
    const next = { ...one, message, observedGeneration: generation }
    conditions = setCondition(conditions, next, at) as readonly Condition[]
  }
  return conditions
}

/** How far a change has come in the fleet. */
export interface Rollout {
  /** Pods that must have it, by the pod list. */
  readonly total: number
  readonly acknowledged: number
  /** Pods that refused it, with the reason. */
  readonly refused: readonly { readonly pod: string; readonly why: string }[]
  /** Pods that were not heard of. */
  readonly silent: readonly string[]
  /** What they are to have: `sha256:…`, `generation 12`. */
  readonly what: string
}

/** `3/3 at sha256:…`. */
export function programmedText({ acknowledged, total, what }: Rollout): string {
  return `${acknowledged}/${total} at ${what}`
}

const NAMED = 5

/** `Programmed`: True when every pod has acknowledged; else who has not, and why. No pods: True, nobody is missing. */
export function programmed(rollout: Rollout): Judged {
  const text = programmedText(rollout)
  if (rollout.acknowledged >= rollout.total) return good('Programmed', 'AllAcknowledged', text)
  const { refused, silent } = rollout
  const [first] = refused
  if (first) {
    const others = refused.length > 1 ? ` and ${refused.length - 1} more` : ''
    return bad('Programmed', 'Refused', `${text}; ${first.pod}${others} refused it: ${first.why}`)
  }
  if (silent.length > 0) {
    const names = silent.slice(0, NAMED).join(', ')
    return bad(
      'Programmed',
      'Silent',
      `${text}; not heard of: ${names}${silent.length > NAMED ? ', …' : ''}; see whether the pods run and reach the operator`,
    )
  }
  return bad('Programmed', 'Pending', text)
}
