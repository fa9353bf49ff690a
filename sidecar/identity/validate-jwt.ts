import { parseObject } from '../../contracts/json.ts'
import { parseSpiffeId } from '../../contracts/spiffe.ts'
import type { Reason } from '../decision.ts'
import type { JsonObject, Moment } from '../request.ts'
import { isJwtSvidAlgorithm } from './jwt-keys.ts'
import type { Trust } from './trust.ts'

export type ValidatedJwt =
  | { readonly ok: true; readonly spiffeId: string; readonly claims: JsonObject }
  | { readonly ok: false; readonly why: string; readonly reason: Reason }

export const JWT_SVID_BYTES = 8 * 1024
/** How far another clock may be ahead, seconds: for `nbf` only, `exp` is exact. */
const SKEW_S = 60

/**
 * A JWT-SVID for `audience` by the rules of the JWT-SVID standard, with the keys of its own trust domain, which must be ours: those of
 * others are not federated here. `kid` is demanded, as SPIRE and go-spiffe do.
 */
export function validateJwtSvid(token: string, audience: string, trust: Trust, at: Moment): ValidatedJwt {
  if (token.length > JWT_SVID_BYTES) return refuse('token_too_large', `larger than ${JWT_SVID_BYTES} bytes`)
  const [encodedHeader, encodedClaims, encodedSignature, ...rest] = token.split('.')
  if (!encodedHeader || !encodedClaims || !encodedSignature || rest.length > 0)
    return refuse('token_format', 'not a JWS in compact serialization')
  const header = decodedObject(encodedHeader)
  const claims = decodedObject(encodedClaims)
  const signature = decoded(encodedSignature)
  if (!header || !claims || !signature) return refuse('json_invalid', 'not base64url of strict JSON')

  const headerProblem = problemOfHeader(header)
  if (headerProblem) return refuse(...headerProblem)
  const id = typeof claims['sub'] === 'string' ? parseSpiffeId(claims['sub']) : undefined
  if (!id || id.path === '') return refuse('claim_invalid', 'its subject is no SPIFFE ID of a workload')
  if (id.trustDomain !== trust.trustDomain) return refuse('iss_unknown', 'its trust domain is not known here')

  const key = trust.jwt.keys.find(({ kid }) => kid === header['kid'])
  if (!key || key.algorithm !== header['alg'])
    return refuse('kid_unknown', 'its key is not in the bundle of its trust domain')
  if (!key.verify(Buffer.from(`${encodedHeader}.${encodedClaims}`), signature))
    return refuse('sig_invalid', 'its signature is not genuine')
  const claimProblem = problemOfClaims(claims, audience, at)
  return claimProblem ? refuse(...claimProblem) : { ok: true, spiffeId: id.uri, claims }
}

type Problem = readonly [reason: Reason, why: string]

function refuse(...[reason, why]: Problem): ValidatedJwt {
  return { ok: false, reason, why: `the token is refused: ${why}` }
}

// JWT-SVID sections 2.2 and 2.3: no member besides alg, kid, typ.
function problemOfHeader(header: JsonObject): Problem | undefined {
  const extra = Object.keys(header).find((name) => !['alg', 'kid', 'typ'].includes(name))
  if (extra !== undefined) return ['header_forbidden', 'its header has a member besides alg, kid and typ']
  const { alg, kid, typ } = header
  if (!isJwtSvidAlgorithm(alg)) return ['alg_not_allowed', 'its algorithm is not allowed']
  if (typeof kid !== 'string' || kid === '') return ['kid_missing', 'it has no kid']
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE')
    return ['typ_mismatch', 'its typ is neither JWT nor JOSE']
  return undefined
}

// JWT-SVID section 3: aud and exp are required.
function problemOfClaims({ aud, exp, nbf }: JsonObject, audience: string, at: Moment): Problem | undefined {
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (audiences.length === 0 || !audiences.every((one) => typeof one === 'string' && one !== ''))
    return ['aud_invalid', 'it has no usable audience']
  if (!audiences.includes(audience)) return ['aud_mismatch', 'it is for another audience']
  if (typeof exp !== 'number' || !Number.isFinite(exp)) return ['exp_invalid', 'it has no usable exp']
  if (at >= exp * 1000) return ['expired', 'it has expired']
  if (nbf !== undefined && typeof nbf !== 'number') return ['claim_invalid', 'it has no usable nbf']
  if (typeof nbf === 'number' && at < (nbf - SKEW_S) * 1000) return ['nbf_future', 'it is not valid yet']
  return undefined
}

function decodedObject(text: string): JsonObject | undefined {
  const bytes = decoded(text)
  const parsed = bytes && parseObject(bytes)
  return typeof parsed === 'object' ? parsed.value : undefined
}

// RFC 7515 section 2: one spelling only.
function decoded(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}
