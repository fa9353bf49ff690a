import type { Cluster } from './cluster.ts'
import { type Projection, project, withhold } from './project.ts'
import { type Selection, selectPods } from './select.ts'

/** What every sidecar of the cluster must believe. */
export interface Projections {
  /** By key. Also those of AccessPolicies that select no pod, for their status. */
  readonly byKey: ReadonlyMap<string, Projection>
  /** Key of the projection of each living pod with a sidecar, by UID. */
  readonly byPod: ReadonlyMap<string, string>
  readonly selection: Selection
  /** AccessPolicies that contradict each other over some pod, each with the others. */
  readonly conflicts: ReadonlyMap<string, ReadonlySet<string>>
}

export function projectAll(cluster: Cluster): Projections {
  const selection = selectPods(cluster)
  const byKey = new Map<string, Projection>()
  for (const [key, policy] of cluster.accessPolicies) {
    byKey.set(key, project(cluster, policy, selection.byPolicy.get(key) ?? []))
  }
  const byPod = new Map<string, string>()
  const conflicts = new Map<string, Set<string>>()
  for (const [uid, keys] of selection.byPod) {
    const namespace = cluster.pods.get(uid)?.namespace ?? ''
    const projection = choose(namespace, keys, byKey)
    byKey.set(projection.key, projection)
    byPod.set(uid, projection.key)
    if (keys.includes(projection.key) || keys.length === 0) continue
    for (const key of keys) {
      const others = conflicts.get(key) ?? new Set()
      for (const other of keys) if (other !== key) others.add(other)
      conflicts.set(key, others)
    }
  }
  return { byKey, byPod, selection, conflicts }
}

/** What `allocate` numbers: digests by key. */
export function digestsOf({ byKey }: Projections): ReadonlyMap<string, string> {
  return new Map([...byKey].map(([key, { digest }]) => [key, digest]))
}

/** That of the one AccessPolicy, or of several that say the same; else one that denies and names what is wrong. */
function choose(namespace: string, keys: readonly string[], byKey: Map<string, Projection>): Projection {
  const [first, ...others] = keys.flatMap((key) => byKey.get(key) ?? [])
  if (!first) {
    const key = `${namespace}/`
    const why = `no AccessPolicy selects this pod: create one in namespace ${namespace} whose selector matches its labels`
    return byKey.get(key) ?? withhold(key, [], why)
  }
  if (others.every(({ digest }) => digest === first.digest)) return first
  const names = keys.map((key) => key.slice(namespace.length + 1))
  const key = `${namespace}/${names.join('+')}`
  const why = `AccessPolicies ${names.join(' and ')} of namespace ${namespace} select this pod and contradict each other: change the selector of all but one`
  return byKey.get(key) ?? withhold(key, [why], why)
}
