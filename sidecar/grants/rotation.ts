import {
  bindingOf,
  type FamilyFacts,
  type Issued,
  openFacts,
  openIssued,
  openUsed,
  sealIssued,
  sealUsed,
  type Used,
} from './family-records.ts'
import type { FamilyStore, Found, Taken, Taking } from './family-store.ts'
import { digest, type RandomBytes } from './seal.ts'

/** Rotations of one family; after them its user signs in again. It bounds what a family may take in a store, about 200 bytes for each. */
export const MOST_ROTATIONS = 4_096
export const MOST_GRACE_MS = 30_000

export interface Rotation {
  readonly family: string
  readonly presented: Buffer
  readonly next: Buffer
  readonly binding: Buffer
  readonly graceMs: number
  /** Of the client that presents the token; FINGERPRINT_BYTES at most, empty when it is not told. */
  readonly fingerprint: Buffer
}

export type RefusalReason = 'replay' | 'unknown' | 'expired' | 'revoked' | 'reauthenticate' | 'binding'

export type RotationOutcome =
  | { readonly outcome: 'rotated'; readonly sequence: number; readonly facts: FamilyFacts }
  | { readonly outcome: 'retry'; readonly successor: Buffer; readonly facts: FamilyFacts }
  | { readonly outcome: 'refused'; readonly reason: RefusalReason }
  | { readonly outcome: 'unavailable' }

/** One token, two users. */
export interface Replayed {
  readonly facts: FamilyFacts
  /** Fingerprints of who used the token when it was good, and of who came with it now. */
  readonly usedBy: Buffer
  readonly presentedBy: Buffer
}

export interface RotationNeeds {
  readonly store: FamilyStore
  readonly wall: () => number
  readonly chance: RandomBytes
  /** Ends the family and the access tokens of its subject. */
  readonly endReplayed: (family: Buffer, replayed: Replayed) => Promise<RotationOutcome>
}

/** A token of a family as it is known, opened. */
type Standing =
  | { readonly state: 'issued'; readonly issued: Issued; readonly facts: FamilyFacts }
  | { readonly state: 'used'; readonly used: Used; readonly facts: FamilyFacts }

/** What one presentation of a refresh token comes to. */
export async function rotate(
  needs: RotationNeeds,
  asked: Rotation,
  signal: AbortSignal,
): Promise<RotationOutcome> {
  const question = { ...asked, id: digest(Buffer.from(asked.family)) }
  const first = await present(needs, question, signal)
  // Who loses the race for a token finds it used, and then it is a used token like any other.
  const outcome = first === 'lost' ? await present(needs, question, signal) : first
  return outcome === 'lost' ? refused('revoked') : outcome
}

/** A rotation with the digest of its family. */
type Asked = Rotation & { readonly id: Buffer }

async function present(
  needs: RotationNeeds,
  asked: Asked,
  signal: AbortSignal,
): Promise<RotationOutcome | 'lost'> {
  const found = await needs.store.find(asked.id, digest(asked.presented), signal)
  if (found === 'unavailable') return UNAVAILABLE
  if (found === 'unknown') return refused('unknown')
  const standing = standingOf(found, asked.id, asked.presented)
  if (!standing) return refused(unopened(found))
  if (standing.state === 'used') return again(needs, asked, { found, standing }, signal)
  const refusal = obstacle(found, standing, asked, needs.wall())
  if (refusal) return refused(refusal)
  const taken = await needs.store.take(asked.id, takingOf(needs, asked, standing), signal)
  return taken === 'won'
    ? { outcome: 'rotated', sequence: standing.issued.sequence + 1, facts: standing.facts }
    : LOST[taken]
}

const UNAVAILABLE = { outcome: 'unavailable' } as const

const LOST: Readonly<Record<Exclude<Taken, 'won'>, RotationOutcome | 'lost'>> = {
  lost: 'lost',
  ended: 'lost',
  stray: { outcome: 'refused', reason: 'unknown' },
  unavailable: UNAVAILABLE,
}

function refused(reason: RefusalReason): RotationOutcome {
  return { outcome: 'refused', reason }
}

// No record of this token, or one that we did not write.
function unopened({ ended, issued, used }: Found): RefusalReason {
  if (issued || used) return 'reauthenticate'
  return ended ? ENDED[ended] : 'unknown'
}

const ENDED = {
  replay: 'revoked',
  revoked: 'revoked',
  gap: 'reauthenticate',
  unreadable: 'reauthenticate',
} as const satisfies Record<NonNullable<Found['ended']>, RefusalReason>

export function standingOf(
  { facts: sealed, issued, used }: Found,
  family: Buffer,
  token: Buffer,
): Standing | undefined {
  const spent = used && openUsed(token, family, used)
  const valid = !used && issued ? openIssued(token, family, issued) : undefined
  const secret = spent?.secret ?? valid?.secret
  const facts = secret && sealed ? openFacts(secret, family, sealed) : undefined
  if (!facts) return undefined
  if (spent) return { state: 'used', used: spent, facts }
  return valid && { state: 'issued', issued: valid, facts }
}

function obstacle(
  { ended }: Found,
  { issued, facts }: Extract<Standing, { state: 'issued' }>,
  { binding }: Rotation,
  at: number,
): RefusalReason | undefined {
  if (ended) return ENDED[ended]
  if (at >= facts.expiresAtMs) return 'expired'
  if (facts.binding !== bindingOf(binding)) return 'binding'
  return issued.sequence >= MOST_ROTATIONS ? 'reauthenticate' : undefined
}

function takingOf(
  { chance, wall }: RotationNeeds,
  { id, presented, next, graceMs, fingerprint: by }: Asked,
  { issued, facts }: Extract<Standing, { state: 'issued' }>,
): Taking {
  const { secret, sequence, parent } = issued
  const token = digest(presented)
  const successor = digest(next)
  const again = graceMs > 0 ? { successor: next, untilMs: wall() + graceMs } : undefined
  return {
    token,
    used: sealUsed(presented, id, { secret, by, successor, again }, chance),
    parent,
    next: successor,
    issued: sealIssued(next, id, { secret, sequence: sequence + 1, parent: token }, chance),
    expiresAtMs: facts.expiresAtMs,
  }
}

interface Before {
  readonly found: Found
  readonly standing: Extract<Standing, { state: 'used' }>
}

// A used token came: the same question again, a second try within the grace, or a replay.
async function again(
  needs: RotationNeeds,
  asked: Asked,
  { found, standing: { used, facts } }: Before,
  signal: AbortSignal,
): Promise<RotationOutcome> {
  const bound = facts.binding === bindingOf(asked.binding)
  const alive = !found.ended && bound && needs.wall() < facts.expiresAtMs
  // Whoever was told UNAVAILABLE may ask again: nobody but the caller of then knows `next`.
  if (alive && used.successor.equals(digest(asked.next))) {
    const successor = await unusedSuccessor(needs, asked.id, asked.next, signal)
    if (successor === 'unavailable') return UNAVAILABLE
    if (successor) return { outcome: 'rotated', sequence: successor.sequence, facts }
  }
  if (alive && used.again && needs.wall() <= used.again.untilMs) {
    const successor = await unusedSuccessor(needs, asked.id, used.again.successor, signal)
    if (successor === 'unavailable') return UNAVAILABLE
    if (successor) return { outcome: 'retry', successor: used.again.successor, facts }
  }
  if (found.ended === 'replay') return refused('replay')
  if (found.ended === 'revoked' || found.ended === 'gap') return refused(ENDED[found.ended])
  return needs.endReplayed(asked.id, { facts, usedBy: used.by, presentedBy: asked.fingerprint })
}

async function unusedSuccessor(
  { store }: RotationNeeds,
  family: Buffer,
  token: Buffer,
  signal: AbortSignal,
): Promise<Issued | undefined | 'unavailable'> {
  const found = await store.find(family, digest(token), signal)
  if (found === 'unavailable') return found
  if (found === 'unknown' || found.ended || found.used || !found.issued) return undefined
  return openIssued(token, family, found.issued)
}
