import { type Key, type KubeObject, keyOf } from './resource.ts'

export type ChangeType = 'added' | 'changed' | 'removed'
/** What happened to an object. It says where to look, not what to do: handlers put keys into a queue and return. */
export type Handler<T> = (type: ChangeType, key: Key, object: T, old: T | undefined) => void

/** Named ways to look objects up by. */
export type Indexes<T> = Readonly<Record<string, (object: T) => readonly string[]>>

/** The read side. Objects are shared with everybody: treat them as frozen. */
export interface Store<T> {
  get(key: Key): T | undefined
  list(): readonly T[]
  /** Objects for which the index of that name gives `value`. Throws for a name that was not declared. */
  by(index: string, value: string): readonly T[]
  size(): number
}

/** The write side, used by the reflector. */
export interface Sink {
  /** These, and no others, exist. */
  replace(objects: readonly KubeObject[]): void
  upsert(object: KubeObject): void
  remove(object: KubeObject): void
}

export interface StoreOptions<T extends KubeObject> {
  /** From what the server sent to what is kept (name, namespace, UID and version stay), or `undefined`: not kept. */
  readonly transform: (object: KubeObject) => T | undefined
  readonly indexes: Indexes<T>
  readonly notify: Handler<T>
}

/** What exists, by key, with indexes. A removed and recreated object (another UID) is never mistaken for a changed one. */
export function createStore<T extends KubeObject>(options: StoreOptions<T>): Store<T> & Sink {
  const { transform, indexes, notify } = options
  const objects = new Map<Key, T>()
  const tables = new Map(Object.keys(indexes).map((name) => [name, new Map<string, Set<Key>>()]))

  const index = (key: Key, object: T, present: boolean): void => {
    for (const [name, table] of tables) {
      for (const value of new Set(indexes[name]?.(object) ?? [])) {
        const keys = table.get(value) ?? new Set<Key>()
        if (present) table.set(value, keys.add(key))
        else if (keys.delete(key) && keys.size === 0) table.delete(value)
      }
    }
  }
  const drop = (key: Key): void => {
    const old = objects.get(key)
    if (!old) return
    objects.delete(key)
    index(key, old, false)
    notify('removed', key, old, old)
  }
  const keep = (key: Key, object: T, old: T | undefined): void => {
    if (old) index(key, old, false)
    objects.set(key, object)
    index(key, object, true)
    notify(old ? 'changed' : 'added', key, object, old)
  }
  const upsert = (raw: KubeObject): void => {
    const key = keyOf(raw)
    const before = objects.get(key)
    const replaced = before !== undefined && before.metadata.uid !== raw.metadata.uid
    if (before && !replaced && isSame(before, raw)) return
    const object = transform(raw)
    if (replaced || !object) drop(key)
    if (object) keep(key, object, replaced ? undefined : before)
  }

  return {
    get: (key) => objects.get(key),
    list: () => [...objects.values()],
    by(name, value) {
      const table = tables.get(name)
      if (!table) throw new TypeError(`no index "${name}"`)
      return [...(table.get(value) ?? [])].flatMap((key) => objects.get(key) ?? [])
    },
    size: () => objects.size,
    replace(all) {
      const present = new Set(all.map(keyOf))
      for (const key of [...objects.keys()]) if (!present.has(key)) drop(key)
      for (const object of all) upsert(object)
    },
    upsert,
    remove(object) {
      const key = keyOf(object)
      if (objects.get(key)?.metadata.uid === object.metadata.uid) drop(key)
    },
  }
}

/** An object without a version is taken for changed. */
function isSame(old: KubeObject, raw: KubeObject): boolean {
  const version = raw.metadata.resourceVersion
  return version !== undefined && version === old.metadata.resourceVersion
}
