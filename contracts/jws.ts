import { type JsonFault, type JsonObject, parseObject } from './json.ts'
import { type Algorithm, algorithmNamed, isKid } from './jwks.ts'

/**
 * The shape of a compact JWS (RFC 7515 section 7.1), read strictly, for both programs: what any two JOSE libraries could read differently
 * is refused. Nothing here has been vouched for by a signature.
 */

/** Reasons of a decision, too. */
export type JwsFault =
  | JsonFault
  | 'token_format'
  | 'jwe_unsupported'
  | 'b64_invalid'
  | 'b64_noncanonical'
  | 'header_invalid'
  | 'header_forbidden'
  | 'alg_not_allowed'
  | 'crit_unsupported'
  | 'kid_invalid'

export interface JoseHeader {
  readonly algorithm: Algorithm
  /** Lower case, without `application/`; empty when absent. */
  readonly type: string
  readonly kid: string
}

export const DOT = 0x2e
const OPEN_BRACE = 0x7b

/** RFC 7515 section 7.1: exactly three segments. Five are a JWE (RFC 7516 section 7.1), a brace the JSON serialization. */
export function misshapen(token: Buffer, first: number, second: number): JwsFault | undefined {
  if (token[0] === OPEN_BRACE || first <= 0 || second < 0) return 'token_format'
  const third = token.indexOf(DOT, second + 1)
  if (third < 0) return second === first + 1 ? 'token_format' : undefined
  const fourth = token.indexOf(DOT, third + 1)
  return fourth >= 0 && token.indexOf(DOT, fourth + 1) < 0 ? 'jwe_unsupported' : 'token_format'
}

/** RFC 7515 section 2: base64url without padding, blanks or other characters; and one spelling only (canonical last bits). */
export function decode(text: string): Buffer | Extract<JwsFault, 'b64_invalid' | 'b64_noncanonical'> {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.toString('base64url') === text) return bytes
  return /^[A-Za-z0-9_-]*$/.test(text) && text.length % 4 !== 1 ? 'b64_noncanonical' : 'b64_invalid'
}

/**
 * Members that would let the token choose its key, its encoding or a nested meaning (RFC 8725 sections 3.10 to 3.12). An
 * access token has no use for any of them.
 */
const FORBIDDEN = ['jku', 'jwk', 'x5u', 'x5c', 'b64', 'cty', 'zip'] as const
export const JWE_ONLY = ['enc', 'epk', 'p2c', 'p2s', 'apu', 'apv', 'iv', 'tag'] as const

export function parseHeader(text: string): JoseHeader | JwsFault {
  const bytes = decode(text)
  if (typeof bytes === 'string') return bytes
  const parsed = parseObject(bytes)
  if (typeof parsed === 'string') return parsed
  const { alg, kid, typ, crit } = parsed.value

  if (typeof alg !== 'string' || alg === '') return 'header_invalid'
  const algorithm = algorithmNamed(alg)
  if (!algorithm) return has(parsed.value, JWE_ONLY) ? 'jwe_unsupported' : 'alg_not_allowed'
  // RFC 7797: an unencoded payload is another thing to sign; claimed without `crit` it is claimed wrongly as well.
  if (parsed.value['b64'] === false) return 'header_forbidden'
  // RFC 7515 section 4.1.11: we understand no extension, so any `crit` is one too many.
  if (crit !== undefined) return 'crit_unsupported'
  if (has(parsed.value, JWE_ONLY)) return 'jwe_unsupported'
  if (has(parsed.value, FORBIDDEN)) return 'header_forbidden'
  if (typ !== undefined && typeof typ !== 'string') return 'header_invalid'
  if (kid !== undefined && !isKid(kid)) return 'kid_invalid'
  return { algorithm, type: mediaType(typ ?? ''), kid: kid ?? '' }
}

export function has(header: JsonObject, names: readonly string[]): boolean {
  return names.some((name) => Object.hasOwn(header, name))
}

/** RFC 7515 section 4.1.9: compared without case; `application/` may be left out. */
export function mediaType(typ: string): string {
  const lower = typ.toLowerCase()
  return lower.startsWith('application/') ? lower.slice('application/'.length) : lower
}
