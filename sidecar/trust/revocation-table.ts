import { aboutOf, subjectValue } from '../../contracts/fingerprint.ts'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Reason } from '../decision.ts'
import type { Revocable } from '../principal.ts'
import type { Moment } from '../request.ts'
import { type CompactKinds, createCompactTable, isFingerprinted } from './revocation-compact.ts'
import type { RevocationKind } from './revocation-wire.ts'

/** Entries by id, and by what a token says. */
export interface RevocationTable {
  put(entry: Revocation): void
  remove(id: string): void
  /** A full set begins: from now on it is remembered what was put and not removed. */
  refill(): void
  /** The full set is complete: what it did not name is forgotten. */
  refilled(): void
  sweep(at: Moment): void
  size(): number
  entries(): Iterable<Revocation>
  /** What there is after these were put; `replacing` all others. */
  grownBy(entries: readonly Revocation[], replacing: boolean): Extent
  against(who: Revocable, token: TokenFacts, at: Moment): Reason | undefined
}

/** Entries in all, those of them that are kept with id and text, and the characters of these. */
export interface Extent {
  readonly entries: number
  readonly named: number
  readonly characters: number
}

/** What counts of a token besides its principal. */
export interface TokenFacts {
  /** The TokenIssuer for which its `iss` is believed here (`Issuer.source`): what another says about the same `iss` does not count. */
  readonly source: string
  readonly sid: unknown
}

type SpokenKind = Exclude<RevocationKind, 'fingerprint'>

interface Row {
  readonly kind: SpokenKind
  readonly reason: Reason
  readonly value: (who: Revocable, sid: unknown) => string | undefined
}

/** Which value of a token each kind of entry looks at, in the order in which reasons are given. */
const ROWS: readonly Row[] = [
  { kind: 'kid', reason: 'kid_revoked', value: (who) => who.kid },
  { kind: 'jti', reason: 'revoked_jti', value: (who) => who.jti },
  { kind: 'sid', reason: 'revoked_sid', value: (_who, sid) => (typeof sid === 'string' ? sid : undefined) },
  { kind: 'sub', reason: 'revoked_sub', value: (who) => who.subject },
  { kind: 'clientId', reason: 'revoked_client', value: (who) => who.clientId },
  { kind: 'tenant', reason: 'revoked_tenant', value: (who) => who.tenant },
  { kind: 'everything', reason: 'revoked_issued_before', value: () => '' },
]

/** How long an expired entry is still kept: longer than the wall clock may step back without being noticed. */
const KEPT_MS = 60_000

type ByValue = Map<string, Revocation[]>
type ByKind = Map<RevocationKind, ByValue>

/** People's entries are kept as they were told, machines' by fingerprint (`revocation-compact.ts`); both count. */
export function createRevocationTable(): RevocationTable {
  const named = createNamedEntries()
  const compact = createCompactTable(keyOf)
  let seen: Set<string> | undefined

  const remove = (id: string): void => {
    seen?.delete(id)
    named.remove(id)
    compact.remove(id)
  }
  return {
    remove,
    put(entry) {
      const about = aboutOf(entry)
      named.remove(entry.id)
      if (about) return compact.put(entry, about)
      compact.remove(entry.id)
      named.put(entry)
      seen?.add(entry.id)
    },
    refill() {
      seen = new Set()
      compact.age()
    },
    refilled() {
      for (const id of named.ids()) if (!seen?.has(id)) named.remove(id)
      compact.dropOld()
      seen = undefined
    },
    sweep(at) {
      named.sweep(at)
      compact.sweep(at - KEPT_MS)
    },
    size: () => named.size() + compact.size,
    *entries() {
      yield* named.entries()
      yield* compact.entries()
    },
    grownBy(entries, replacing) {
      const fresh = new Map(entries.map((entry) => [entry.id, entry]))
      const kept = replacing ? NOTHING : { ...named.extent(), entries: named.size() + compact.size }
      let { entries: count, named: texts, characters } = kept
      for (const entry of fresh.values()) {
        const about = aboutOf(entry)
        const old = replacing ? undefined : named.get(entry.id)
        const known = old !== undefined || (!replacing && about !== undefined && compact.has(about))
        count += known ? 0 : 1
        texts += Number(!about) - Number(old !== undefined)
        characters += (about ? 0 : sizeOf(entry)) - (old ? sizeOf(old) : 0)
      }
      return { entries: count, named: texts, characters }
    },
    against(who, { source, sid }, at) {
      const kinds = named.of(source, who.issuer)
      const machines = compact.of(source, who.issuer)
      if (!kinds && !machines) return undefined
      return ROWS.find((row) => meets(row, { kinds, machines, who, sid, at }))?.reason
    },
  }
}

interface Meeting {
  readonly kinds: ByKind | undefined
  readonly machines: CompactKinds | undefined
  readonly who: Revocable
  readonly sid: unknown
  readonly at: Moment
}

function meets({ kind, value }: Row, { kinds, machines, who, sid, at }: Meeting): boolean {
  const values = kinds?.get(kind)
  const made = isFingerprinted(kind) && machines?.has(kind) ? { kind, machines } : undefined
  if (!values && !made) return false
  const text = value(who, sid)
  if (text === undefined) return false
  return (
    values?.get(text)?.some((entry) => strikes(entry, who, at)) === true ||
    made?.machines.strikes(made.kind, text, who.issuedAt, at) === true
  )
}

const NOTHING: Extent = { entries: 0, named: 0, characters: 0 }

interface NamedEntries {
  put(entry: Revocation): void
  remove(id: string): void
  get(id: string): Revocation | undefined
  ids(): Iterable<string>
  entries(): Iterable<Revocation>
  size(): number
  extent(): Pick<Extent, 'named' | 'characters'>
  sweep(at: Moment): void
  of(source: string, issuer: string): ByKind | undefined
}

function createNamedEntries(): NamedEntries {
  const byId = new Map<string, Revocation>()
  // By source and issuer: what others say about the same `iss` costs no lookup here either.
  const byIssuer = new Map<string, ByKind>()
  let characters = 0
  let earliest = Number.POSITIVE_INFINITY

  const remove = (id: string): void => {
    const entry = byId.get(id)
    if (!entry) return
    byId.delete(id)
    characters -= sizeOf(entry)
    unlist(byIssuer, entry)
  }
  return {
    remove,
    put(entry) {
      remove(entry.id)
      byId.set(entry.id, entry)
      characters += sizeOf(entry)
      earliest = Math.min(earliest, entry.expiresAtMs)
      list(byIssuer, entry)
    },
    get: (id) => byId.get(id),
    ids: () => byId.keys(),
    entries: () => byId.values(),
    size: () => byId.size,
    extent: () => ({ named: byId.size, characters }),
    sweep(at) {
      if (at < earliest + KEPT_MS) return
      earliest = Number.POSITIVE_INFINITY
      for (const entry of byId.values()) {
        if (at >= entry.expiresAtMs + KEPT_MS) remove(entry.id)
        else earliest = Math.min(earliest, entry.expiresAtMs)
      }
    },
    of: (source, issuer) => byIssuer.get(keyOf(source, issuer)),
  }
}

// `iat` is in whole seconds: a token of the very second of the entry is meant as well.
function strikes({ issuedBeforeMs, expiresAtMs }: Revocation, { issuedAt }: Revocable, at: Moment): boolean {
  return at < expiresAtMs && (issuedBeforeMs === 0 || issuedAt * 1000 <= issuedBeforeMs)
}

function list(byIssuer: Map<string, ByKind>, entry: Revocation): void {
  const { source, issuer, subject } = entry
  if (!subject) return
  const key = keyOf(source, issuer)
  const kinds: ByKind = byIssuer.get(key) ?? new Map()
  const values: ByValue = kinds.get(subject.$case) ?? new Map()
  const value = subjectValue(subject)
  const listed = values.get(value)
  if (listed) listed.push(entry)
  else values.set(value, [entry])
  kinds.set(subject.$case, values)
  byIssuer.set(key, kinds)
}

// With the length in front no two pairs have one key, whatever characters they are made of.
function keyOf(source: string, issuer: string): string {
  return `${source.length}/${source}${issuer}`
}

// Empty maps go, so that a sidecar without revocations looks nothing up.
function unlist(byIssuer: Map<string, ByKind>, { id, source, issuer, subject }: Revocation): void {
  if (!subject) return
  const key = keyOf(source, issuer)
  const kinds = byIssuer.get(key)
  const values = kinds?.get(subject.$case)
  if (!kinds || !values) return
  const value = subjectValue(subject)
  const left = (values.get(value) ?? []).filter((entry) => entry.id !== id)
  if (left.length > 0) values.set(value, left)
  else values.delete(value)
  if (values.size === 0) kinds.delete(subject.$case)
  if (kinds.size === 0) byIssuer.delete(key)
}

/** Characters of what an entry says. */
export function sizeOf({ id, source, issuer, subject }: Revocation): number {
  return id.length + source.length + issuer.length + (subject ? subjectValue(subject).length : 0)
}
