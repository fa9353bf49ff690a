import type { VerificationKey } from '../../contracts/jwks.ts'
import type { Reason } from '../decision.ts'
import type { Json } from '../request.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import type { ParsedJwt } from './jwt.ts'

/** What a check may look at. Time is whole seconds since the epoch (RFC 7519 section 2, NumericDate). */
export interface Evidence {
  readonly jwt: ParsedJwt
  readonly issuer: Issuer
  readonly trust: Snapshot
  readonly atS: number
}
export interface KeyedEvidence extends Evidence {
  readonly key: VerificationKey
}

export interface Check<E> {
  readonly name: string
  readonly source: string
  readonly refusal: (evidence: E) => Reason | undefined
}

/** The eight checks of an access token, in order; the first four choose and find the key, the others need it. */
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
]

function wrongType({ jwt }: Evidence): Reason | undefined {
  return jwt.header.type === 'at+jwt' ? undefined : 'typ_mismatch'
}

function wrongAlgorithm({ jwt, issuer }: Evidence): Reason | undefined {
  return issuer.algorithms.has(jwt.header.algorithm) ? undefined : 'alg_not_allowed'
}

// Byte for byte (RFC 8414 section 2, no normalisation): a look-alike that a URL parser would fold is another issuer.
function wrongIssuer({ jwt, issuer }: Evidence): Reason | undefined {
  return jwt.claims['iss'] === issuer.issuer ? undefined : 'iss_unknown'
}

function noKeyNamed({ jwt }: Evidence): Reason | undefined {
  return jwt.header.kid === '' ? 'kid_missing' : undefined
}

function notGenuine({ jwt, key }: KeyedEvidence): Reason | undefined {
  if (key.algorithm !== jwt.header.algorithm || key.kid !== jwt.header.kid) return 'alg_key_mismatch'
  return key.verify(jwt.signed, jwt.signature) ? undefined : 'sig_invalid'
}

function wrongAudience({ jwt, trust }: Evidence): Reason | undefined {
  const aud = jwt.claims['aud']
  if (aud === undefined) return 'aud_missing'
  // A string is compared whole: `includes` on it would be a substring match.
  if (typeof aud === 'string') return aud === trust.audience ? undefined : 'aud_mismatch'
  if (!isStringList(aud) || aud.length === 0) return 'aud_invalid'
  if (!aud.includes(trust.audience)) return 'aud_mismatch'
  return trust.exclusiveAudience && aud.some((one) => one !== trust.audience)
    ? 'aud_not_exclusive'
    : undefined
}

function outOfTime({ jwt, issuer, trust, atS }: Evidence): Reason | undefined {
  const { exp, iat, nbf } = jwt.claims
  if (exp === undefined) return 'exp_missing'
  if (!isNumericDate(exp)) return 'exp_invalid'
  if (iat === undefined) return 'iat_missing'
  if (!isNumericDate(iat)) return 'claim_invalid'
  if (nbf !== undefined && !isNumericDate(nbf)) return 'claim_invalid'
  if (exp <= iat) return 'exp_invalid'
  if (exp <= atS - issuer.skewS) return 'expired'
  if (iat > atS + issuer.skewS) return 'iat_future'
  if (nbf !== undefined && nbf > atS + issuer.skewS) return 'nbf_future'
  return exp - iat > trust.maxTokenLifetimeS ? 'lifetime_too_long' : undefined
}

const IDENTITY = ['sub', 'client_id', 'jti'] as const
const MAX_IDENTITY_LENGTH = 256

function incompleteIdentity({ jwt: { claims } }: Evidence): Reason | undefined {
  for (const name of IDENTITY) {
    const value = claims[name]
    if (value === undefined) return 'claim_missing'
    if (typeof value !== 'string' || value === '' || value.length > MAX_IDENTITY_LENGTH)
      return 'claim_invalid'
  }
  const { scope, roles } = claims
  if (scope !== undefined && !isScope(scope)) return 'claim_invalid'
  if (roles !== undefined && !isRoleList(roles)) return 'claim_invalid'
  return undefined
}

// RFC 6749 section 3.3: scope-tokens with single spaces between them; some providers send "" for none.
function isScope(value: Json): value is string {
  return (
    typeof value === 'string' && /^(?:[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*)?$/.test(value)
  )
}

function isStringList(value: Json): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

// RFC 9068 section 2.2.3.1: plain values, or SCIM's complex ones (RFC 7643 section 4.1.2), whose value is in `value`.
function isRoleList(value: Json): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string' || isComplexValue(item))
}

function isComplexValue(item: Json): boolean {
  return typeof item === 'object' && item !== null && 'value' in item && typeof item['value'] === 'string'
}

// 1e999 parses to Infinity and never expires; fractions and values past 2^53 are read differently by different parsers.
function isNumericDate(value: Json): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}
