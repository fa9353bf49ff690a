import { made, partsOfId } from '../../contracts/fingerprint.ts'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { type Addition, type Change, joinMade, type LogLimits, type RevocationLog } from './revocation-log.ts'
import { sizeOf } from './revocation-rooms.ts'

/** What machines may have the log hold. */
export const MADE_LIMITS = {
  /** Of one question. */
  entries: 16,
  value: 512,
  /** Part of their room, entries and bytes, that the machines of one namespace may fill: four of them fill it. */
  share: 0.25,
  /** How far ahead an entry may end: the longest life of a token with the largest tolerated skew. */
  lifetimeMs: (86_400 + 300) * 1000,
} as const

/** Under which machines put what they make: one entry a value, and no object stands behind it. `made` gives the id. */
const NO_OBJECT = { op: 'add', recalled: true } as const

/**
 * What must be appended so that all of it is denied: nothing for what is denied already. An entry about a value of which the log has
 * one takes its place and denies what both do.
 */
export function changesFor(log: RevocationLog, entries: readonly Revocation[]): readonly Change[] {
  const wanted = new Map<string, Revocation>()
  for (const told of entries) {
    const entry = made(told)
    if (!entry) continue
    const known = wanted.get(entry.id) ?? log.live.get(entry.id)?.entry
    const joined = known ? joinMade(known, entry) : entry
    if (joined !== known) wanted.set(entry.id, joined)
  }
  return [...wanted.values()].map((entry) => ({ ...NO_OBJECT, entry }))
}

/** Why a namespace may not add these; undefined when it may. Whoever shortens no list cannot fill the log for others. */
export function overShare(
  log: RevocationLog,
  changes: readonly Change[],
  limits: LogLimits,
): string | undefined {
  const added = changes.flatMap((change) =>
    change.op === 'add' && !log.live.has(change.entry.id) ? [change.entry] : [],
  )
  return overBy(log.live.values(), added, partOf(limits, MADE_LIMITS.share))
}

/**
 * Why the machines of a namespace cannot have made all that was recalled for them. Twice the share: between a restore and what was
 * recalled after it they may have filled theirs anew.
 */
export function overRecalled(
  before: RevocationLog,
  after: RevocationLog,
  limits: LogLimits,
): string | undefined {
  const added = [...after.live.values()].flatMap(({ id, entry }) => (before.live.has(id) ? [] : [entry]))
  const made = added.filter(({ id }) => partsOfId(id) !== undefined)
  return overBy(before.live.values(), made, partOf(limits, MADE_LIMITS.share * 2))
}

function partOf({ entries, bytes }: LogLimits, share: number): LogLimits {
  return { entries: Math.floor(entries * share), bytes: Math.floor(bytes * share) }
}

function overBy(live: Iterable<Addition>, added: readonly Revocation[], most: LogLimits): string | undefined {
  const held = new Map(added.map((entry) => [namespaceOf(entry), { entries: 0, bytes: 0 }]))
  const count = (entry: Revocation) => {
    const own = held.get(namespaceOf(entry))
    if (!own) return
    own.entries++
    own.bytes += sizeOf(entry)
  }
  for (const entry of added) count(entry)
  if (held.size > 0) for (const { id, entry } of live) if (id.startsWith('m/')) count(entry)
  for (const [namespace, { entries, bytes }] of held) {
    const full =
      entries > most.entries ? `${most.entries} entries` : bytes > most.bytes && `${most.bytes} bytes`
    if (full)
      return `namespace ${namespace} has ${full} in the log that machines made, and may have no more; they go when they expire`
  }
  return undefined
}

export function namespaceOf({ source }: Revocation): string {
  return source.slice(0, source.indexOf('/'))
}

/**
 * An entry as a sidecar may ask for it, under the TokenIssuer that it believes for that `iss`: it names a token or a session, or
 * everything that a subject or client was given before now. A text: why not.
 */
export function askedFor(
  { issuer, subject, issuedBeforeMs, expiresAtMs }: Revocation,
  source: string | undefined,
  at: number,
): Revocation | string {
  if (source === undefined) return 'this workload believes no such issuer'
  const form = FORMS.find(({ kind }) => kind === subject?.$case)
  if (!form || !subject) return 'only a jti, sid, sub or client_id can be revoked by a sidecar'
  const value = form.value(subject)
  if (value.length === 0 || value.length > MADE_LIMITS.value)
    return `${form.kind}: must be 1 to ${MADE_LIMITS.value} characters`
  // What is yet to be issued is nobody's to forbid: a subject that logs in again must get in.
  const before = Math.min(issuedBeforeMs, at)
  if (form.needsBefore && before <= 0) return `${form.kind}: needs issued_before_ms`
  if (!(expiresAtMs > at)) return 'expires_at_ms: has passed'
  const until = Math.min(expiresAtMs, at + MADE_LIMITS.lifetimeMs)
  return {
    id: '',
    source,
    issuer,
    subject,
    issuedBeforeMs: form.needsBefore ? before : 0,
    expiresAtMs: until,
  }
}

type Subject = NonNullable<Revocation['subject']>

const FORMS: readonly {
  readonly kind: 'jti' | 'sid' | 'sub' | 'clientId'
  readonly needsBefore: boolean
  readonly value: (subject: Subject) => string
}[] = [
  { kind: 'jti', needsBefore: false, value: (one) => (one.$case === 'jti' ? one.jti : '') },
  { kind: 'sid', needsBefore: false, value: (one) => (one.$case === 'sid' ? one.sid : '') },
  { kind: 'sub', needsBefore: true, value: (one) => (one.$case === 'sub' ? one.sub : '') },
  { kind: 'clientId', needsBefore: true, value: (one) => (one.$case === 'clientId' ? one.clientId : '') },
]
