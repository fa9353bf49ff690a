import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import { type Cluster, lives, type Pod } from './cluster.ts'

/** Which AccessPolicies select a pod: their keys (`namespace/name`), sorted. */
export interface Selection {
  /** Living pods with a sidecar, by UID; an empty list for one that no AccessPolicy selects. */
  readonly byPod: ReadonlyMap<string, readonly string[]>
  /** UIDs of the same pods, by AccessPolicy; an empty list for one that selects none. */
  readonly byPolicy: ReadonlyMap<string, readonly string[]>
}

export function selectPods({ pods, accessPolicies }: Cluster): Selection {
  const inNamespace = Map.groupBy(
    [...accessPolicies].toSorted(([one], [other]) => (one < other ? -1 : 1)),
    ([, policy]) => policy.metadata.namespace,
  )
  const byPolicy = new Map<string, string[]>([...accessPolicies.keys()].map((key) => [key, []]))
  const byPod = new Map<string, readonly string[]>()
  for (const [uid, pod] of pods) {
    if (!lives(pod)) continue
    const keys = (inNamespace.get(pod.namespace) ?? [])
      .filter(([, policy]) => selects(policy, pod))
      .map(([key]) => key)
    byPod.set(uid, keys)
    for (const key of keys) byPolicy.get(key)?.push(uid)
  }
  return { byPod, byPolicy }
}

/** Same namespace, and every label has exactly the value asked for. */
export function selects({ metadata, spec }: AccessPolicy, pod: Pod): boolean {
  if (metadata.namespace !== pod.namespace || metadata.deletionTimestamp !== undefined) return false
  return Object.entries(spec.selector.matchLabels).every(([label, value]) => pod.labels[label] === value)
}
