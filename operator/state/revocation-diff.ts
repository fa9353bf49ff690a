import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Revocation } from '../../contracts/crd/revocation.ts'
import { partsOfId } from '../../contracts/fingerprint.ts'
import { Revocation as Entry } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { parseTime } from '../../contracts/time.ts'
import { type Change, KEPT_MS, ownerOf, type RevocationLog, saySame } from './revocation-log.ts'

export interface RevocationDiff {
  readonly changes: readonly Change[]
  /** By `namespace/name` of the Revocation: why what it says now is not in the log. */
  readonly problems: ReadonlyMap<string, string>
}

/** Value of `iss` of a TokenIssuer, by `namespace/name`. */
export type IssuerNamed = (key: string) => string | undefined

/**
 * What the log must be told so that it says what the objects say. An object that is gone was deleted, which admission lets only those do
 * who may relax; an object that is there but cannot be read keeps what it already denies. Recalled entries have no object and stay
 * until they expire.
 */
export function diffRevocations(
  log: RevocationLog,
  objects: readonly Revocation[],
  issuerNamed: IssuerNamed,
  at: number,
): RevocationDiff {
  const { wanted, kept, problems } = read(objects, issuerNamed, at)
  const changes: Change[] = []
  for (const { id, entry, recalled } of log.live.values()) {
    const over = entry.expiresAtMs + KEPT_MS <= at
    const orphan = !recalled && !wanted.has(id) && !kept.has(ownerOf(id))
    // One that was to last longer before it was forgotten is said anew below.
    if ((over && !wanted.has(id)) || orphan) changes.push({ op: 'remove', id })
  }
  for (const [id, entry] of wanted) {
    const known = log.live.get(id)
    // The fleet remembers that it was made to last longer: this object was restored from before that.
    if (known?.recalled && saySame(known.entry, entry) && known.entry.expiresAtMs > entry.expiresAtMs)
      continue
    if (!known || known.recalled || !same(known.entry, entry)) {
      changes.push({ op: 'add', entry, recalled: false })
    }
  }
  return { changes, problems }
}

/** Position from which on a sidecar denies everything that this Revocation says; undefined when none of its entries is in force. */
export function positionOf(log: RevocationLog, uid: string): number | undefined {
  const own = [...log.live.values()].filter(({ id, recalled }) => !recalled && id.startsWith(`${uid}/`))
  return own.length > 0 ? Math.max(...own.map(({ sequence }) => sequence)) : undefined
}

/** How much that was recalled is in force and stands in no object, whatever its name; what machines made never does. */
export function unbacked({ live }: RevocationLog, at: number): { count: number; untilMs: number } {
  const left = { count: 0, untilMs: 0 }
  const all = [...live.values()]
  const recalled = all.filter((one) => one.recalled && !partsOfId(one.id) && one.entry.expiresAtMs > at)
  if (recalled.length === 0) return left
  const backed = new Map<string, number>()
  for (const one of all) {
    if (one.recalled) continue
    const facts = factsOf(one.entry)
    backed.set(facts, Math.max(backed.get(facts) ?? 0, one.entry.expiresAtMs))
  }
  for (const { entry } of recalled) {
    if ((backed.get(factsOf(entry)) ?? 0) >= entry.expiresAtMs) continue
    left.count++
    left.untilMs = Math.max(left.untilMs, entry.expiresAtMs)
  }
  return left
}

function factsOf({ source, issuer, subject, issuedBeforeMs }: Entry): string {
  return JSON.stringify([source, issuer, subject, issuedBeforeMs])
}

interface Read {
  readonly wanted: ReadonlyMap<string, Entry>
  /** UIDs of objects that cannot be read. */
  readonly kept: ReadonlySet<string>
  readonly problems: ReadonlyMap<string, string>
}

function read(objects: readonly Revocation[], issuerNamed: IssuerNamed, at: number): Read {
  const wanted = new Map<string, Entry>()
  const kept = new Set<string>()
  const problems = new Map<string, string>()
  for (const object of objects) {
    const { namespace, name, uid, deletionTimestamp } = object.metadata
    if (deletionTimestamp !== undefined) continue
    const entries = entriesOf(object, issuerNamed)
    if (typeof entries === 'string') {
      kept.add(uid)
      problems.set(`${namespace}/${name}`, entries)
    } else {
      for (const entry of entries) if (entry.expiresAtMs + KEPT_MS > at) wanted.set(entry.id, entry)
    }
  }
  return { wanted, kept, problems }
}

function same(one: Entry, other: Entry): boolean {
  // Almost always the fields are the same ones; the encoding only tells whether what differs means anything.
  return (
    isDeepStrictEqual(one, other) ||
    Buffer.from(Entry.encode(one).finish()).equals(Entry.encode(other).finish())
  )
}

interface Known {
  readonly issuer: string
  readonly entries: readonly Entry[]
}

/** Objects do not change, and there may be thousands of entries, which are looked at after every change of the cluster. */
const knownEntries = new WeakMap<Revocation, Known>()

function entriesOf(object: Revocation, issuerNamed: IssuerNamed): readonly Entry[] | string {
  const { metadata, spec } = object
  const source = `${metadata.namespace}/${spec.issuerRef.name}`
  const issuer = issuerNamed(source)
  const known = knownEntries.get(object)
  if (known !== undefined && known.issuer === issuer) return known.entries
  if (issuer === undefined) {
    return `spec.issuerRef.name: there is no TokenIssuer ${spec.issuerRef.name} in namespace ${metadata.namespace}; create it, or delete this object`
  }
  const expiresAtMs = parseTime(spec.expiresAt)
  if (expiresAtMs === undefined || expiresAtMs <= 0) return 'spec.expiresAt: is no moment'
  const entries: Entry[] = []
  for (const [index, { type, value = '', issuedBefore }] of spec.entries.entries()) {
    const issuedBeforeMs = issuedBefore === undefined ? 0 : parseTime(issuedBefore)
    if (issuedBeforeMs === undefined) return `spec.entries[${index}].issuedBefore: is no moment`
    const facts = JSON.stringify([issuer, type, value, issuedBeforeMs])
    // By content and not by index: entries that trade places deny without a pause.
    const id = `${metadata.uid}/${createHash('sha256').update(facts).digest('hex').slice(0, 24)}`
    entries.push({ id, issuer, subject: SUBJECT[type](value), issuedBeforeMs, expiresAtMs, source })
  }
  knownEntries.set(object, { issuer, entries })
  return entries
}

type EntryType = Revocation['spec']['entries'][number]['type']

const SUBJECT: Readonly<Record<EntryType, (value: string) => Entry['subject']>> = {
  Jti: (jti) => ({ $case: 'jti', jti }),
  Sid: (sid) => ({ $case: 'sid', sid }),
  Subject: (sub) => ({ $case: 'sub', sub }),
  ClientId: (clientId) => ({ $case: 'clientId', clientId }),
  Kid: (kid) => ({ $case: 'kid', kid }),
  Tenant: (tenant) => ({ $case: 'tenant', tenant }),
  Issuer: () => ({ $case: 'everything', everything: true }),
}
