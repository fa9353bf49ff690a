import { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Outcome } from '../ports.ts'
import type { Addition, Gap, LogRecord, RevocationLog } from './revocation-log.ts'

/**
 * How the log lies in the database: in numbered segments, each an object of its own. A compaction writes a new set of segments, the
 * highest number first, and counts from the moment its lowest is there too; only then is the old set removed. So the log can be read
 * back after a crash between any two writes.
 */
export interface Segment {
  readonly number: number
  /** Lowest number of the set that this one belongs to. */
  readonly first: number
  readonly head: number
  readonly compactedTo: number
  readonly gaps: readonly Gap[]
  readonly records: readonly LogRecord[]
}

/** One write, to be done in the order given, each with compare-and-swap against what was read. */
export type Step =
  | { readonly op: 'write'; readonly segment: Segment }
  | { readonly op: 'delete'; readonly number: number }

/** Of records in one segment, as text. An object of the API server holds about a MiB. */
export const SEGMENT_BYTES = 512 * 1024

/** Reads the log back, or says which part of it is missing; then nobody may vouch for it. */
export function loadLog(segments: readonly Segment[]): Outcome<RevocationLog> {
  const set = wholeSet(segments)
  const last = set.at(-1)
  if (!last) {
    if (segments.length === 0)
      return { ok: true, value: { head: 0, compactedTo: 0, live: new Map(), recent: [], gaps: [] } }
    const numbers = segments.map(({ number }) => number).join(', ')
    return {
      ok: false,
      problems: [`segments ${numbers} of the revocation log are there, but none of their sets is whole`],
    }
  }
  const live = new Map<string, Addition>()
  const records = set.flatMap((segment) => segment.records)
  for (const record of records) {
    live.delete(record.id)
    if (record.op === 'add') live.set(record.id, record)
  }
  const recent = records.filter(({ sequence }) => sequence > last.compactedTo)
  return {
    ok: true,
    value: { head: last.head, compactedTo: last.compactedTo, live, recent, gaps: last.gaps },
  }
}

/** The newest set of which nothing is missing, in order; empty when there is none. */
function wholeSet(segments: readonly Segment[]): readonly Segment[] {
  const sets = Map.groupBy(segments, ({ first }) => first)
  for (const first of [...sets.keys()].sort((one, other) => other - one)) {
    const set = (sets.get(first) ?? []).toSorted((one, other) => one.number - other.number)
    if (set.every(({ number }, index) => number === first + index)) return set
  }
  return []
}

/** The first thing ever written: from then on there is always a set that is whole. */
const NOTHING: Segment = { number: 1, first: 1, head: 0, compactedTo: 0, gaps: [], records: [] }

/** What must be written so that `log` can be read back. Empty when it can already. */
export function planSegments(
  log: RevocationLog,
  stored: readonly Segment[],
  bytes = SEGMENT_BYTES,
): readonly Step[] {
  const set = wholeSet(stored)
  const last = set.at(-1)
  const inSet = new Set(set.map(({ number }) => number))
  const stray = stored.filter(({ number }) => !inSet.has(number))
  // Leftovers of an interrupted compaction go first: their numbers are about to be used.
  const removal = stray.map(({ number }): Step => ({ op: 'delete', number })).toReversed()
  if (!last) {
    const write: Step = { op: 'write', segment: NOTHING }
    return [...removal, write, ...planSegments(log, [NOTHING], bytes)]
  }
  if (log.compactedTo > last.compactedTo) return [...removal, ...compaction(log, set, bytes)]
  if (log.head === last.head) return removal
  const unwritten = log.recent.filter(({ sequence }) => sequence > last.head)
  const [more = [], ...others] = split(unwritten, bytes, textBytes(last.records))
  const { gaps, compactedTo } = log
  const grown = { ...last, gaps, compactedTo, records: [...last.records, ...more] }
  const added = others.map((records, index) => ({ ...grown, number: last.number + 1 + index, records }))
  const segments = [grown, ...added]
  return [
    ...removal,
    ...segments.map((segment, index): Step => {
      // Each promises only what is written once it is: whoever reads in between finds a shorter log, never one with a hole.
      const reached = Math.max(last.head, segment.records.at(-1)?.sequence ?? 0)
      const head = index === segments.length - 1 ? log.head : reached
      return { op: 'write', segment: { ...segment, head } }
    }),
  ]
}

function compaction(log: RevocationLog, old: readonly Segment[], bytes: number): readonly Step[] {
  const first = (old.at(-1)?.number ?? 0) + 1
  const inForce = [...log.live.values()].filter(({ sequence }) => sequence <= log.compactedTo)
  const records = [...inForce, ...log.recent].sort((one, other) => one.sequence - other.sequence)
  const writes = split(records, bytes, 0).map((part, index): Step => {
    const { head, compactedTo, gaps } = log
    return {
      op: 'write',
      segment: { number: first + index, first, head, compactedTo, gaps, records: part },
    }
  })
  return [...writes.toReversed(), ...old.map(({ number }): Step => ({ op: 'delete', number }))]
}

/** At least one part; the first has `used` bytes already. */
function split(
  records: readonly LogRecord[],
  bytes: number,
  used: number,
): readonly (readonly LogRecord[])[] {
  const parts: LogRecord[][] = [[]]
  let size = used
  for (const record of records) {
    const more = textOf(record).length
    if (size + more > bytes && size > 0) {
      parts.push([])
      size = 0
    }
    parts.at(-1)?.push(record)
    size += more
  }
  return parts
}

function textBytes(records: readonly LogRecord[]): number {
  return records.reduce((sum, record) => sum + textOf(record).length, 0)
}

const texts = new WeakMap<LogRecord, string>()
export function textOf(record: LogRecord): string {
  const known = texts.get(record)
  if (known !== undefined) return known
  const { sequence, id } = record
  const text = JSON.stringify(
    record.op === 'remove'
      ? { sequence, op: 'remove', id }
      : {
          sequence,
          op: 'add',
          id,
          recalled: record.recalled,
          entry: Buffer.from(Revocation.encode(record.entry).finish()).toString('base64'),
        },
  )
  texts.set(record, text)
  return text
}

/** Text of a segment, one record a line after a first line about the whole. */
export function formatSegment({ records, ...about }: Segment): string {
  return [JSON.stringify({ version: 1, ...about }), ...records.map(textOf)].join('\n')
}

/** Reads what `formatSegment` wrote. What it does not understand is a problem and not an empty segment. */
export function parseSegment(text: string): Outcome<Segment> {
  try {
    const [about, ...records] = text.split('\n').map((line): unknown => JSON.parse(line))
    const { version, ...rest } = about as Omit<Segment, 'records'> & { readonly version: unknown }
    const whole = [rest.number, rest.first, rest.head, rest.compactedTo].every(Number.isSafeInteger)
    if (version !== 1 || !whole || !Array.isArray(rest.gaps)) throw new Error('its first line is not ours')
    return { ok: true, value: { ...rest, records: records.map(readRecord) } }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'unknown'
    return { ok: false, problems: [`a segment of the revocation log cannot be read: ${why}`] }
  }
}

export function readRecord(value: unknown): LogRecord {
  const record = value as Readonly<Record<string, unknown>>
  const { sequence, op, id, recalled, entry } = record
  if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence) || typeof id !== 'string')
    throw new Error('a record has no position or id')
  if (op === 'remove') return { op, sequence, id }
  if (op !== 'add' || typeof entry !== 'string') throw new Error('a record is neither added nor removed')
  return {
    op,
    sequence,
    id,
    recalled: recalled === true,
    entry: Revocation.decode(Buffer.from(entry, 'base64')),
  }
}
