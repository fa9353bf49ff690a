/** A value that changes while the program runs: an SVID across renewals, a trust bundle across rotations. */
export interface Live<T> {
  current(): T
  /** Calls back after each change until disposed. The callback must not throw. */
  watch(changed: () => void): Disposable
}

export interface Source<T> extends Live<T> {
  set(value: T): void
}

export function createLive<T>(initial: T): Source<T> {
  let value = initial
  const watchers = new Set<() => void>()
  return {
    current: () => value,
    watch: (changed) => {
      // One entry a call, even for the same function.
      const entry = () => changed()
      watchers.add(entry)
      return { [Symbol.dispose]: () => void watchers.delete(entry) }
    },
    set: (next) => {
      value = next
      for (const entry of [...watchers]) entry()
    },
  }
}
