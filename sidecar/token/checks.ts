import type { Reason } from '../decision.ts'
import type { Json, JsonObject } from '../request.ts'
import {
  audiencesOf,
  CHECK_NAMES,
  type Check,
  type Evidence,
  hasEnded,
  isName,
  isNumericDate,
  type KeyedEvidence,
} from './evidence.ts'
import { LEGACY_FORBIDS } from './profiles.ts'

/** The checks of any token, in order, as its profile has them; the first four choose and find the key, the others need it. */
export const CHECKS_BEFORE_KEY: readonly Check<Evidence>[] = [
  { name: 'typ', source: 'RFC 9068 section 4, RFC 8725 section 3.11', refusal: wrongType },
  { name: 'alg', source: 'RFC 8725 section 3.1', refusal: wrongAlgorithm },
  { name: 'iss', source: 'RFC 9068 section 4, RFC 8725 section 3.8', refusal: wrongIssuer },
  { name: 'kid', source: 'RFC 7515 section 4.1.4', refusal: noKeyNamed },
]
export const CHECKS_AFTER_KEY: readonly Check<KeyedEvidence>[] = [
  { name: 'signature', source: 'RFC 7515 section 5.2', refusal: notGenuine },
  { name: 'aud', source: 'RFC 9068 section 4, RFC 8725 section 3.9', refusal: wrongAudience },
  { name: 'time', source: 'RFC 7519 sections 4.1.4 to 4.1.6', refusal: outOfTime },
  { name: 'identity', source: 'RFC 9068 section 2.2', refusal: incompleteIdentity },
  { name: 'shape', source: 'RFC 8725 section 3.12', refusal: anotherKind },
]

/** One bit for each check. */
const BIT = Object.fromEntries(CHECK_NAMES.map((name, at) => [name, 1 << at])) as Readonly<
  Record<(typeof CHECK_NAMES)[number], number>
>
/** All of them: what must have been made before anything is called verified. */
export const EVERY_CHECK = 2 ** CHECK_NAMES.length - 1

/** Makes the checks in order: the first refusal, or the bits of those that were made. */
export function make<E>(checks: readonly Check<E>[], evidence: E): Reason | number {
  let made = 0
  for (const { name, refusal } of checks) {
    const reason = refusal(evidence)
    if (reason) return reason
    made |= BIT[name]
  }
  return made
}

function wrongType({ jwt, profile, issuer, atS }: Evidence): Reason | undefined {
  const { type } = jwt.header
  if (profile.types.has(type)) return undefined
  const inTime = profile.mayLackType && atS * 1000 < issuer.legacyTypUntil
  return inTime && isUntyped(type) ? undefined : 'typ_mismatch'
}

// `JWT` says no more than nothing (RFC 8725 section 3.11).
function isUntyped(type: string): boolean {
  return type === '' || type === 'jwt'
}

function wrongAlgorithm({ jwt, issuer }: Evidence): Reason | undefined {
  return issuer.algorithms.has(jwt.header.algorithm) ? undefined : 'alg_not_allowed'
}

// Byte for byte (RFC 8414 section 2, no normalisation): a look-alike that a URL parser would fold is another issuer. And a client
// speaks for itself alone: its keys make no tokens of an authorization server, nor the other way round.
function wrongIssuer({ jwt, issuer, profile }: Evidence): Reason | undefined {
  const speaks = issuer.client === (profile.signer === 'client')
  return speaks && jwt.claims['iss'] === issuer.issuer ? undefined : 'iss_unknown'
}

function noKeyNamed({ jwt }: Evidence): Reason | undefined {
  return jwt.header.kid === '' ? 'kid_missing' : undefined
}

// What this key, the very same object, has vouched for before it need not look at again: bytes do not change, keys do.
function notGenuine({ jwt, key, vouched }: KeyedEvidence): Reason | undefined {
  if (key.algorithm !== jwt.header.algorithm || key.kid !== jwt.header.kid) return 'alg_key_mismatch'
  return vouched === key || key.verify(jwt.signed, jwt.signature) ? undefined : 'sig_invalid'
}

// A single text is compared whole: `includes` on it would be a substring match.
function wrongAudience({ jwt, trust, profile, expected }: KeyedEvidence): Reason | undefined {
  const { aud } = jwt.claims
  if (aud === undefined) return 'aud_missing'
  const audiences = audiencesOf(aud)
  if (!audiences) return 'aud_invalid'
  const { deniedAudiences } = trust.tokens
  if (deniedAudiences.size > 0 && audiences.some((one) => deniedAudiences.has(one))) return 'aud_denied'
  const wanted = profile.audience === 'ours' ? trust.audience : expected.clientId
  if (wanted === '' || !audiences.includes(wanted)) return 'aud_mismatch'
  const exclusive = profile.audience === 'client' || trust.exclusiveAudience
  if (!exclusive || audiences.length === 1) return undefined
  const known = (one: string) => one === wanted || expected.otherAudiences.includes(one)
  return audiences.every(known) ? undefined : 'aud_not_exclusive'
}

function outOfTime(evidence: KeyedEvidence): Reason | undefined {
  const { jwt, issuer, profile, atS } = evidence
  const { exp, iat, nbf } = jwt.claims
  if (exp === undefined && profile.lifetime.exp === 'required') return 'exp_missing'
  if (exp !== undefined && !isNumericDate(exp)) return 'exp_invalid'
  if (iat === undefined && profile.lifetime.iat === 'required') return 'iat_missing'
  if (iat !== undefined && !isNumericDate(iat)) return 'claim_invalid'
  if (nbf !== undefined && !isNumericDate(nbf)) return 'claim_invalid'
  if (exp !== undefined && iat !== undefined && exp <= iat) return 'exp_invalid'
  if (hasEnded(jwt.claims, issuer, atS)) return 'expired'
  if (iat !== undefined && iat > atS + issuer.skewS) return 'iat_future'
  if (nbf !== undefined && nbf > atS + issuer.skewS) return 'nbf_future'
  return lastsTooLong(evidence, iat, exp)
}

function lastsTooLong(
  { issuer, profile, trust, atS }: KeyedEvidence,
  iat: number | undefined,
  exp: number | undefined,
): Reason | undefined {
  const { countsFrom, longestS } = profile.lifetime
  const longest = longestS(trust)
  // Without an end of its own it ends when the longest one would.
  if (exp === undefined)
    return iat !== undefined && iat > atS - issuer.skewS - longest ? undefined : 'expired'
  const start = countsFrom === 'iat' && iat !== undefined ? iat : atS + issuer.skewS
  return exp - start > longest ? 'lifetime_too_long' : undefined
}

function incompleteIdentity({ jwt, profile }: KeyedEvidence): Reason | undefined {
  const { claims } = jwt
  const legacy = isLegacy(profile, jwt.header)
  for (const name of profile.requires) {
    const value = legacy && name === 'client_id' ? clientOf(claims) : claims[name]
    if (value === undefined) return 'claim_missing'
    if (!isName(value)) return 'claim_invalid'
  }
  if (!profile.grants) return undefined
  const { scope, roles, status } = claims
  if (scope !== undefined && !isScope(scope)) return 'claim_invalid'
  if (roles !== undefined && !isRoleList(roles)) return 'claim_invalid'
  // An object here says where to ask whether the token still holds (draft-ietf-oauth-status-list). Nobody asks there, so nobody knows.
  return typeof status === 'object' && status !== null ? 'status_invalid' : undefined
}

function isLegacy(profile: Evidence['profile'], header: { readonly type: string }): boolean {
  return profile.mayLackType && !profile.types.has(header.type)
}

// Providers from before RFC 9068 name the client in `azp`. Both names, and different clients, is nobody.
function clientOf({ client_id, azp }: JsonObject): Json | undefined {
  if (client_id === undefined) return azp
  return azp === undefined || azp === client_id ? client_id : null
}

// What a token that says its type is free to carry, one that does not may have been made for something else.
function anotherKind(evidence: KeyedEvidence): Reason | undefined {
  const { jwt, profile } = evidence
  const { claims } = jwt
  if (profile.forbids.some((name) => Object.hasOwn(claims, name))) return 'typ_mismatch'
  if (isLegacy(profile, jwt.header) && LEGACY_FORBIDS.some((name) => Object.hasOwn(claims, name)))
    return 'typ_mismatch'
  for (const rule of profile.rules) {
    const reason = rule(evidence)
    if (reason) return reason
  }
  return undefined
}

// RFC 6749 section 3.3: scope-tokens with single spaces between them; some providers send "" for none.
function isScope(value: Json): value is string {
  return (
    typeof value === 'string' && /^(?:[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*)?$/.test(value)
  )
}

// RFC 9068 section 2.2.3.1: plain values, or SCIM's complex ones (RFC 7643 section 4.1.2), whose value is in `value`.
function isRoleList(value: Json): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string' || isComplexValue(item))
}

function isComplexValue(item: Json): boolean {
  return typeof item === 'object' && item !== null && 'value' in item && typeof item['value'] === 'string'
}
