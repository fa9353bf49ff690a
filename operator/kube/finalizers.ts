import type { Answer } from './answer.ts'
import type { KubeObject, Resource } from './resource.ts'
import type { Transport } from './transport.ts'
import { patch } from './verbs.ts'

// A finalizer keeps a deleted object until we have cleaned up after it. Both changes name the version they were made from: 409 means
// that the object changed meanwhile, and is to be looked at again.

/** An object as it was read, and the finalizer in question. */
export interface Finalized {
  readonly resource: Resource
  readonly object: KubeObject
  readonly finalizer: string
}

export function isDeleting({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined
}

/** The object with the finalizer. An object being deleted takes no new one (the server refuses). */
export async function addFinalizer(
  transport: Transport,
  { resource, object, finalizer }: Finalized,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  const present = object.metadata.finalizers ?? []
  if (present.includes(finalizer)) return { ok: true, value: object }
  return write(transport, { resource, object, finalizers: [...present, finalizer] }, signal)
}

/** The object without it; 404 when that was its last one. */
export async function removeFinalizer(
  transport: Transport,
  { resource, object, finalizer }: Finalized,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  const present = object.metadata.finalizers ?? []
  if (!present.includes(finalizer)) return { ok: true, value: object }
  const finalizers = present.filter((one) => one !== finalizer)
  return write(transport, { resource, object, finalizers }, signal)
}

function write(
  transport: Transport,
  change: {
    readonly resource: Resource
    readonly object: KubeObject
    readonly finalizers: readonly string[]
  },
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  const { name, namespace, resourceVersion } = change.object.metadata
  const place = { resource: change.resource, name, ...(namespace === undefined ? {} : { namespace }) }
  const body = { metadata: { resourceVersion, finalizers: change.finalizers } }
  return patch(transport, place, { type: 'merge', body }, signal)
}
