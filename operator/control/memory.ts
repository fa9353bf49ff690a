import type { GenerationTable } from '../state/generations.ts'
import { knows, type RevocationLog } from '../state/revocation-log.ts'

/** The last that this replica saw stored. */
export interface Remembered {
  readonly log: RevocationLog
  readonly table: GenerationTable
}

/**
 * Remembers what was stored, to notice a database that was restored to an older state: one whose log or numbers fell, or whose log never
 * stood where it stood before, because somebody has gone on from the older state meanwhile.
 */
export interface Memory {
  /** What was stored before and is not now; undefined when nothing is missing. */
  compare(log: RevocationLog, table: GenerationTable): Remembered | undefined
  /** Begins anew with what is compared next. */
  forget(): void
}

export function createMemory(): Memory {
  let best: Remembered | undefined
  return {
    compare(log, table) {
      const before = best
      if (before && (!knows(log, before.log.head) || table.counter < before.table.counter)) return before
      best = { log, table }
      return undefined
    },
    forget() {
      best = undefined
    },
  }
}
