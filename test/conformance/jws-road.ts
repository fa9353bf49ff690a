import { ALGORITHMS, type Algorithm, algorithmNamed, parseJwks } from '../../contracts/jwks.ts'
import { denied } from '../../sidecar/decision.ts'
import { type HeaderMemo, type ParsedJwt, parseJwt } from '../../sidecar/token/jwt.ts'
import type { Jwk } from './wycheproof.ts'

// Our strict parser, key import and verification, asked about a JWS that is not an access token.

export const ALL_ALGORITHMS: ReadonlySet<Algorithm> = new Set(
  Object.keys(ALGORITHMS).flatMap((name) => algorithmNamed(name) ?? []),
)

const FORGETFUL: HeaderMemo = { get: () => undefined, keep: () => undefined }

/** `genuine`, or why not. */
export function verdictOf(jws: string, keys: readonly Jwk[]): string {
  const jwt = parseAnyPayload(jws)
  if (typeof jwt === 'string') return jwt
  const set = parseJwks(Buffer.from(JSON.stringify({ keys })), ALL_ALGORITHMS)
  if (!set.ok) return `set refused: ${set.why}`
  const key = set.keys.find(({ kid }) => kid === jwt.header.kid)
  if (!key) return set.refused.map(({ why }) => `key refused: ${why}`).join('; ') || 'kid_unknown'
  if (key.algorithm !== jwt.header.algorithm) return 'alg_key_mismatch'
  return key.verify(jwt.signed, jwt.signature) ? 'genuine' : 'sig_invalid'
}

/**
 * The vectors sign bytes such as `foo`, and also none; an access token's payload is a JSON object (RFC 7519 section 7.2). Only
 * that rule is set aside: header, signature and the payload's own spelling are parsed as ever.
 */
export function parseAnyPayload(jws: string): ParsedJwt | string {
  const whole = parseJwt(Buffer.from(jws), FORGETFUL)
  if (!denied(whole)) return whole
  const [header = '', payload = '', ...rest] = jws.split('.')
  if (whole.reason !== 'json_invalid' && payload !== '') return whole.reason
  const standIn = parseJwt(Buffer.from([header, 'e30', ...rest].join('.')), FORGETFUL)
  if (denied(standIn)) return standIn.reason
  return { ...standIn, signed: Buffer.from(`${header}.${payload}`) }
}
