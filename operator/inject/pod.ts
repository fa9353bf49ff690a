/** A pod as far as injection reads it. Everything else in it is kept as it came: we patch, we never rewrite. */

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [member: string]: Json | undefined
}

export interface Pod {
  readonly metadata: Metadata
  readonly spec: Spec
}
export interface Metadata {
  /** Empty where the API server is still to generate it. */
  readonly name: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** Whether the object has the member at all: a JSON Patch can only add into a map that is there. */
  readonly hasAnnotations: boolean
}
export interface Spec {
  readonly containers: readonly Container[]
  readonly initContainers: readonly Container[] | undefined
  readonly volumes: readonly Named[] | undefined
  readonly hostNetwork: boolean
  readonly hostPID: boolean
  readonly shareProcessNamespace: boolean
  readonly os: string
}
export interface Named extends JsonObject {
  readonly name: string
}
export interface Container extends Named {
  readonly env?: readonly Named[]
  readonly volumeMounts?: readonly Mount[]
  readonly ports?: readonly JsonObject[]
}
export interface Mount extends Named {
  readonly mountPath: string
}

/** undefined: not a pod that the API server would have shown us. */
export function parsePod(object: unknown): Pod | undefined {
  if (!isObject(object)) return undefined
  const { metadata = {}, spec } = object
  if (!isObject(metadata) || !isObject(spec)) return undefined
  const { containers, initContainers, volumes } = spec
  if (!isList(containers, isContainer)) return undefined
  if (initContainers !== undefined && !isList(initContainers, isContainer)) return undefined
  if (volumes !== undefined && !isList(volumes, isNamed)) return undefined
  return {
    metadata: {
      name: textOf(metadata['name']),
      namespace: textOf(metadata['namespace']),
      labels: stringsOf(metadata['labels']),
      annotations: stringsOf(metadata['annotations']),
      hasAnnotations: isObject(metadata['annotations']),
    },
    spec: {
      containers,
      initContainers,
      volumes,
      hostNetwork: spec['hostNetwork'] === true,
      hostPID: spec['hostPID'] === true,
      shareProcessNamespace: spec['shareProcessNamespace'] === true,
      os: isObject(spec['os']) ? textOf(spec['os']['name']) : '',
    },
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The members that are text, of what should be a map of text. */
export function stringsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function isList<T>(value: unknown, is: (item: unknown) => item is T): value is readonly T[] {
  return Array.isArray(value) && value.every(is)
}

function isNamed(value: unknown): value is Named {
  return isObject(value) && typeof value['name'] === 'string'
}

function isContainer(value: unknown): value is Container {
  if (!isNamed(value)) return false
  const { env, volumeMounts, ports } = value
  return (
    (env === undefined || isList(env, isNamed)) &&
    (volumeMounts === undefined || isList(volumeMounts, isMount)) &&
    (ports === undefined || isList(ports, isObject))
  )
}

function isMount(value: unknown): value is Mount {
  return isNamed(value) && typeof value['mountPath'] === 'string'
}
