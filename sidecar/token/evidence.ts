import type { VerificationKey } from '../../contracts/jwks.ts'
import type { Reason } from '../decision.ts'
import type { Json, JsonObject } from '../request.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import type { ParsedJwt } from './jwt.ts'

/** What a check may look at. Time is whole seconds since the epoch (RFC 7519 section 2, NumericDate). */
export interface Evidence {
  readonly jwt: ParsedJwt
  readonly profile: Profile
  readonly expected: Expected
  readonly issuer: Issuer
  readonly trust: Snapshot
  readonly atS: number
}
export interface KeyedEvidence extends Evidence {
  /** The key that has vouched for these very bytes before. */
  readonly vouched?: VerificationKey | undefined
  readonly key: VerificationKey
}

/** Why the evidence does not do; `undefined` when it does. */
export type Refusal<E> = (evidence: E) => Reason | undefined

export interface Check<E> {
  readonly name: CheckName
  readonly source: string
  readonly refusal: Refusal<E>
}

/** Every check there is. A token is verified when each one has been made and none refused. */
export const CHECK_NAMES = [
  'typ',
  'alg',
  'iss',
  'kid',
  'signature',
  'aud',
  'time',
  'identity',
  'shape',
] as const
export type CheckName = (typeof CHECK_NAMES)[number]

export type ProfileName = 'access_token' | 'id_token' | 'logout_token' | 'client_assertion' | 'request_object'

/** What makes a token one of a kind, and of no other (RFC 8725 section 3.12). */
export interface Profile {
  readonly name: ProfileName
  /** `typ` in lower case without `application/`; empty for a token that states none. */
  readonly types: ReadonlySet<string>
  /** Whether an issuer that was given time may leave the type out. */
  readonly mayLackType: boolean
  /** Who signs it: an authorization server, or a client with its own keys. */
  readonly signer: 'issuer' | 'client'
  /** For whom it must be: this workload, or the client that the caller names. */
  readonly audience: 'ours' | 'client'
  /** Claims that must be there, each a text of 1 to 256 characters. */
  readonly requires: readonly string[]
  /** Whether it gives access: its `scope` and `roles` are read, and it comes again and again. */
  readonly grants: boolean
  readonly lifetime: Lifetime
  /** Claims that belong to tokens of another kind. */
  readonly forbids: readonly string[]
  readonly rules: readonly Refusal<KeyedEvidence>[]
}

export interface Lifetime {
  readonly exp: 'required' | 'optional'
  readonly iat: 'required' | 'optional'
  /** From `iat`, or from now for a token whose maker chooses `iat` freely, to `exp`. */
  readonly countsFrom: 'iat' | 'now'
  readonly longestS: (trust: Snapshot) => number
}

/** What the caller knows beforehand about the token it asks about. Empty text and lists: nothing. */
export interface Expected {
  readonly clientId: string
  /** The `nonce` that was sent; empty when none was. */
  readonly nonce: string
  /** Seconds; `undefined`: any age of the authentication will do. */
  readonly maxAgeS: number | undefined
  readonly acrValues: readonly string[]
  /** What came along, for `at_hash` and `c_hash`. */
  readonly accessToken: string
  readonly code: string
  /** Audiences beside the client that may be named, too. */
  readonly otherAudiences: readonly string[]
}

export const NOTHING_EXPECTED: Expected = Object.freeze({
  clientId: '',
  nonce: '',
  maxAgeS: undefined,
  acrValues: Object.freeze([]),
  accessToken: '',
  code: '',
  otherAudiences: Object.freeze([]),
})

const LONGEST_NAME = 256

/** A name as it may stand for somebody: neither empty nor long. */
export function isName(value: Json | undefined): value is string {
  return typeof value === 'string' && value !== '' && value.length <= LONGEST_NAME
}

// 1e999 parses to Infinity and never expires; fractions and values past 2^53 are read differently by different parsers.
export function isNumericDate(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

/** Whether a token's time is over, as far as its issuer's clock and ours may differ. */
export function hasEnded({ exp }: JsonObject, { skewS }: Pick<Issuer, 'skewS'>, atS: number): boolean {
  return isNumericDate(exp) && exp <= atS - skewS
}

/** The audiences a token names, however it spells one; `undefined` when that is no list of texts. */
export function audiencesOf(aud: Json | undefined): readonly string[] | undefined {
  if (typeof aud === 'string') return [aud]
  return Array.isArray(aud) && aud.length > 0 && aud.every((one) => typeof one === 'string') ? aud : undefined
}
