import type { Key } from './resource.ts'

interface Entry {
  readonly priority: number
  readonly addedAt: number
}

/** Keys that wait to be taken, each once: highest priority first, and among equals whoever came first. */
export interface Lanes {
  /** False: it was waiting already, and has the higher of the two priorities now. */
  add(key: Key, priority: number, at: number): boolean
  take(): { readonly key: Key; readonly addedAt: number } | undefined
  size(): number
}

/** `onDepth` hears how many keys wait with a priority, whenever that changes. */
export function createLanes(onDepth: (priority: number, depth: number) => void): Lanes {
  const entries = new Map<Key, Entry>()
  // One lane a priority; a Set remembers the order of arrival.
  const lanes = new Map<number, Set<Key>>()

  const enter = (key: Key, entry: Entry): void => {
    entries.set(key, entry)
    const lane = lanes.get(entry.priority) ?? new Set<Key>()
    lanes.set(entry.priority, lane.add(key))
    onDepth(entry.priority, lane.size)
  }
  const leave = (key: Key, { priority }: Entry): void => {
    entries.delete(key)
    const lane = lanes.get(priority)
    lane?.delete(key)
    if (lane?.size === 0) lanes.delete(priority)
    onDepth(priority, lane?.size ?? 0)
  }

  return {
    add(key, priority, at) {
      const waiting = entries.get(key)
      if (waiting && waiting.priority >= priority) return false
      if (waiting) leave(key, waiting)
      enter(key, { priority, addedAt: waiting?.addedAt ?? at })
      return !waiting
    },
    take() {
      const [key] = lanes.get(Math.max(...lanes.keys())) ?? []
      const entry = key === undefined ? undefined : entries.get(key)
      if (key === undefined || !entry) return undefined
      leave(key, entry)
      return { key, addedAt: entry.addedAt }
    },
    size: () => entries.size,
  }
}
