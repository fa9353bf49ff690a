import { bindingOf, type FamilyFacts, SECRET_BYTES, sealFacts, sealIssued } from './family-records.ts'
import type { FamilyStore } from './family-store.ts'
import {
  type RefusalReason,
  type Replayed,
  type Rotation,
  type RotationOutcome,
  rotate,
  standingOf,
} from './rotation.ts'
import { digest, type RandomBytes } from './seal.ts'

/** Whose access tokens end with a family: those of the session where there is one. */
export type FamilySubject = Pick<FamilyFacts, 'issuer' | 'subject' | 'sessionId' | 'clientId'>

/** Revokes live access tokens everywhere until this moment; `false`: nobody can be told now. */
export type RevokeAccess = (whose: FamilySubject, untilMs: number, signal: AbortSignal) => Promise<boolean>

export type FamilyEvent =
  | { readonly event: 'rotated' | 'retried'; readonly ageMs: number }
  | { readonly event: 'refused'; readonly reason: RefusalReason }
  | ReplayEvent
  | { readonly event: 'unavailable' }

/** Tells an investigator who the two were that used one token; all of it in hex, nothing of it is a token. */
export interface ReplayEvent {
  readonly event: 'replay_detected'
  readonly accessTokensRevoked: boolean
  /** Digest of the family's name. */
  readonly family: string
  /** Fingerprints of who began the family, who used the token when it was good, and who came with it again; empty: not told. */
  readonly registeredBy: string
  readonly usedBy: string
  readonly presentedBy: string
}

export interface FamiliesNeeds {
  readonly store: FamilyStore
  readonly revokeAccess: RevokeAccess
  readonly wall: () => number
  readonly chance: RandomBytes
  readonly tell: (event: FamilyEvent) => void
  /** Of the program: what must end is ended, also when the caller has hung up. */
  readonly lifetime: AbortSignal
}

export interface Registration {
  readonly family: string
  readonly token: Buffer
  readonly subject: FamilySubject
  readonly binding: Buffer
  readonly expiresAtMs: number
  readonly accessTokenLifetimeMs: number
  /** Of the client that is given the first token; FINGERPRINT_BYTES at most, empty when it is not told. */
  readonly fingerprint: Buffer
}

/** Which access tokens end with a family that is revoked. */
export type AccessTokens = { readonly token: Buffer } | FamilySubject | undefined

export interface Families {
  register(asked: Registration, signal: AbortSignal): ReturnType<FamilyStore['create']>
  rotate(asked: Rotation, signal: AbortSignal): Promise<RotationOutcome>
  /** `revoked`: whether access tokens ended, too; `undefined`: nobody can tell. */
  revoke(
    family: string,
    access: AccessTokens,
    signal: AbortSignal,
  ): Promise<{ readonly accessTokensRevoked: boolean } | undefined>
}

/** Longest life of a family, and how long an ended one of unknown life is remembered. */
export const MOST_LIFE_MS = 400 * 24 * 3_600_000
/** Longest life of an access token that is issued with a family. */
export const MOST_ACCESS_TOKEN_MS = 24 * 3_600_000

/**
 * Refresh token families (RFC 9700 section 4.14.2). A token of a family is unknown, issued or used; a family lives or has ended, and
 * nothing goes backwards. A use of an issued token makes it used; a use of a used one ends the family and the access tokens of its
 * subject, unless it is the same question again or within its grace.
 */
export function createFamilies(needs: FamiliesNeeds): Families {
  const { store, chance, wall, tell, lifetime: signal } = needs
  const ending = new Map<string, Promise<RotationOutcome>>()

  const replayed = async (family: Buffer, replay: Replayed): Promise<RotationOutcome> => {
    const { facts } = replay
    // Access tokens first: if we die in between, the family has not ended, and the next presentation comes here again.
    const accessTokensRevoked = await needs.revokeAccess(facts, wall() + facts.accessTokenLifetimeMs, signal)
    const ended = await store.end(family, 'replay', facts.expiresAtMs, signal)
    tell(replayEvent(family, replay, accessTokensRevoked))
    return ended === 'unavailable' ? { outcome: 'unavailable' } : { outcome: 'refused', reason: 'replay' }
  }
  // Who comes while the family is being ended waits for that end: a hundred replays at once are one replay.
  const endReplayed = (family: Buffer, replay: Replayed): Promise<RotationOutcome> => {
    const name = family.toString('latin1')
    const current = ending.get(name) ?? replayed(family, replay).finally(() => ending.delete(name))
    ending.set(name, current)
    return current
  }
  return {
    register(asked, signal) {
      const family = digest(Buffer.from(asked.family))
      const secret = chance(SECRET_BYTES)
      const { expiresAtMs, accessTokenLifetimeMs, token } = asked
      const facts = {
        ...asked.subject,
        binding: bindingOf(asked.binding),
        bornAtMs: wall(),
        expiresAtMs,
        accessTokenLifetimeMs,
        registeredBy: asked.fingerprint.toString('hex'),
      }
      const born = {
        token: digest(token),
        issued: sealIssued(token, family, { secret, sequence: 0, parent: undefined }, chance),
        facts: sealFacts(secret, family, facts, chance),
        expiresAtMs,
      }
      return store.create(family, born, signal)
    },
    async rotate(asked, signal) {
      const outcome = await rotate({ store, chance, wall, endReplayed }, asked, signal)
      tell(eventOf(outcome, wall()))
      return outcome
    },
    async revoke(name, access, signal) {
      const family = digest(Buffer.from(name))
      const ending = await endingOf(needs, family, access, signal)
      if (ending === 'unavailable') return undefined
      const { whose, liveMs, untilMs } = ending
      const accessTokensRevoked = whose ? await needs.revokeAccess(whose, wall() + liveMs, signal) : false
      const ended = await store.end(family, 'revoked', untilMs, signal)
      return ended === 'unavailable' || (whose && !accessTokensRevoked) ? undefined : { accessTokensRevoked }
    },
  }
}

interface Ending {
  readonly whose: FamilySubject | undefined
  readonly liveMs: number
  readonly untilMs: number
}

// Whose access tokens end, and how long both ends must be remembered: as the family says, or as long as can be.
async function endingOf(
  { store, wall }: FamiliesNeeds,
  family: Buffer,
  access: AccessTokens,
  signal: AbortSignal,
): Promise<Ending | 'unavailable'> {
  const longest = { liveMs: MOST_ACCESS_TOKEN_MS, untilMs: wall() + MOST_LIFE_MS }
  if (!access || 'issuer' in access) return { whose: access, ...longest }
  const found = await store.find(family, digest(access.token), signal)
  if (found === 'unavailable') return found
  const facts = found === 'unknown' ? undefined : standingOf(found, family, access.token)?.facts
  if (!facts) return { whose: undefined, ...longest }
  return { whose: facts, liveMs: facts.accessTokenLifetimeMs, untilMs: facts.expiresAtMs }
}

function replayEvent(family: Buffer, replay: Replayed, accessTokensRevoked: boolean): ReplayEvent {
  return {
    event: 'replay_detected',
    accessTokensRevoked,
    family: family.toString('hex'),
    registeredBy: replay.facts.registeredBy,
    usedBy: replay.usedBy.toString('hex'),
    presentedBy: replay.presentedBy.toString('hex'),
  }
}

function eventOf(outcome: RotationOutcome, at: number): FamilyEvent {
  switch (outcome.outcome) {
    case 'rotated':
      return { event: 'rotated', ageMs: at - outcome.facts.bornAtMs }
    case 'retry':
      return { event: 'retried', ageMs: at - outcome.facts.bornAtMs }
    case 'refused':
      return { event: 'refused', reason: outcome.reason }
    case 'unavailable':
      return { event: 'unavailable' }
    default:
      return outcome satisfies never
  }
}
