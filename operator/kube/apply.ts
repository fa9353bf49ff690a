import type { Answer, Refusal } from './answer.ts'
import {
  apiVersionOf,
  type KubeObject,
  type ObjectMeta,
  type Resource,
  stripManagedFields,
} from './resource.ts'
import type { Transport } from './transport.ts'
import { patch } from './verbs.ts'

/** What server-side apply came to. */
export type Applied =
  | { readonly ok: true; readonly object: KubeObject }
  /** Another manager owns these fields with another value; nothing was changed. */
  | { readonly ok: false; readonly conflict: readonly FieldConflict[]; readonly refused: Refusal }
  | { readonly ok: false; readonly conflict?: undefined; readonly refused: Refusal }
export interface FieldConflict {
  /** As the server writes it: `.spec.replicas`. */
  readonly field: string
  /** Names the other manager. */
  readonly message: string
}

/** The fields this manager wants, and no others: what it leaves out and owned before is removed. */
export interface Intent {
  readonly resource: Resource
  readonly metadata: Pick<
    ObjectMeta,
    'name' | 'namespace' | 'resourceVersion' | 'labels' | 'annotations' | 'finalizers' | 'ownerReferences'
  >
  /** Top-level fields beside `metadata`: `spec`, `data`, `status` … */
  readonly fields: Readonly<Record<string, unknown>>
  /** One name a concern, always the same: it is how the server knows what is ours. */
  readonly manager: string
  /** Take fields from other managers. For what is ours alone; never to end an argument with a person. */
  readonly force?: boolean
}

/** Creates or changes an object so that our fields are as wanted (server-side apply). */
export async function apply(transport: Transport, intent: Intent, signal: AbortSignal): Promise<Applied> {
  return applyTo(transport, intent, undefined, signal)
}

/**
 * The same for the status subresource; `fields` holds `status` only. A UID would not be looked at there: name the `resourceVersion` that
 * the status was worked out from, and an object that changed, or was made anew under the name, refuses it (409).
 */
export async function applyStatus(
  transport: Transport,
  intent: Intent,
  signal: AbortSignal,
): Promise<Applied> {
  return applyTo(transport, intent, 'status', signal)
}

async function applyTo(
  transport: Transport,
  { resource, metadata, fields, manager, force = false }: Intent,
  subresource: 'status' | undefined,
  signal: AbortSignal,
): Promise<Applied> {
  const { name, namespace } = metadata
  const place = {
    resource,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(subresource ? { subresource } : {}),
    query: { fieldManager: manager, force: String(force) },
  }
  const body = { ...fields, apiVersion: apiVersionOf(resource), kind: resource.kind, metadata }
  const answer = await patch(transport, place, { type: 'apply', body }, signal)
  return appliedOf(answer)
}

function appliedOf(answer: Answer<KubeObject>): Applied {
  if (answer.ok) return { ok: true, object: stripManagedFields(answer.value) }
  const conflict = answer.refused.causes
    .filter(({ reason }) => reason === 'FieldManagerConflict')
    .map(({ field, message }) => ({ field, message }))
  const { refused } = answer
  return conflict.length > 0 ? { ok: false, conflict, refused } : { ok: false, refused }
}
