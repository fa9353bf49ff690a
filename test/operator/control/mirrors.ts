import type { Kind } from '../../../contracts/crd.ts'
import type { ClusterWatch, Parsed } from '../../../operator/control/cluster-watch.ts'
import type { PodSeen } from '../../../operator/control/pods.ts'
import { createViews, type Views } from '../../../operator/control/view.ts'
import { type KubeObject, keyOf } from '../../../operator/kube/resource.ts'
import { createStore, type Handler } from '../../../operator/kube/store.ts'
import type { Watched } from '../../../operator/kube/watch.ts'
import { type OpenLedger, openLedger } from '../../../operator/ledger/ledger.ts'
import { createSegmentStore, type OpenLogStore } from '../../../operator/ledger/log-store.ts'
import type { Pod } from '../../../operator/state/cluster.ts'
import { createMemoryApi, createTestPorts, type MemoryApi, type TestPorts } from '../ledger/memory-api.ts'

// The mirrors of one replica with real stores, filled by the test instead of by the API server.

export interface Mirrors extends AsyncDisposable {
  readonly watch: ClusterWatch
  readonly views: Views
  readonly ledger: OpenLedger
  readonly logs: OpenLogStore
  readonly api: MemoryApi
  readonly ports: TestPorts
  put(kind: Kind, parsed: { readonly metadata: object }): void
  take(kind: Kind, parsed: { readonly metadata: object }): void
  pod(pod: Pod): void
  /** The same, but the database is another: as after a restore. */
  restart(): Views
}

export async function openMirrors(): Promise<Mirrors> {
  const api = createMemoryApi()
  const ports = createTestPorts()
  const ledger = await openLedger(api, 'system', ports)
  await ledger.whenSynced(new AbortController().signal)
  const stores = new Map(KINDS.map((kind) => [kind, createWatched<KubeObject>()]))
  const pods = createWatched<PodSeen>()
  const watch = watchOf(stores, pods)
  let version = 0
  const stamped = <T extends object>(object: T): T & KubeObject => {
    version += 1
    const { metadata } = object as unknown as KubeObject
    return { ...object, metadata: { ...metadata, resourceVersion: String(version) } } as T & KubeObject
  }
  const logs = createSegmentStore(ledger)
  const views = () => createViews({ watch, ledger, logs, report: ports.report })
  return {
    watch,
    ledger,
    logs,
    api,
    ports,
    views: views(),
    restart: views,
    put: (kind, parsed) => stores.get(kind)?.sink.upsert(stamped({ metadata: parsed.metadata, parsed })),
    take: (kind, parsed) =>
      stores.get(kind)?.sink.remove(stamped({ metadata: parsed.metadata }) as unknown as KubeObject),
    pod({ uid, namespace, name, ...pod }) {
      const { labels, phase } = pod
      const running = { namespace, name, labels, annotations: {}, initContainers: [], phase, mirror: false }
      const seen = { metadata: { uid, namespace, name }, pod: { uid, namespace, name, ...pod }, running }
      pods.sink.upsert(stamped(seen))
    },
    [Symbol.asyncDispose]: () => ledger[Symbol.asyncDispose](),
  }
}

const KINDS: readonly Kind[] = [
  'TokenIssuer',
  'PolicyBundle',
  'AccessPolicy',
  'Revocation',
  'KeyRotation',
  'TrustDomain',
  'WorkloadIdentity',
  'SidecarProfile',
]

function createWatched<T extends KubeObject>() {
  const handlers = new Set<Handler<T>>()
  const store = createStore<T>({
    transform: (object) => object as T,
    indexes: {},
    notify: (...told) => {
      for (const handler of handlers) handler(...told)
    },
  })
  const watched: Watched<T> = {
    store,
    subscribe(handler) {
      for (const object of store.list()) handler('added', keyOf(object), object, undefined)
      handlers.add(handler)
      return () => void handlers.delete(handler)
    },
    whenSynced: async () => undefined,
    status: () => ({ synced: true, watching: true, heardAt: 0 }),
    [Symbol.asyncDispose]: async () => undefined,
  }
  return { watched, sink: store }
}

function watchOf(
  stores: ReadonlyMap<Kind, { readonly watched: Watched<KubeObject> }>,
  pods: { readonly watched: Watched<PodSeen> },
): ClusterWatch {
  const kinds = Object.fromEntries([...stores].map(([kind, { watched }]) => [kind, watched]))
  const named = [
    ...[...stores].map(([kind, { watched }]) => [kind, watched] as const),
    ['Pod', pods.watched] as const,
  ]
  return {
    pods: pods.watched,
    namespaces: createWatched<KubeObject>().watched,
    kinds: kinds as unknown as ClusterWatch['kinds'] & Record<Kind, Watched<Parsed<never>>>,
    whenSynced: async () => undefined,
    subscribe(changed) {
      const stops = named.map(([what, watched]) =>
        (watched as Watched<KubeObject>).subscribe((_type, key) => changed(what, key)),
      )
      return () => {
        for (const stop of stops) stop()
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}
