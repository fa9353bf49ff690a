import { faultOf } from '../kube/answer.ts'
import { CONFIG_MAPS } from '../kube/resources.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import { create, remove, replace } from '../kube/verbs.ts'
import { openWatch } from '../kube/watch.ts'
import { createEcho, type News } from './echo.ts'
import {
  type Fact,
  type FactKind,
  type FactObject,
  objectOf,
  PART_LABEL,
  readFact,
  STATE,
  type Written,
} from './facts.ts'

/** What the operator must remember, as ConfigMaps in its own namespace: shared by all replicas, written by leaders with compare-and-swap. */
export interface Ledger extends AsyncDisposable {
  whenSynced(signal: AbortSignal): Promise<void>
  /** Facts of one kind, by the name of their object; our own writes are seen at once. */
  facts<K extends FactKind>(kind: K): ReadonlyMap<string, Extract<Fact, { readonly kind: K }>>
  /** What cannot be read, by the name of its object. */
  problems(): ReadonlyMap<string, string>
  /** Called after facts have changed. */
  subscribe(changed: (kind: FactKind) => void): () => void
  /** Writes one fact over the version that we know. `false`: somebody else was faster; look again and decide anew. */
  write(written: Written, signal: AbortSignal): Promise<boolean>
  /** Removes one fact, of the version that we know. */
  remove(name: string, signal: AbortSignal): Promise<boolean>
}

/** A ledger, and the same one written through another transport: a leader's, which refuses when its term is over. */
export interface OpenLedger extends Ledger {
  through(transport: Transport): Ledger
}

interface Entry {
  readonly object: FactObject
  readonly fact: Fact | undefined
  readonly problem: string
}

/** Opens the ledger of a namespace. Nothing is written until it is asked for. */
export async function openLedger(
  transport: Transport,
  namespace: string,
  ports: KubePorts,
): Promise<OpenLedger> {
  const { entries, listeners, take, drop } = createBook()
  const closing = new AbortController()
  const place = { resource: CONFIG_MAPS, namespace }

  const watched = await openWatch<FactObject>(
    transport,
    { place, labelSelector: `${PART_LABEL}=${STATE}`, transform: (object) => object as FactObject },
    ports,
  )
  const apply = ({ gone, object }: News<FactObject>): void =>
    gone ? drop(object.metadata.name) : take(object)
  const echo = createEcho(ports, apply, closing.signal)
  watched.subscribe((type, _key, object) => {
    const news = { gone: type === 'removed', object }
    if (echo.heard(news)) apply(news)
  })
  const through = (by: Transport): Ledger => ({
    whenSynced: (signal) => watched.whenSynced(signal),
    facts<K extends FactKind>(kind: K) {
      const found = new Map<string, Extract<Fact, { readonly kind: K }>>()
      for (const [name, { fact }] of entries) if (fact && isKind(fact, kind)) found.set(name, fact)
      return found
    },
    problems: () =>
      new Map([...entries].flatMap(([name, { problem }]) => (problem ? [[name, problem] as const] : []))),
    subscribe(changed) {
      listeners.add(changed)
      return () => void listeners.delete(changed)
    },
    async write(written, signal) {
      const before = entries.get(written.name)?.object
      const body = objectOf(written, namespace, before)
      const answer = before
        ? await replace(by, { ...place, name: written.name }, body, signal)
        : await create(by, place, body, signal)
      if (!answer.ok) return lost(answer.refused, `write ${written.name}`)
      const stored = answer.value as FactObject
      if (echo.wrote(stored)) take(stored)
      return true
    },
    async remove(name, signal) {
      const resourceVersion = entries.get(name)?.object.metadata.resourceVersion
      if (resourceVersion === undefined) return true
      const answer = await remove(by, { ...place, name }, { resourceVersion }, signal)
      if (!answer.ok && answer.refused.status !== 404) return lost(answer.refused, `delete ${name}`)
      drop(name)
      return true
    },
    [Symbol.asyncDispose]: async () => undefined,
  })
  return {
    ...through(transport),
    through,
    [Symbol.asyncDispose]: () => {
      closing.abort()
      return watched[Symbol.asyncDispose]()
    },
  }
}

interface Book {
  readonly entries: Map<string, Entry>
  readonly listeners: Set<(kind: FactKind) => void>
  take(object: FactObject): void
  drop(name: string): void
}

/** What is known, and who wants to hear of it. */
function createBook(): Book {
  const entries = new Map<string, Entry>()
  const listeners = new Set<(kind: FactKind) => void>()
  const tell = (...changed: readonly (Entry | undefined)[]): void => {
    const kinds = new Set(changed.flatMap((entry) => entry?.fact?.kind ?? []))
    for (const kind of kinds) for (const listener of listeners) listener(kind)
  }
  return {
    entries,
    listeners,
    take(object) {
      const { name, resourceVersion } = object.metadata
      const before = entries.get(name)
      if (before?.object.metadata.resourceVersion === resourceVersion) return
      const entry = entryOf(object)
      entries.set(name, entry)
      tell(before, entry)
    },
    drop(name) {
      const before = entries.get(name)
      entries.delete(name)
      tell(before, undefined)
    },
  }
}

function lost(refused: Parameters<typeof faultOf>[0], what: string): false {
  // Gone or changed since we looked: the watch will tell, and whoever asked decides anew.
  if (refused.status === 409 || refused.status === 404) return false
  throw faultOf(refused, what)
}

function entryOf(object: FactObject): Entry {
  const read = readFact(object)
  if (read.ok) return { object, fact: read.value, problem: '' }
  return { object, fact: undefined, problem: read.problems.join('; ') }
}

function isKind<K extends FactKind>(fact: Fact, kind: K): fact is Extract<Fact, { readonly kind: K }> {
  return fact.kind === kind
}
