import type { WorkloadIdentity, WorkloadIdentityStatus } from '../../contracts/crd/workload-identity.ts'
import { bad, good, judge, readyFrom } from './judgement.ts'

const SHOWN = 8

/** What the status of a WorkloadIdentity is to say. `ids`: the identities of the pods it selects; `problem`: why it is not served. */
export function planWorkloadIdentity(
  identity: WorkloadIdentity,
  { ids, problem }: { readonly ids: readonly string[]; readonly problem: string },
  at: number,
): WorkloadIdentityStatus {
  const { generation } = identity.metadata
  const judged = [problem ? bad('Accepted', 'Refused', problem) : good('Accepted', 'Accepted')]
  return {
    observedGeneration: generation,
    conditions: [...judge(identity.status?.conditions, [...judged, readyFrom(judged)], { generation, at })],
    spiffeIds: [...new Set(ids)].sort().slice(0, SHOWN),
    pods: ids.length,
  }
}
