import { parseSpiffeId } from '../../contracts/spiffe.ts'
import type { Pod } from './ports.ts'

/** What a workload may be. `path` as in its SPIFFE ID. */
export interface Entitlement {
  readonly path: string
  readonly hint: string
  /** Absent: that of the trust domain. */
  readonly svidTtlMs?: number
}

/** A WorkloadIdentity that selects the pod. */
export interface Grant {
  readonly name: string
  readonly path: string
  readonly hint?: string
  readonly svidTtlMs?: number
}

export const MAX_IDENTITIES = 8

/**
 * All identities of a pod's workload, the default first: that of its service account, then what WorkloadIdentity objects of its
 * namespace grant, by name. A path that leaves the namespace, or is ours, is not given however it was granted.
 */
export function entitlementsOf(
  pod: Pick<Pod, 'namespace' | 'name' | 'serviceAccount'>,
  grants: readonly Grant[],
): readonly Entitlement[] {
  const own: Entitlement = { path: `/ns/${pod.namespace}/sa/${pod.serviceAccount}`, hint: '' }
  const granted = grants
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ path, hint = '', svidTtlMs }): readonly Entitlement[] => {
      const filled = path
        .replaceAll('{namespace}', pod.namespace)
        .replaceAll('{serviceAccount}', pod.serviceAccount)
        .replaceAll('{pod}', pod.name)
      return within(filled, pod.namespace)
        ? [{ path: filled, hint, ...(svidTtlMs !== undefined && { svidTtlMs }) }]
        : []
    })
  return unique([own, ...granted]).slice(0, MAX_IDENTITIES)
}

function within(path: string, namespace: string): boolean {
  return parseSpiffeId(`spiffe://x${path}`) !== undefined && path.startsWith(`/ns/${namespace}/`)
}

// One path once, and hints that are unique within an answer (Workload API section 8): the first keeps it.
function unique(all: readonly Entitlement[]): readonly Entitlement[] {
  const paths = new Set<string>()
  const hints = new Set<string>([''])
  return all.flatMap((one) => {
    if (paths.has(one.path)) return []
    paths.add(one.path)
    const taken = hints.has(one.hint)
    hints.add(one.hint)
    return [taken ? { ...one, hint: '' } : one]
  })
}
