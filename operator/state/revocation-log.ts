import { createHash } from 'node:crypto'
import { partsOfId } from '../../contracts/fingerprint.ts'
import { Revocation, type Revocations } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { heldBy, keepHeld, overfull, type Room, roomOf, sizeOf, tally } from './revocation-rooms.ts'

/**
 * Deny facts in the order in which they came into force: an append-only log, told to sidecars by position. Everything here is pure;
 * whoever persists a log (`revocation-segments.ts`) does so before anybody is told of it.
 */
export interface RevocationLog {
  /** Highest position ever given out. Never goes backwards. */
  readonly head: number
  /** Up to here only what is in force is remembered: who stands before it is told everything instead of a difference. */
  readonly compactedTo: number
  /** In force, by id; the record that added it last. */
  readonly live: ReadonlyMap<string, Addition>
  /** Every record after `compactedTo`, in order. */
  readonly recent: readonly LogRecord[]
  /** Ranges in which this log never stood, the lowest first. A sidecar that stands there knows what we have forgotten. */
  readonly gaps: readonly Gap[]
}

/** Positions strictly between the two. */
export interface Gap {
  readonly after: number
  readonly before: number
}

export type LogRecord = Addition | Removal

export interface Addition {
  readonly op: 'add'
  readonly sequence: number
  readonly id: string
  readonly entry: Revocation
  /** Told by the fleet after the database had forgotten it; no object stands behind it, so none can vanish. */
  readonly recalled: boolean
}

export interface Removal {
  readonly op: 'remove'
  readonly sequence: number
  readonly id: string
}

export type Change =
  | { readonly op: 'add'; readonly entry: Revocation; readonly recalled: boolean }
  | { readonly op: 'remove'; readonly id: string }

/** Of what is in force, of each room (`revocation-rooms.ts`). */
export interface LogLimits {
  readonly entries: number
  /** Encoded. */
  readonly bytes: number
}

/** What the objects of the API server may carry, and every sidecar holds in memory. */
export const LOG_LIMITS: LogLimits = { entries: 20_000, bytes: 4 * 1024 * 1024 }

/** Of one message: the contract's bound, and a size that every transport takes. */
export const MESSAGE_LIMITS: LogLimits = { entries: 4096, bytes: 1024 * 1024 }

/** How far at most a new leader moves away from the positions of whoever led before it. */
export const TERM_GAP = 8192

const GAPS = 64

export const EMPTY_LOG: RevocationLog = { head: 0, compactedTo: 0, live: new Map(), recent: [], gaps: [] }

export type Appended =
  | { readonly ok: true; readonly log: RevocationLog }
  /** Nothing was appended. */
  | { readonly ok: false; readonly why: string }

/**
 * Appends all changes or, when the log would outgrow its limits, none. Removals are always taken, and whatever is in force may change
 * its room. What was recalled has a room of its own: nobody can vouch for it, and it must keep nothing out that people or machines add.
 */
export function append(
  log: RevocationLog,
  changes: readonly Change[],
  limits: LogLimits | 'none' = LOG_LIMITS,
): Appended {
  // One record an id: half of a change that was interrupted must never be a removal that nobody meant.
  const once = [...new Map(changes.map((change) => [idOf(change), change])).values()]
  if (once.length === 0) return { ok: true, log }
  const live = new Map(log.live)
  const held = heldBy(log.live)
  const grown = new Set<Room>()
  const records = once.map((change, index): Addition | Removal => {
    const sequence = log.head + 1 + index
    const old = live.get(idOf(change))
    if (old) tally(held, old, -1)
    if (change.op === 'remove') {
      live.delete(change.id)
      return { op: 'remove', sequence, id: change.id }
    }
    const { entry, recalled } = change
    const addition: Addition = { op: 'add', sequence, id: entry.id, entry, recalled }
    live.set(entry.id, addition)
    tally(held, addition, 1)
    const room = roomOf(addition)
    if (room !== 'recalled' || !old) grown.add(room)
    return addition
  })
  keepHeld(live, held)
  const [why] =
    limits === 'none' ? [] : [...grown].flatMap((room) => overfull(held[room], room, limits) ?? [])
  if (why) return { ok: false, why }
  const recent = [...log.recent, ...records]
  return { ok: true, log: { ...log, head: log.head + records.length, live, recent } }
}

export const idOf = (change: Change): string => (change.op === 'add' ? change.entry.id : change.id)

/** UID of the object that an entry is of: its id begins with it. */
export const ownerOf = (id: string): string => id.slice(0, id.indexOf('/'))

/**
 * Leaves a gap after whatever a former leader wrote: a database restored to an older state has forgotten the end of that, and positions
 * of the forgotten end fall into the gap (`knows`) instead of being taken for ours. The gap is a matter of chance (uniform in [0, 1)), so
 * that two terms which begin at the same restored state give out different positions.
 */
export function beginTerm(log: RevocationLog, chance: number): RevocationLog {
  return leap(log, log.head + 2 + Math.floor(chance * TERM_GAP))
}

function leap(log: RevocationLog, head: number): RevocationLog {
  const gaps = [...log.gaps, { after: log.head, before: head }]
  const [first, second, ...others] = gaps
  // Joined, the two oldest cover positions that were ours: sidecars there are asked needlessly, none is believed wrongly.
  const bounded =
    gaps.length > GAPS && first && second ? [{ after: first.after, before: second.before }, ...others] : gaps
  return { ...log, head, gaps: bounded }
}

/** Whether this log ever stood at that position, as far as it can tell. */
export function knows(log: RevocationLog, position: number): boolean {
  return position <= log.head && !log.gaps.some(({ after, before }) => after < position && position < before)
}

/** Milliseconds for which what has expired is kept: a token is tolerated for at most as long after its end (TokenIssuer, clockSkew). */
export const KEPT_MS = 60_000

/** Forgets what has expired or was removed. The head stays; whoever stands before `compactedTo` is told everything. */
export function compact(log: RevocationLog, at: number): RevocationLog {
  const live = new Map([...log.live].filter(([, { entry }]) => entry.expiresAtMs + KEPT_MS > at))
  return { ...log, compactedTo: log.head, live, recent: [] }
}

/** Whether compaction is worth its writes: records that no longer say anything outnumber those that do. */
export function worthCompacting(log: RevocationLog): boolean {
  let additions = 0
  for (const { sequence } of log.live.values()) if (sequence > log.compactedTo) additions++
  return log.recent.length - additions > Math.max(256, log.live.size)
}

/**
 * What a sidecar at that position lacks, in messages that build on each other; when that cannot be told as a difference everything in
 * force, beginning with base 0. Empty when it lacks nothing.
 */
export function entriesSince(
  log: RevocationLog,
  position: number,
  limits = MESSAGE_LIMITS,
): readonly Revocations[] {
  const whole = position === 0 || position < log.compactedTo || !knows(log, position)
  if (!whole && position === log.head) return []
  const records = whole ? inOrder(log) : log.recent.filter((record) => record.sequence > position)
  const parts: Revocations[] = []
  let part = { entries: [] as Revocation[], removed: [] as string[], bytes: 0 }
  let base = whole ? 0 : position
  const close = (head: number): void => {
    parts.push({ base, head, entries: part.entries, removed: part.removed })
    part = { entries: [], removed: [], bytes: 0 }
    base = head
  }
  let reached = base
  for (const record of records) {
    const last = log.live.get(record.id)
    const bytes = record.op === 'add' ? sizeOf(record.entry) : record.id.length + 4
    const count = part.entries.length + part.removed.length
    if (count > 0 && (count >= limits.entries || part.bytes + bytes > limits.bytes)) close(reached)
    if (record.op === 'add' && last?.sequence === record.sequence) part.entries.push(record.entry)
    else if (record.op === 'remove' && !last) part.removed.push(record.id)
    else continue
    part.bytes += bytes
    reached = record.sequence
  }
  close(log.head)
  return parts
}

function inOrder({ live }: RevocationLog): readonly Addition[] {
  return [...live.values()].sort((one, other) => one.sequence - other.sequence)
}

/**
 * Takes in what the fleet knows and we have forgotten, and moves above every position that the fleet has seen. Afterwards every sidecar
 * is told everything, for positions before the merge may mean two things. Who recalls says what is denied, never what no longer is: an
 * entry that bears the id of another one and says something else stands beside it.
 */
export function merge(
  log: RevocationLog,
  recalled: readonly { readonly head: number; readonly entries: readonly Revocation[] }[],
  limits: LogLimits | 'none' = LOG_LIMITS,
): Appended {
  const missing = new Map<string, Revocation>()
  for (const { entries } of recalled) {
    const find = (id: string): Revocation | undefined => missing.get(id) ?? log.live.get(id)?.entry
    for (const told of entries) {
      const entry = toKeep(told, find)
      if (entry) missing.set(entry.id, entry)
    }
  }
  const seen = Math.max(0, ...recalled.map(({ head }) => head))
  if (missing.size === 0 && seen <= log.head) return { ok: true, log }
  const above = leap(log, Math.max(log.head, seen) + TERM_GAP + 2)
  const changes = [...missing.values()].map((entry): Change => ({ op: 'add', entry, recalled: true }))
  const merged = append(above, changes, limits)
  if (!merged.ok) return merged
  return { ok: true, log: { ...merged.log, compactedTo: merged.log.head, recent: [] } }
}

/** The entry to be stored for what was told; undefined when what is known denies as much. */
function toKeep(told: Revocation, find: (id: string) => Revocation | undefined): Revocation | undefined {
  const namesake = find(told.id)
  if (partsOfId(told.id)) {
    const joined = namesake ? joinMade(namesake, told) : told
    return joined === namesake ? undefined : joined
  }
  const apart = told.id.startsWith(APART) || (namesake !== undefined && !saySame(namesake, told))
  const entry = apart ? { ...told, id: idApart(told) } : told
  const known = find(entry.id)
  // Of two that differ in when they end, the later one denies what the other does, and more.
  return !known || known.expiresAtMs < entry.expiresAtMs ? entry : undefined
}

/**
 * One entry that denies what both do: of a value there is only one that machines make, and its id says which. The text is kept where
 * either has it.
 */
export function joinMade(known: Revocation, told: Revocation): Revocation {
  const forever = known.issuedBeforeMs === 0 || told.issuedBeforeMs === 0
  const issuedBeforeMs = forever ? 0 : Math.max(known.issuedBeforeMs, told.issuedBeforeMs)
  const expiresAtMs = Math.max(known.expiresAtMs, told.expiresAtMs)
  const subject = known.subject?.$case === 'fingerprint' ? told.subject : known.subject
  const same =
    issuedBeforeMs === known.issuedBeforeMs && expiresAtMs === known.expiresAtMs && subject === known.subject
  return same ? known : { ...known, subject, issuedBeforeMs, expiresAtMs }
}

/** Ids that are made of what the entry says, so that no two that say different things share one. */
const APART = 'recalled/'

function idApart(entry: Revocation): string {
  return `${APART}${createHash('sha256').update(saying(entry)).digest('hex')}`
}

/** Whether both deny the same, be it for different times. */
export function saySame(one: Revocation, other: Revocation): boolean {
  return saying(one).equals(saying(other))
}

function saying(entry: Revocation): Buffer {
  return Buffer.from(Revocation.encode({ ...entry, id: '', expiresAtMs: 0 }).finish())
}
