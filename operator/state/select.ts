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
  const keysOf = selectorOf(accessPolicies)
  const byPolicy = new Map<string, string[]>([...accessPolicies.keys()].map((key) => [key, []]))
  const byPod = new Map<string, readonly string[]>()
  for (const [uid, pod] of pods) {
    if (!lives(pod)) continue
    const keys = keysOf(pod)
    byPod.set(uid, keys)
    for (const key of keys) byPolicy.get(key)?.push(uid)
  }
  return { byPod, byPolicy }
}

type KeysOf = (pod: Pod) => readonly string[]

/** Of the same policies, the answer for a pod is worked out once: most of thousands have not changed when one has. */
const selectors = new WeakMap<Cluster['accessPolicies'], KeysOf>()

function selectorOf(accessPolicies: Cluster['accessPolicies']): KeysOf {
  const known = selectors.get(accessPolicies)
  if (known) return known
  // By one label each, so that a pod is compared with the few that may select it and not with all of its namespace.
  const byLabel = Map.groupBy(accessPolicies, ([, { metadata, spec }]) => {
    const [first] = Object.entries(spec.selector.matchLabels)
    return placeOf(metadata.namespace, first)
  })
  const answers = new WeakMap<Pod, readonly string[]>()
  const keysOf: KeysOf = (pod) => {
    const before = answers.get(pod)
    if (before) return before
    const places = [undefined, ...Object.entries(pod.labels)].map((label) => placeOf(pod.namespace, label))
    const keys = places
      .flatMap((place) => byLabel.get(place) ?? [])
      .filter(([, policy]) => selects(policy, pod))
      .map(([key]) => key)
      .sort()
    answers.set(pod, keys)
    return keys
  }
  selectors.set(accessPolicies, keysOf)
  return keysOf
}

function placeOf(namespace: string, label: readonly [string, string] | undefined): string {
  return label ? `${namespace}/${label[0]}=${label[1]}` : `${namespace}/`
}

/** Same namespace, and every label has exactly the value asked for. */
export function selects({ metadata, spec }: AccessPolicy, pod: Pod): boolean {
  if (metadata.namespace !== pod.namespace || metadata.deletionTimestamp !== undefined) return false
  return Object.entries(spec.selector.matchLabels).every(([label, value]) => pod.labels[label] === value)
}
