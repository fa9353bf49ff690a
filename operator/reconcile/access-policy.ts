import type { AccessPolicy, AccessPolicyStatus } from '../../contracts/crd/access-policy.ts'
import { adviseOnPolicy, type PolicyKnown } from './advice.ts'
import { bad, good, type Judged, judge, programmed, type Rollout, readyFrom } from './judgement.ts'

/** What the projection of an AccessPolicy came to. */
export interface Served extends PolicyKnown {
  /** Why it is withheld; empty when it is not. */
  readonly problems: readonly string[]
  /** Names of the AccessPolicies of the namespace that contradict it. */
  readonly conflictsWith: readonly string[]
  readonly pods: number
}

const NAMED = 16

/** What the status of an AccessPolicy is to say. */
export function planAccessPolicy(
  policy: AccessPolicy,
  served: Served,
  rollout: Rollout,
  at: number,
): AccessPolicyStatus {
  const { generation } = policy.metadata
  const conflict = conflictOf(served)
  const judged = [
    conflict.status === 'True' ? bad('Accepted', 'Conflict', conflict.message) : good('Accepted', 'Accepted'),
    served.problems.length > 0
      ? bad('ResolvedRefs', 'NotResolved', `${served.problems.join('; ')}; until then everything is denied`)
      : good('ResolvedRefs', 'Resolved'),
    programmed(rollout),
  ]
  return {
    observedGeneration: generation,
    conditions: [
      ...judge(policy.status?.conditions, [...judged, conflict, readyFrom(judged)], { generation, at }),
    ],
    workloads: { pods: served.pods },
    programmed: rollout.text,
    advisories: adviseOnPolicy(policy, served),
    conflictsWith: [...served.conflictsWith].sort().slice(0, NAMED),
  }
}

// True only when there is one: its polarity is that of its name.
function conflictOf({ conflictsWith }: Served): Judged {
  const type = 'Conflict'
  if (conflictsWith.length === 0) return bad(type, 'None', '')
  const message = `${conflictsWith.join(', ')} selects some of the same pods and says something else; those pods deny everything: change the selector of all but one`
  return good(type, 'Contradicted', message)
}
