import { Fault } from '../ports.ts'
import { type Answer, listOf, recordOf, textOf } from './answer.ts'
import { apiVersionOf, asObject, type KubeObject, type Place, pathOf } from './resource.ts'
import type { KubeRequest, Transport } from './transport.ts'

// The verbs of the API, each one request. Refusals (404, 409, 422 …) are values.

export interface Page {
  readonly items: readonly KubeObject[]
  readonly resourceVersion: string
  /** Asks for the next page; absent on the last. */
  readonly next?: string
}

/** Any of the request's options that a verb leaves open. */
export type Options = Pick<KubeRequest, 'query' | 'accept' | 'timeoutMs' | 'maxBytes'>

export async function get(
  transport: Transport,
  place: Place & Options,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  return one(transport, { ...place, method: 'GET' }, signal)
}

/** One page. `query` takes limit, continue, labelSelector, fieldSelector, resourceVersion. */
export async function list(
  transport: Transport,
  place: Place & Options,
  signal: AbortSignal,
): Promise<Answer<Page>> {
  const { resource } = place
  const answer = await transport.send({ ...place, method: 'GET' }, signal)
  if (!answer.ok) return answer
  const { metadata, items } = recordOf(answer.value)
  const meta = recordOf(metadata)
  const objects = listOf(items).map(asObject)
  if (!Array.isArray(items) || objects.includes(undefined))
    throw new Fault('api', `GET ${pathOf(place)}: not a list of objects`)
  const next = typeof meta['continue'] === 'string' ? meta['continue'] : ''
  return {
    ok: true,
    value: {
      // The server leaves these two out of a list's items; everywhere else objects have them.
      items: objects
        .filter((object) => object !== undefined)
        .map((object) => ({ apiVersion: apiVersionOf(resource), kind: resource.kind, ...object })),
      resourceVersion: textOf(meta['resourceVersion']),
      ...(next ? { next } : {}),
    },
  }
}

/** `place` without a name: the collection, or with name and subresource (eviction, token). */
export async function create(
  transport: Transport,
  place: Place & Options,
  object: object,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  return one(transport, { ...place, method: 'POST', body: object }, signal)
}

/** With `metadata.resourceVersion` in the object: 409 when somebody was faster. */
export async function replace(
  transport: Transport,
  place: Place & Options,
  object: object,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  return one(transport, { ...place, method: 'PUT', body: object }, signal)
}

export const PATCH_TYPES = {
  /** RFC 7386. */
  merge: 'application/merge-patch+json',
  /** RFC 6902. */
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const

export interface Patch {
  readonly type: keyof typeof PATCH_TYPES
  readonly body: unknown
}

/** The kind of patch is always named: there is no default to fall into. */
export async function patch(
  transport: Transport,
  place: Place & Options,
  { type, body }: Patch,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  return one(transport, { ...place, method: 'PATCH', body, contentType: PATCH_TYPES[type] }, signal)
}

/** `uid` and `resourceVersion`: only that very object, 409 otherwise. */
export async function remove(
  transport: Transport,
  place: Place,
  preconditions: { readonly uid?: string; readonly resourceVersion?: string },
  signal: AbortSignal,
): Promise<Answer<undefined>> {
  const body = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions }
  const answer = await transport.send({ ...place, method: 'DELETE', body }, signal)
  return answer.ok ? { ok: true, value: undefined } : answer
}

async function one(
  transport: Transport,
  request: KubeRequest,
  signal: AbortSignal,
): Promise<Answer<KubeObject>> {
  const answer = await transport.send(request, signal)
  if (!answer.ok) return answer
  const object = asObject(answer.value)
  if (!object) throw new Fault('api', `${request.method} ${pathOf(request)}: the answer is not an object`)
  return { ok: true, value: object }
}
