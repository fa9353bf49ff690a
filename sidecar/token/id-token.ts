import { hash } from 'node:crypto'
import type { Algorithm } from '../../contracts/jwks.ts'
import type { Reason } from '../decision.ts'
import { audiencesOf, type Evidence, isNumericDate, type KeyedEvidence, type Refusal } from './evidence.ts'

/** What OpenID Connect Core asks of an ID token beyond what every token must be (sections 3.1.3.7 and 3.3.2.11). */
export const ID_TOKEN_RULES: readonly Refusal<KeyedEvidence>[] = [
  wrongParty,
  wrongNonce,
  wrongAcr,
  tooLongAgo,
  wrongHashes,
]

// Section 3.1.3.7, steps 4 and 5: with more than one audience it must say which one it was given to.
function wrongParty({ jwt: { claims }, expected }: Evidence): Reason | undefined {
  const { azp, aud } = claims
  if (azp === undefined) return (audiencesOf(aud)?.length ?? 0) > 1 ? 'claim_missing' : undefined
  return azp === expected.clientId ? undefined : 'claim_invalid'
}

// Step 11. A nonce where none was sent belongs to another session.
function wrongNonce({ jwt: { claims }, expected }: Evidence): Reason | undefined {
  const { nonce } = claims
  if (nonce === undefined) return expected.nonce === '' ? undefined : 'nonce_missing'
  return typeof nonce === 'string' && nonce !== '' && nonce === expected.nonce ? undefined : 'nonce_mismatch'
}

// Step 12.
function wrongAcr({ jwt: { claims }, expected: { acrValues } }: Evidence): Reason | undefined {
  if (acrValues.length === 0) return undefined
  const { acr } = claims
  if (acr !== undefined && typeof acr !== 'string') return 'claim_invalid'
  return acr !== undefined && acrValues.includes(acr) ? undefined : 'step_up_required'
}

// Step 13. `max_age=0` asks for an authentication of this very moment, give or take what clocks differ.
function tooLongAgo({ jwt: { claims }, expected: { maxAgeS }, issuer, atS }: Evidence): Reason | undefined {
  const { auth_time } = claims
  if (auth_time === undefined) return maxAgeS === undefined ? undefined : 'claim_missing'
  if (!isNumericDate(auth_time)) return 'claim_invalid'
  if (auth_time > atS + issuer.skewS) return 'claim_invalid'
  return maxAgeS === undefined || atS - auth_time <= maxAgeS + issuer.skewS ? undefined : 'step_up_required'
}

// What came along must be what this ID token vouches for: a hash left out vouches for nothing.
function wrongHashes({ jwt: { claims, header }, expected }: Evidence): Reason | undefined {
  const pairs = [
    ['at_hash', expected.accessToken],
    ['c_hash', expected.code],
  ] as const
  for (const [name, text] of pairs) {
    if (text === '') continue
    if (claims[name] === undefined) return 'claim_missing'
    if (claims[name] !== leftHalf(text, header.algorithm)) return 'claim_invalid'
  }
  return undefined
}

/** The left half of the hash that goes with the signature's algorithm (section 3.1.3.6), base64url. */
export function leftHalf(text: string, algorithm: Algorithm): string {
  const digest = hash(digestOf(algorithm), text, 'buffer')
  return digest.subarray(0, digest.length / 2).toString('base64url')
}

// Ed25519 hashes with SHA-512 (RFC 8032 section 5.1).
function digestOf(algorithm: Algorithm): string {
  return algorithm === 'Ed25519' ? 'sha512' : `sha${algorithm.slice(2)}`
}
