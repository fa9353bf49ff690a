import { type Labels, wishOf } from './asked.ts'
import { INJECTED } from './patch.ts'
import { SIDECAR } from './sidecar.ts'

/** Running pods against what their labels ask for: admission sees a pod once, this sees those it never saw. */

export interface RunningPod {
  readonly namespace: string
  readonly name: string
  readonly labels: Labels
  readonly annotations: Readonly<Record<string, string>>
  /** Names of its init containers with their image, in order. */
  readonly initContainers: readonly { readonly name: string; readonly image: string }[]
  /** Succeeded and Failed pods run no more. */
  readonly phase: string
  readonly mirror: boolean
}

export interface Audit {
  /** As SidecarProfile.status.pods has them. */
  readonly pods: { readonly injected: number; readonly missing: number; readonly outdated: number }
  /** namespace/pod, sorted, at most five. */
  readonly missingSample: readonly string[]
  readonly outdatedSample: readonly string[]
}

export interface Expected {
  /** `markOf` of the profile. */
  readonly mark: string
  /** Image of the profile: it can be changed in a running pod, the annotation tells of the creation only. */
  readonly image: string
  /** Namespaces whose pods never get a sidecar. */
  readonly exempt: ReadonlySet<string>
  /** Labels of a namespace; undefined: it is gone. */
  readonly namespaceLabels: (namespace: string) => Labels | undefined
}

export function audit(pods: Iterable<RunningPod>, expected: Expected): Audit {
  const found: Record<Standing, string[]> = { injected: [], missing: [], outdated: [] }
  for (const pod of pods) {
    const standing = standingOf(pod, expected)
    if (standing) found[standing].push(`${pod.namespace}/${pod.name}`)
  }
  return {
    pods: {
      injected: found.injected.length,
      missing: found.missing.length,
      outdated: found.outdated.length,
    },
    missingSample: sampleOf(found.missing),
    outdatedSample: sampleOf(found.outdated),
  }
}

type Standing = 'injected' | 'missing' | 'outdated'

/** undefined: not a pod that should have a sidecar. */
function standingOf(pod: RunningPod, expected: Expected): Standing | undefined {
  const around = expected.namespaceLabels(pod.namespace)
  if (!around || expected.exempt.has(pod.namespace) || pod.mirror) return undefined
  if (pod.phase === 'Succeeded' || pod.phase === 'Failed') return undefined
  if (!wishOf(pod.labels, around).asked) return undefined
  const [first] = pod.initContainers
  if (first?.name !== SIDECAR) return 'missing'
  const current = pod.annotations[INJECTED] === expected.mark && first.image === expected.image
  return current ? 'injected' : 'outdated'
}

function sampleOf(names: readonly string[]): readonly string[] {
  return names.toSorted().slice(0, 5)
}
