import { Fault } from '../ports.ts'
import { createReflector, type ReflectorStatus } from './reflector.ts'
import { type KubeObject, keyOf, nameOf, stripManagedFields } from './resource.ts'
import { REFLECTOR_RULES, type ReflectorRules, type Selection } from './selection.ts'
import { type ChangeType, createStore, type Handler, type Indexes, type Store } from './store.ts'
import type { KubePorts, Transport } from './transport.ts'

/** A collection of the API server, mirrored in memory and kept current. */
export interface Watched<T> extends AsyncDisposable {
  readonly store: Store<T>
  /**
   * Calls the handler for everything that exists (`added`) and for every change from then on, in order, after the store has it.
   * Handlers put keys into queues and return; what they throw is counted. The returned function ends the subscription.
   */
  subscribe(handler: Handler<T>): () => void
  /** Resolves once everything that existed is in the store. Rejects when the signal aborts. */
  whenSynced(signal: AbortSignal): Promise<void>
  status(): ReflectorStatus
}

export interface WatchOptions<T extends KubeObject> extends Selection {
  /**
   * From what the server sent, already without managed fields, to what is kept. Name, namespace, UID and resourceVersion must stay.
   * `undefined`, or throwing: not kept.
   */
  readonly transform: (object: KubeObject) => T | undefined
  readonly indexes?: Indexes<T>
  readonly rules?: Partial<ReflectorRules>
}

/** Starts to mirror a collection. Returns at once; `whenSynced` tells when the store is complete. */
export async function openWatch<T extends KubeObject>(
  transport: Transport,
  options: WatchOptions<T>,
  ports: KubePorts,
): Promise<Watched<T>> {
  const resource = nameOf(options.place.resource)
  const handlers = new Set<Handler<T>>()
  const synced = Promise.withResolvers<void>()
  const closing = new AbortController()

  // Nothing that a caller's function throws may stop the mirror: the object, or the call, is left out and counted.
  const guarded = <R>(what: string, key: string, run: () => R): R | undefined => {
    try {
      return run()
    } catch (cause) {
      ports.metrics.add('portcullis_kube_handler_failures_total', { resource })
      ports.report('kube_handler_failed', { resource, what, key, detail: Fault.from(cause).message })
      return undefined
    }
  }
  const call = (handler: Handler<T>, ...[type, key, object, old]: Parameters<Handler<T>>): void =>
    guarded('handler', key, () => handler(type, key, object, old))
  const store = createStore<T>({
    transform: (object) =>
      guarded('transform', keyOf(object), () => options.transform(stripManagedFields(object))),
    indexes: guardedIndexes(options.indexes ?? {}, guarded),
    notify(type: ChangeType, key, object, old) {
      ports.metrics.set('portcullis_kube_cached_objects', { resource }, store.size())
      for (const handler of handlers) call(handler, type, key, object, old)
    },
  })
  const reflector = createReflector(
    options,
    { ...REFLECTOR_RULES, ...options.rules },
    { transport, ports, sink: store, onSynced: () => synced.resolve() },
  )
  const running = reflector.run(closing.signal)

  return {
    store,
    status: reflector.status,
    subscribe(handler) {
      for (const object of store.list()) call(handler, 'added', keyOf(object), object, undefined)
      handlers.add(handler)
      return () => void handlers.delete(handler)
    },
    whenSynced: (signal) => raced(synced.promise, signal),
    async [Symbol.asyncDispose]() {
      closing.abort()
      await running
    },
  }
}

function guardedIndexes<T extends KubeObject>(
  indexes: Indexes<T>,
  guarded: <R>(what: string, key: string, run: () => R) => R | undefined,
): Indexes<T> {
  return Object.fromEntries(
    Object.entries(indexes).map(([name, of]) => [
      name,
      (object: T) => guarded(`index ${name}`, keyOf(object), () => of(object)) ?? [],
    ]),
  )
}

function raced<R>(promise: Promise<R>, signal: AbortSignal): Promise<R> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason)
    if (signal.aborted) return leave()
    signal.addEventListener('abort', leave, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}
