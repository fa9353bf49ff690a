import { faultOf, recordOf } from '../kube/answer.ts'
import { apiVersionOf, type KubeObject, type Resource } from '../kube/resource.ts'
import { CONFIG_MAPS, SECRETS } from '../kube/resources.ts'
import type { Transport } from '../kube/transport.ts'
import { create, get, replace } from '../kube/verbs.ts'
import { Fault } from '../ports.ts'
import type { Cabinet, Shelf, ShelfKind } from './ports.ts'

const RESOURCE = { Secret: SECRETS, ConfigMap: CONFIG_MAPS } as const satisfies Record<ShelfKind, Resource>
/** Where the kind keeps bytes. */
const MEMBER = { Secret: 'data', ConfigMap: 'binaryData' } as const satisfies Record<ShelfKind, string>
const TIMEOUT_MS = 10_000

/** Secrets and ConfigMaps of the system namespace. Every write is a replace of the version read, or a create. */
export function kubeCabinet(transport: Transport, namespace: string): Cabinet {
  return {
    read: async (kind, name, signal) => {
      const answer = await get(transport, { resource: RESOURCE[kind], namespace, name }, signal)
      if (answer.ok) return shelfOf(kind, answer.value)
      if (answer.refused.status === 404) return undefined
      throw faultOf(answer.refused, `GET ${kind} ${name}`)
    },
    write: async ({ kind, name, version }, content, signal) => {
      const resource = RESOURCE[kind]
      const labels = {
        'app.kubernetes.io/part-of': 'portcullis',
        'portcullis.dev/part': 'state',
        // The one ConfigMap that is written here; the ledger of `control` reads it by this label.
        ...(kind === 'ConfigMap' && { 'portcullis.dev/fact': 'trust-bundle' }),
      }
      const object = {
        apiVersion: apiVersionOf(resource),
        kind,
        metadata: { name, namespace, labels, ...(version !== undefined && { resourceVersion: version }) },
        [MEMBER[kind]]: Object.fromEntries(
          Object.entries(content).map(([key, bytes]) => [key, Buffer.from(bytes).toString('base64')]),
        ),
        ...(kind === 'Secret' && { type: 'Opaque' }),
      }
      const place = { resource, namespace, timeoutMs: TIMEOUT_MS }
      const answer =
        version === undefined
          ? await create(transport, place, object, signal)
          : await replace(transport, { ...place, name }, object, signal)
      if (answer.ok) return 'stored'
      // 404: deleted meanwhile. It is looked at again, like any other surprise.
      if (answer.refused.status === 409 || answer.refused.status === 404) return 'conflict'
      throw faultOf(answer.refused, `${version === undefined ? 'POST' : 'PUT'} ${kind} ${name}`)
    },
  }
}

function shelfOf(kind: ShelfKind, object: KubeObject): Shelf {
  const { resourceVersion, name } = object.metadata
  if (!resourceVersion) throw new Fault('api', `GET ${kind} ${name}: no resourceVersion`)
  const { [MEMBER[kind]]: members } = object as unknown as Readonly<Record<string, unknown>>
  const content = Object.fromEntries(
    Object.entries(recordOf(members)).flatMap(([key, text]) =>
      typeof text === 'string' ? [[key, Buffer.from(text, 'base64')]] : [],
    ),
  )
  return { content, version: resourceVersion }
}
