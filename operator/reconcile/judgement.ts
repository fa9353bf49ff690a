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
  readonly acknowledged: number
  /** Pods that must have it, by the pod list. */
  readonly total: number
  /** `3/3 at sha256:…`. */
  readonly text: string
  /** `namespace/pod: reason`. */
  readonly refused: readonly string[]
  /** `namespace/pod` of those that neither acknowledged nor refused. */
  readonly silent: readonly string[]
}

const NAMED = 5

/** `Programmed`: True when every pod has acknowledged; else who has not, and why. No pods: True, nobody is missing. */
export function programmed({ acknowledged, total, text, refused, silent }: Rollout): Judged {
  if (acknowledged >= total) return good('Programmed', 'AllAcknowledged', text)
  const [first] = refused
  if (first) {
    const others = refused.length > 1 ? `; and ${refused.length - 1} more` : ''
    return bad('Programmed', 'Refused', `${text}; refused by ${first}${others}`)
  }
  if (silent.length === 0) return bad('Programmed', 'Pending', text)
  const names = `${silent.slice(0, NAMED).join(', ')}${silent.length > NAMED ? ', …' : ''}`
  return bad('Programmed', 'Pending', `${text}; not yet: ${names}`)
}
