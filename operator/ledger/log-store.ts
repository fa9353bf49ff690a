import { LOG_LIMITS, type LogLimits, type RevocationLog } from '../state/revocation-log.ts'
import { loadLog, planSegments } from '../state/revocation-segments.ts'
import { segmentName, writtenSegment } from './facts.ts'
import type { Ledger } from './ledger.ts'

/** Where the revocation log lies: segments in the database of the cluster, or a Redis stream. */
export interface LogStore {
  readonly limits: LogLimits
  /** As stored; our own writes are seen at once. A text: why it cannot be read. */
  current(): RevocationLog | string
  /**
   * Stores `next`, which was made of `current()` without a pause in between. Resolves to `false`, and has changed nothing that anybody
   * reads, when somebody else wrote meanwhile or it cannot be told whether it is stored: look again and decide anew.
   */
  store(next: RevocationLog, signal: AbortSignal): Promise<boolean>
  /** Called after `current` has changed. */
  subscribe(changed: () => void): () => void
}

/** The same, written in one term: fenced, so that a term that is over writes no more. */
export interface OpenLogStore extends LogStore {
  through(ledger: Ledger, term: number): LogStore
}

/** The embedded default: ConfigMaps, each written over the version that was read. */
export function createSegmentStore(ledger: Ledger): OpenLogStore {
  const through = (by: Ledger): LogStore => ({
    limits: LOG_LIMITS,
    current() {
      const loaded = loadLog([...by.facts('revocations').values()].map(({ segment }) => segment))
      return loaded.ok ? loaded.value : loaded.problems.join('; ')
    },
    store: (log, signal) => storeSegments(by, log, signal),
    subscribe: (changed) =>
      by.subscribe((kind) => {
        if (kind === 'revocations') changed()
      }),
  })
  return { ...through(ledger), through: (by) => through(by) }
}

/** To be called without a pause after the look that `log` was made from; each step replaces only what the plan has seen. */
async function storeSegments(ledger: Ledger, log: RevocationLog, signal: AbortSignal): Promise<boolean> {
  const planned = new Map(ledger.facts('revocations'))
  const stored = [...planned.values()].map(({ segment }) => segment)
  for (const step of planSegments(log, stored)) {
    const name = segmentName(step.op === 'write' ? step.segment.number : step.number)
    if (ledger.facts('revocations').get(name) !== planned.get(name)) return false
    const done =
      step.op === 'write'
        ? await ledger.write(writtenSegment(step.segment), signal)
        : await ledger.remove(name, signal)
    if (!done) return false
    const now = ledger.facts('revocations').get(name)
    if (now) planned.set(name, now)
    else planned.delete(name)
  }
  return true
}
