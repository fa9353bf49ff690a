import { type Addition, EMPTY_LOG, type Gap, type LogRecord, type RevocationLog } from './revocation-log.ts'
import { readRecord, textOf } from './revocation-segments.ts'

/**
 * How the log lies in a stream that several may append to and nothing guards: each batch says what it builds on, and counts only when
 * that is where the log stands. So everybody who reads the stream from its beginning reads the same log, whoever wrote what
 * in between; and a writer finds out whether he was the faster one by reading on.
 */
export interface Batch {
  /** Of whoever wrote it: grows with every change of leader. */
  readonly term: number
  /** The head that it builds on. */
  readonly base: number
  readonly head: number
  readonly compactedTo: number
  readonly gaps: readonly Gap[]
  /** 0 for what is appended; of a log that is told anew, how many batches tell it, and which of them this is. */
  readonly parts: number
  readonly part: number
  readonly records: readonly LogRecord[]
}

/** What was read so far. */
export interface Reading {
  readonly log: RevocationLog
  readonly term: number
  /** Whether anything counted yet. */
  readonly begun: boolean
  /** A log that is being told anew, as far as it has come. */
  readonly anew: { readonly like: Batch; readonly records: readonly LogRecord[] } | undefined
}

export const NOTHING_READ: Reading = { log: EMPTY_LOG, term: 0, begun: false, anew: undefined }

/** Reads on. `counted` says of each batch whether it changed the log or is part of what will. */
export function readOn(
  from: Reading,
  batches: readonly (Batch | undefined)[],
): { readonly reading: Reading; readonly counted: readonly boolean[] } {
  let reading = from
  // One copy for all of them: there may be a million entries.
  let own: Own | undefined
  const counted = batches.map((batch) => {
    if (!batch || batch.term < reading.term) return false
    if (batch.parts > 0) {
      const next = toldAnew(reading, batch)
      if (next && next.log !== reading.log) own = undefined
      reading = next ?? reading
      return next !== undefined
    }
    const { log, begun } = reading
    if (batch.base !== log.head || batch.head < batch.base || !(begun || batch.base === 0)) return false
    own ??= { live: new Map(log.live), recent: [...log.recent] }
    take(own, batch)
    const { head, gaps, term } = batch
    reading = { log: { ...log, ...own, head, gaps }, term, begun: true, anew: undefined }
    return true
  })
  return { reading, counted }
}

interface Own {
  readonly live: Map<string, Addition>
  readonly recent: LogRecord[]
}

function take({ live, recent }: Own, { records }: Batch): void {
  for (const record of records) {
    // At its new place in the order, as when everything is read at once.
    live.delete(record.id)
    if (record.op === 'add') live.set(record.id, record)
    recent.push(record)
  }
}

// The first part of a stream may build on what was cut off before it.
function toldAnew(reading: Reading, batch: Batch): Reading | undefined {
  const { log, begun, anew } = reading
  if (begun && batch.base !== log.head) return undefined
  const first = batch.part === 0
  const follows = anew !== undefined && anew.like.part + 1 === batch.part && sameTelling(anew.like, batch)
  if (!first && !follows) return undefined
  const records = first ? batch.records : [...(anew?.records ?? []), ...batch.records]
  if (batch.part + 1 < batch.parts) return { ...reading, anew: { like: batch, records } }
  const { head, compactedTo, gaps, term } = batch
  const live = new Map<string, Addition>()
  for (const record of records) {
    live.delete(record.id)
    if (record.op === 'add') live.set(record.id, record)
  }
  const recent = records.filter(({ sequence }) => sequence > compactedTo)
  return { log: { head, compactedTo, gaps, live, recent }, term, begun: true, anew: undefined }
}

function sameTelling(one: Batch, other: Batch): boolean {
  return (['term', 'base', 'head', 'parts'] as const).every((name) => one[name] === other[name])
}

/** Of one batch, as text, where the log is told anew. */
const PART_BYTES = 512 * 1024

/** What must be appended so that `next` is read; `reading` is what is read now. The last one makes it count. */
export function batchesFor(reading: Reading, next: RevocationLog, term: number): readonly Batch[] {
  const { log, begun } = reading
  const about = { term, base: log.head, head: next.head, compactedTo: next.compactedTo, gaps: next.gaps }
  if (begun && next.compactedTo === log.compactedTo) {
    const records = next.recent.filter(({ sequence }) => sequence > log.head)
    return [{ ...about, parts: 0, part: 0, records }]
  }
  const inForce = [...next.live.values()].filter(({ sequence }) => sequence <= next.compactedTo)
  const records = [...inForce, ...next.recent].sort((one, other) => one.sequence - other.sequence)
  const parts: LogRecord[][] = [[]]
  let bytes = 0
  for (const record of records) {
    bytes += textOf(record).length
    if (bytes > PART_BYTES) {
      parts.push([])
      bytes = textOf(record).length
    }
    parts.at(-1)?.push(record)
  }
  return parts.map((some, part) => ({ ...about, parts: parts.length, part, records: some }))
}

export function formatBatch({ records, ...about }: Batch): string {
  return [JSON.stringify({ version: 1, ...about }), ...records.map(textOf)].join('\n')
}

/** undefined: it is not ours, or damaged; then it counts for nothing, and what builds on it neither. */
export function parseBatch(text: string): Batch | undefined {
  try {
    const [about, ...records] = text.split('\n').map((line): unknown => JSON.parse(line))
    const { version, ...rest } = about as Omit<Batch, 'records'> & { readonly version: unknown }
    const { term, base, head, compactedTo, parts, part, gaps } = rest
    const whole = [term, base, head, compactedTo, parts, part].every(Number.isSafeInteger)
    if (version !== 1 || !whole || !Array.isArray(gaps)) return undefined
    return { ...rest, records: records.map(readRecord) }
  } catch {
    return undefined
  }
}
