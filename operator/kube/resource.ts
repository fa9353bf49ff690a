/** A kind of object the API server keeps, as its paths name it. */
export interface Resource {
  /** `''` for the core group. */
  readonly group: string
  readonly version: string
  /** Lower-case plural, the path segment. */
  readonly plural: string
  readonly kind: string
  readonly namespaced: boolean
}

/** meta/v1 ObjectMeta, the fields this program uses. */
export interface ObjectMeta {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  readonly resourceVersion?: string
  readonly generation?: number
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
  readonly ownerReferences?: readonly OwnerReference[]
}
export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
  readonly blockOwnerDeletion?: boolean
}

/** Anything the API server keeps. What lies beside `metadata` is unknown until the kind's own parser has seen it. */
export interface KubeObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata: ObjectMeta
  readonly spec?: unknown
  readonly status?: unknown
  /** ConfigMap and Secret. */
  readonly data?: unknown
}

/** Which object, collection or subresource of a resource. No namespace on a namespaced resource: all namespaces. */
export interface Place {
  readonly resource: Resource
  readonly namespace?: string
  readonly name?: string
  readonly subresource?: string
}

/** Identifies an object within its resource: `namespace/name`, or `name` for cluster-scoped ones. */
export type Key = string

export function keyOf(object: KubeObject): Key {
  const { namespace, name } = object.metadata
  return namespace ? `${namespace}/${name}` : name
}

export function apiVersionOf({ group, version }: Resource): string {
  return group ? `${group}/${version}` : version
}

/** `tokenissuers.portcullis.dev`, as metrics and messages name a resource. */
export function nameOf({ group, plural }: Resource): string {
  return group ? `${plural}.${group}` : plural
}

/** The path of a place, every part escaped: a name from outside cannot climb to another resource. */
export function pathOf({ resource, namespace, name, subresource }: Place): string {
  const root = resource.group ? ['apis', resource.group, resource.version] : ['api', resource.version]
  const scope = resource.namespaced && namespace !== undefined ? ['namespaces', namespace] : []
  const parts = [...root, ...scope, resource.plural, name, ...(subresource?.split('/') ?? [])]
  return `/${parts
    .filter((part) => part !== undefined)
    .map(segment)
    .join('/')}`
}

// Percent-encoding leaves dots alone, and URL parsers take `.` and `..` for steps of the path.
function segment(part: string): string {
  if (part === '' || part === '.' || part === '..') throw new TypeError(`not a name: "${part}"`)
  return encodeURIComponent(part)
}

/** The resource's object in the parsed JSON of an answer, or `undefined` when it is none. */
export function asObject(value: unknown): KubeObject | undefined {
  if (typeof value !== 'object' || value === null || !('metadata' in value)) return undefined
  const { metadata } = value
  if (typeof metadata !== 'object' || metadata === null || !('name' in metadata)) return undefined
  return typeof metadata.name === 'string' && metadata.name !== '' ? (value as KubeObject) : undefined
}

/** The same object without `metadata.managedFields`: often half of its bytes, and of use to the API server only. */
export function stripManagedFields(object: KubeObject): KubeObject {
  if (!('managedFields' in object.metadata)) return object
  const { managedFields: _, ...metadata } = object.metadata as ObjectMeta & { managedFields: unknown }
  return { ...object, metadata }
}
