import { expectValue, faultOf, listOf, recordOf, textOf } from '../kube/answer.ts'
import { listAll } from '../kube/listing.ts'
import { apiVersionOf, type KubeObject } from '../kube/resource.ts'
import { CONFIG_MAPS, PODS, TOKEN_REVIEWS } from '../kube/resources.ts'
import type { Transport } from '../kube/transport.ts'
import { create, get, remove, replace } from '../kube/verbs.ts'
import type { Container, ContainerStatus, Pin, PinStored, Pod, Registry, Review } from './ports.ts'

const PREFIX = 'portcullis-pin-'
const LABELS = { 'app.kubernetes.io/part-of': 'portcullis', 'portcullis.dev/part': 'pin' } as const
const TIMEOUT_MS = 10_000
const LIST_RULES = { pageSize: 500, maxObjects: 100_000, timeoutMs: TIMEOUT_MS }

/** The API server, as attestation sees it. Everything is read anew: a cache may not know yet that a pod is gone. */
export function kubeRegistry(transport: Transport, namespace: string): Registry {
  const pins = { resource: CONFIG_MAPS, namespace, timeoutMs: TIMEOUT_MS }
  return {
    pod: async (podNamespace, name, signal) => {
      const answer = await get(transport, { resource: PODS, namespace: podNamespace, name }, signal)
      if (answer.ok) return podOf(answer.value)
      if (answer.refused.status === 404) return undefined
      throw faultOf(answer.refused, 'GET pod')
    },
    review: async (token, audience, signal) => {
      const resource = TOKEN_REVIEWS
      const spec = { token, audiences: [audience] }
      const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: {}, spec }
      const answer = await transport.send({ method: 'POST', resource, body, timeoutMs: TIMEOUT_MS }, signal)
      return reviewOf(recordOf(recordOf(expectValue(answer, 'TokenReview'))['status']))
    },
    pin: async (podUid, signal) => {
      const answer = await get(transport, { ...pins, name: PREFIX + podUid }, signal)
      if (answer.ok) return pinOf(answer.value)
      if (answer.refused.status === 404) return undefined
      throw faultOf(answer.refused, 'GET pin')
    },
    setPin: async (podUid, pin, version, signal) => {
      const name = PREFIX + podUid
      const metadata = {
        name,
        namespace,
        labels: LABELS,
        ...(version !== undefined && { resourceVersion: version }),
      }
      const object = {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata,
        data: { ...pin, restartCount: `${pin.restartCount}` },
      }
      const answer =
        version === undefined
          ? await create(transport, pins, object, signal)
          : await replace(transport, { ...pins, name }, object, signal)
      if (answer.ok) return 'stored'
      if (answer.refused.status === 409 || answer.refused.status === 404) return 'conflict'
      throw faultOf(answer.refused, 'pin')
    },
    pins: async (signal) => {
      const labelSelector = Object.entries(LABELS)
        .map((pair) => pair.join('='))
        .join(',')
      const all = expectValue(
        await listAll(transport, { ...pins, query: { labelSelector } }, LIST_RULES, signal),
        'LIST pins',
      )
      return all.items.flatMap((object) => {
        const stored = pinOf(object)
        return stored ? [{ podUid: object.metadata.name.slice(PREFIX.length), stored }] : []
      })
    },
    removePin: async (podUid, version, signal) => {
      const place = { resource: CONFIG_MAPS, namespace, name: PREFIX + podUid }
      const answer = await remove(transport, place, { resourceVersion: version }, signal)
      // Changed or gone meanwhile: the next round sees.
      if (!answer.ok && answer.refused.status !== 404 && answer.refused.status !== 409)
        throw faultOf(answer.refused, 'DELETE pin')
    },
  }
}

/** What issuing wants to know of a core/v1 Pod. */
export function podOf({ metadata, spec, status }: KubeObject): Pod {
  const [wanted, seen] = [recordOf(spec), recordOf(status)]
  const containers = (member: string, init: boolean): readonly Container[] =>
    listOf(wanted[member])
      .map(recordOf)
      .map(({ name, image }) => ({ name: textOf(name), image: textOf(image), init }))
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    uid: metadata.uid ?? '',
    serviceAccount: textOf(wanted['serviceAccountName']),
    nodeName: textOf(wanted['nodeName']),
    phase: textOf(seen['phase']),
    deleting: metadata.deletionTimestamp !== undefined,
    labels: metadata.labels ?? {},
    containers: [...containers('initContainers', true), ...containers('containers', false)],
    statuses: ['initContainerStatuses', 'containerStatuses'].flatMap((member) =>
      listOf(seen[member]).map(recordOf).map(statusOf),
    ),
  }
}

function statusOf(status: Readonly<Record<string, unknown>>): ContainerStatus {
  const { name, restartCount, containerID } = status
  return {
    name: textOf(name),
    restartCount: typeof restartCount === 'number' ? restartCount : 0,
    containerId: textOf(containerID),
  }
}

function reviewOf(status: Readonly<Record<string, unknown>>): Review {
  const user = recordOf(status['user'])
  const texts = (value: unknown) => listOf(value).filter((one) => typeof one === 'string')
  return {
    authenticated: status['authenticated'] === true,
    error: textOf(status['error']),
    audiences: texts(status['audiences']),
    username: textOf(user['username']),
    extra: Object.fromEntries(
      Object.entries(recordOf(user['extra'])).map(([name, values]) => [name, texts(values)]),
    ),
  }
}

function pinOf({ metadata, data }: KubeObject): PinStored | undefined {
  const fields = recordOf(data)
  const text = (name: keyof Pin) => textOf(fields[name])
  const restartCount = Number(text('restartCount'))
  if (!metadata.resourceVersion || text('current') === '' || !Number.isSafeInteger(restartCount))
    return undefined
  const pin: Pin = {
    namespace: text('namespace'),
    pod: text('pod'),
    serviceAccount: text('serviceAccount'),
    container: text('container'),
    image: text('image'),
    current: text('current'),
    previous: text('previous'),
    containerId: text('containerId'),
    restartCount,
  }
  return { pin, version: metadata.resourceVersion }
}
