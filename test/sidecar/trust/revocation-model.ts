import { subjectValue } from '../../../contracts/fingerprint.ts'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Reason } from '../../../sidecar/decision.ts'
import type { Principal } from '../../../sidecar/principal.ts'
import type { Moment } from '../../../sidecar/request.ts'
import type { RevocationKind } from '../../../sidecar/trust/revocation-wire.ts'

/** Entries by id, and by what a token says. */
export interface RevocationTable {
  put(entry: Revocation): void
  remove(id: string): void
  keepOnly(ids: ReadonlySet<string>): void
  sweep(at: Moment): void
  size(): number
  entries(): Iterable<Revocation>
  /** Entries and characters after these were put; `replacing` all others. */
  grownBy(
    entries: readonly Revocation[],
    replacing: boolean,
  ): { readonly entries: number; readonly characters: number }
  against(who: Principal, token: TokenFacts, at: Moment): Reason | undefined
}

/** What counts of a token besides its principal. */
export interface TokenFacts {
  /** The TokenIssuer for which its `iss` is believed here (`Issuer.source`): what another says about the same `iss` does not count. */
  readonly source: string
  readonly sid: unknown
}

/** Which value of a token each kind of entry looks at, in the order in which reasons are given. */
const ROWS: readonly {
  readonly kind: RevocationKind
  readonly reason: Reason
  readonly value: (who: Principal, sid: unknown) => string | undefined
}[] = [
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

export function createRevocationTable(): RevocationTable {
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
    keepOnly(ids) {
      for (const id of byId.keys()) if (!ids.has(id)) remove(id)
    },
    sweep(at) {
      if (at < earliest + KEPT_MS) return
      earliest = Number.POSITIVE_INFINITY
      for (const entry of byId.values()) {
        if (at >= entry.expiresAtMs + KEPT_MS) remove(entry.id)
        else earliest = Math.min(earliest, entry.expiresAtMs)
      }
    },
    size: () => byId.size,
    entries: () => byId.values(),
    grownBy(entries, replacing) {
      const fresh = new Map(entries.map((entry) => [entry.id, entry]))
      let grown = { entries: replacing ? 0 : byId.size, characters: replacing ? 0 : characters }
      for (const entry of fresh.values()) {
        const old = replacing ? undefined : byId.get(entry.id)
        grown = {
          entries: grown.entries + (old ? 0 : 1),
          characters: grown.characters + sizeOf(entry) - (old ? sizeOf(old) : 0),
        }
      }
      return grown
    },
    against(who, { source, sid }, at) {
      const kinds = byIssuer.get(keyOf(source, who.issuer))
      if (!kinds) return undefined
      for (const { kind, reason, value } of ROWS) {
        const values = kinds.get(kind)
        const named = values && value(who, sid)
        if (named !== undefined && values?.get(named)?.some((entry) => strikes(entry, who, at))) return reason
      }
      return undefined
    },
  }
}

// `iat` is in whole seconds: a token of the very second of the entry is meant as well.
function strikes({ issuedBeforeMs, expiresAtMs }: Revocation, { issuedAt }: Principal, at: Moment): boolean {
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
