import { hash } from 'node:crypto'
import { parseObject } from '../../contracts/json.ts'
import { ALGORITHMS, type Algorithm, algorithmNamed, isShowable } from '../../contracts/jwks.ts'
import { DOT, decode, has, JWE_ONLY, mediaType, misshapen } from '../../contracts/jws.ts'
import { type Denial, deny } from '../decision.ts'
import type { Json, JsonObject } from '../request.ts'

/** Bytes of a DPoP proof. */
export const MAX_PROOF_BYTES = 4 * 1024

/** A well-formed DPoP proof (RFC 9449 section 4.2) that nobody has vouched for yet. Made here only. */
export interface Proof {
  readonly algorithm: Algorithm
  /** A public key of the kind that `algorithm` takes. */
  readonly jwk: JsonObject
  /** RFC 7638 thumbprint of `jwk`, SHA-256, base64url. */
  readonly thumbprint: string
  readonly claims: JsonObject
  readonly signed: Buffer
  readonly signature: Buffer
}

/** Everything about a proof that needs neither the request nor any cryptography but one digest: D2, D4, D5 and D7 of RFC 9449 section 4.3. */
export function parseProof(line: Buffer): Proof | Denial {
  if (line.length > MAX_PROOF_BYTES) return deny('token_too_large')
  const first = line.indexOf(DOT)
  const second = line.indexOf(DOT, first + 1)
  if (misshapen(line, first, second)) return deny('dpop_malformed')
  const header = objectIn(line.toString('latin1', 0, first))
  const claims = objectIn(line.toString('latin1', first + 1, second))
  const signature = decode(line.toString('latin1', second + 1))
  if (!header || !claims || typeof signature === 'string') return deny('dpop_malformed')

  const { typ, alg, jwk } = header
  if (typeof typ !== 'string' || mediaType(typ) !== 'dpop+jwt') return deny('dpop_typ')
  const algorithm = typeof alg === 'string' ? algorithmNamed(alg) : undefined
  if (!algorithm) return deny('dpop_alg')
  if (has(header, UNDERSTOOD_BY_NOBODY)) return deny('dpop_malformed')
  const thumbprint = isPublicJwk(jwk) ? thumbprintOf(jwk, algorithm) : undefined
  if (!isPublicJwk(jwk) || thumbprint === undefined) return deny('dpop_jwk')
  return { algorithm, jwk, thumbprint, claims, signed: line.subarray(0, second), signature }
}

/** Other ways to name a key, to encode or to nest: a proof has its key in `jwk` and no use for any of them. */
const UNDERSTOOD_BY_NOBODY = ['crit', 'b64', 'jku', 'x5u', 'x5c', 'cty', 'zip', ...JWE_ONLY] as const

function objectIn(segment: string): JsonObject | undefined {
  const bytes = decode(segment)
  const parsed = typeof bytes === 'string' ? bytes : parseObject(bytes)
  return typeof parsed === 'string' ? undefined : parsed.value
}

function isPublicJwk(jwk: Json | undefined): jwk is JsonObject {
  return typeof jwk === 'object' && jwk !== null && !isList(jwk) && isShowable(jwk)
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/** RFC 7638 section 3.2: the members that make the key, in this order and no others. */
const REQUIRED = { EC: ['crv', 'kty', 'x', 'y'], RSA: ['e', 'kty', 'n'], OKP: ['crv', 'kty', 'x'] } as const

function thumbprintOf(jwk: JsonObject, algorithm: Algorithm): string | undefined {
  const { kty, crv } = ALGORITHMS[algorithm]
  if (jwk['kty'] !== kty || (crv !== undefined && jwk['crv'] !== crv)) return undefined
  const members: string[] = []
  for (const name of REQUIRED[kty]) {
    const value = jwk[name]
    // Plain characters only, so that the JSON text of the digest has one form.
    if (typeof value !== 'string' || !/^[A-Za-z0-9_-]+$/.test(value)) return undefined
    members.push(`"${name}":"${value}"`)
  }
  return hash('sha256', `{${members.join(',')}}`, 'base64url')
}
