/** A value that changes, for whoever wants to be told. */
export interface Live<T> {
  get(): T
  set(value: T): void
  /** Calls `listener` after each change, until the returned function is called. */
  watch(listener: () => void): () => void
}

export function createLive<T>(first: T): Live<T> {
  const listeners = new Set<() => void>()
  let value = first
  return {
    get: () => value,
    set(next) {
      value = next
      for (const listener of [...listeners]) listener()
    },
    watch(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
