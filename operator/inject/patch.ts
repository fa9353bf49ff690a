import { type Labels, wishOf } from './asked.ts'
import { conflictsOf, covers } from './conflicts.ts'
import { askersIn, askersProblems, CREDENTIALS_ENV, CREDENTIALS_MOUNT } from './credentials.ts'
import type { Container, Json, Pod } from './pod.ts'
import { type Facts, markOf, NEIGHBOUR, type Profile, SIDECAR, sidecarOf, volumesOf } from './sidecar.ts'

/**
 * The sidecar into a pod, as a JSON Patch (RFC 6902) that only adds: of what the user wrote nothing is changed or moved.
 * Decided by content, so that a second call adds what other webhooks brought since, and nothing twice.
 */

export const INJECTED = 'portcullis.dev/injected'
export const SKIPPED = 'portcullis.dev/inject-skipped'

export interface Operation {
  readonly op: 'add' | 'remove'
  readonly path: string
  readonly value?: Json
}

export type Injected =
  | { readonly patch: readonly Operation[]; readonly warnings: readonly string[] }
  /** `quiet` where nobody asked: then not even an annotation says so. */
  | { readonly skipped: string; readonly quiet: boolean }
  /** The pod must not run as it is: every conflict, each with place and remedy. */
  | { readonly refused: readonly string[] }

/** @param profile undefined where the operator does not know the profile (yet): then whoever asked is refused. */
export function inject(
  pod: Pod,
  namespaceLabels: Labels,
  profile: Profile | undefined,
  facts: Facts,
): Injected {
  const skip = skipped(pod, namespaceLabels, facts)
  if (skip) return skip
  if (!profile || facts.trustAnchors.length === 0) return { refused: [profile ? NO_ANCHOR : NO_PROFILE] }
  const askers = askersIn(pod)
  const sidecar = sidecarOf(profile, facts, askers.length > 0)
  const volumes = volumesOf(facts, askers.length > 0)
  const conflicts = [...askersProblems(pod, SIDECAR), ...conflictsOf(pod, sidecar, volumes)]
  if (conflicts.length > 0) return { refused: conflicts }
  const patch = [
    ...addVolumes(pod, volumes),
    ...neighbours('containers', pod.spec.containers, askers),
    ...neighbours('initContainers', pod.spec.initContainers ?? [], askers),
    // Last, as it shifts the indices that the operations before it use.
    ...sidecarFirst(pod, sidecar),
    ...annotate(pod, INJECTED, markOf(profile, facts)),
  ]
  return { patch, warnings: [] }
}

/** The annotation that tells why a pod has no sidecar though something asked for one. */
export function tellSkipped(pod: Pod, reason: string): readonly Operation[] {
  return annotate(pod, SKIPPED, reason)
}

const NO_PROFILE =
  'SidecarProfile: the profile of the installation does not exist or is not valid, so no sidecar can be injected; see kubectl get sidecarprofiles -o wide, create or correct it, and create the pod again'
const NO_ANCHOR =
  'TrustDomain: its authority is not there yet, so a sidecar could trust nobody; see kubectl get trustdomains, and create the pod again when it is Ready'

function skipped(pod: Pod, namespaceLabels: Labels, facts: Facts): Injected | undefined {
  const { namespace, annotations } = pod.metadata
  const wish = wishOf(pod.metadata.labels, namespaceLabels)
  if (!wish.asked) return { skipped: wish.why, quiet: !wish.said }
  if (namespace === facts.systemNamespace || namespace === 'kube-system')
    return { skipped: `the namespace ${namespace} runs the cluster or Portcullis itself`, quiet: false }
  if (annotations['kubernetes.io/config.mirror'] !== undefined)
    return { skipped: 'a static pod of a node: it can have no service account token', quiet: false }
  return undefined
}

function addVolumes(pod: Pod, volumes: readonly Json[]): readonly Operation[] {
  const present = pod.spec.volumes
  if (!present) return [{ op: 'add', path: '/spec/volumes', value: volumes }]
  const missing = volumes.filter((volume) => !present.some((one) => covers(one, volume)))
  return missing.map((value) => ({ op: 'add', path: '/spec/volumes/-', value }))
}

function neighbours(
  member: 'containers' | 'initContainers',
  containers: readonly Container[],
  askers: readonly string[],
): readonly Operation[] {
  return containers.flatMap((container, index) => {
    if (container.name === SIDECAR) return []
    const wanted = askers.includes(container.name) ? ASKER : NEIGHBOUR
    const at = `/spec/${member}/${index}`
    const { env, volumeMounts } = container
    return [
      ...append(`${at}/env`, env, missing(env, wanted.env, 'name')),
      ...append(`${at}/volumeMounts`, volumeMounts, missing(volumeMounts, wanted.mounts, 'mountPath')),
    ]
  })
}

const ASKER = {
  mounts: [...NEIGHBOUR.mounts, CREDENTIALS_MOUNT.asked],
  env: [...NEIGHBOUR.env, CREDENTIALS_ENV],
} as const

function missing<T, K extends keyof T>(
  present: readonly T[] | undefined,
  wanted: readonly T[],
  identity: K,
): readonly T[] {
  return wanted.filter((one) => !present?.some((other) => other[identity] === one[identity]))
}

function append(path: string, present: unknown, added: readonly Json[]): readonly Operation[] {
  if (added.length === 0) return []
  if (present === undefined) return [{ op: 'add', path, value: added }]
  return added.map((value) => ({ op: 'add', path: `${path}/-`, value }))
}

function sidecarFirst({ spec: { initContainers } }: Pod, sidecar: Container): readonly Operation[] {
  if (!initContainers) return [{ op: 'add', path: '/spec/initContainers', value: [sidecar] }]
  const index = initContainers.findIndex(({ name }) => name === SIDECAR)
  if (index === 0) return []
  const add: Operation = { op: 'add', path: '/spec/initContainers/0', value: sidecar }
  return index < 0 ? [add] : [{ op: 'remove', path: `/spec/initContainers/${index}` }, add]
}

function annotate({ metadata }: Pod, name: string, value: string): readonly Operation[] {
  if (metadata.annotations[name] === value) return []
  if (!metadata.hasAnnotations)
    return [{ op: 'add', path: '/metadata/annotations', value: { [name]: value } }]
  return [
    { op: 'add', path: `/metadata/annotations/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, value },
  ]
}
