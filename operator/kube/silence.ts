import type { Monotonic } from '../ports.ts'
import type { Ended } from './watching.ts'

/**
 * For how long nothing was heard of a server. One that was away may have come back with another past (its etcd restored from a backup),
 * in which the version that is known means something else, or lies in a future that it reaches without a word.
 */
export interface Silence {
  /** A watch is open. False: the silence before it was long enough for all that. */
  broken(): boolean
  /** The watch has ended, or everything was read. */
  begun(ended?: Ended): void
}

/** No server is restarted and no database restored in less; whoever is back sooner goes on from where it was. */
const AMNESIA_MS = 1_000

export function createSilence(stallMs: number, monotonic: Monotonic): Silence {
  let open = false
  let since = Number.NEGATIVE_INFINITY
  return {
    broken() {
      open = true
      return monotonic() - since < AMNESIA_MS
    },
    begun(ended) {
      // An attempt that opened nothing is part of the silence.
      if (open || !ended) since = monotonic() - (ended?.why === 'stalled' ? stallMs : 0)
      open = false
    },
  }
}
