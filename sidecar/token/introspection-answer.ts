import { hash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { parseObject } from '../../contracts/json.ts'
import { deny, type Reason } from '../decision.ts'
import type { Json, JsonObject, Moment } from '../request.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import { hasEnded, isNumericDate } from './evidence.ts'
import { type Verified, type VerifiedToken, vouchedByIssuer } from './verify.ts'

/** What an issuer answered about a token (RFC 7662 section 2.2), read and not judged yet. */
export type IntrospectionAnswer =
  | { readonly kind: 'active'; readonly claims: JsonObject; readonly characters: number }
  | { readonly kind: 'inactive' }
  | { readonly kind: 'invalid' }

/** Reads the body of an answer. Only the boolean `true` is active (T2): `"true"`, 1 and a missing member are no answer. */
export function readAnswer(body: Buffer | undefined): IntrospectionAnswer {
  const parsed = body ? parseObject(body) : 'json_invalid'
  if (typeof parsed === 'string') return { kind: 'invalid' }
  const { active, ...claims } = parsed.value
  if (active === false) return { kind: 'inactive' }
  return active === true ? { kind: 'active', claims, characters: parsed.text.length } : { kind: 'invalid' }
}

export interface Judging {
  readonly trust: Snapshot
  readonly at: Moment
}

interface Evidence {
  readonly claims: JsonObject
  readonly issuer: Issuer
  readonly trust: Snapshot
  readonly atS: number
}

/** The same questions as to a JWT (T3), in the same words; what an answer may leave out is decided where it is used. */
const CHECKS: readonly ((evidence: Evidence) => Reason | undefined)[] = [
  wrongIssuer,
  wrongKind,
  wrongAudience,
  outOfTime,
  malformed,
]

function refusalOf(evidence: Evidence): Reason | undefined {
  for (const check of CHECKS) {
    const reason = check(evidence)
    if (reason) return reason
  }
  return undefined
}

// Byte for byte, as in a JWT.
function wrongIssuer({ claims: { iss }, issuer }: Evidence): Reason | undefined {
  return iss === undefined || iss === issuer.issuer ? undefined : 'introspection_invalid'
}

// A refresh token is active as well. A token bound to a key is of the type that says so (RFC 9449 section 6.2).
function wrongKind({ claims: { token_type: type, cnf } }: Evidence): Reason | undefined {
  if (type === undefined) return undefined
  const kind = typeof type === 'string' ? type.toLowerCase() : ''
  if (kind !== 'bearer' && kind !== 'dpop') return 'introspection_invalid'
  const boundToKey = isObject(cnf) && 'jkt' in cnf
  return (kind === 'dpop') === boundToKey ? undefined : 'introspection_invalid'
}

function wrongAudience({ claims: { aud }, trust }: Evidence): Reason | undefined {
  if (aud === undefined) return undefined
  const audiences = typeof aud === 'string' ? [aud] : aud
  if (!Array.isArray(audiences) || audiences.length === 0) return 'introspection_invalid'
  if (!audiences.every((one) => typeof one === 'string')) return 'introspection_invalid'
  if (audiences.some((one) => trust.tokens.deniedAudiences.has(one))) return 'aud_denied'
  if (!audiences.includes(trust.audience)) return 'aud_mismatch'
  return trust.exclusiveAudience && audiences.some((one) => one !== trust.audience)
    ? 'aud_not_exclusive'
    : undefined
}

function outOfTime({ claims, issuer, atS }: Evidence): Reason | undefined {
  const { exp, iat, nbf } = claims
  for (const moment of [exp, iat, nbf])
    if (moment !== undefined && !isNumericDate(moment)) return 'introspection_invalid'
  if (hasEnded(claims, issuer, atS)) return 'expired'
  if (isNumericDate(iat) && iat > atS + issuer.skewS) return 'iat_future'
  return isNumericDate(nbf) && nbf > atS + issuer.skewS ? 'nbf_future' : undefined
}

function malformed({ claims }: Evidence): Reason | undefined {
  for (const name of ['sub', 'client_id', 'jti', 'username'] as const) {
    const value = claims[name]
    if (value !== undefined && !isName(value)) return 'introspection_invalid'
  }
  const { scope, roles } = claims
  if (scope !== undefined && scopesOf(scope) === undefined) return 'introspection_invalid'
  return roles === undefined || isRoleList(roles) ? undefined : 'introspection_invalid'
}

/** Members that both a token and the answer about it may have. Where both do, they must say the same, or the answer is about another (T9). */
const SAME = ['iss', 'sub', 'jti', 'client_id', 'exp', 'iat', 'sid', 'cnf'] as const

/**
 * A token that passed local verification and is active as well: as it was, but with no scope, role or detail that its issuer does not grant any more. A
 * binding that only the answer knows of is a contradiction, too: dropping it would make the token a bearer token.
 */
export function confirmed(local: VerifiedToken, answer: JsonObject, { trust, at }: Judging): Verified {
  const { claims, issuer } = local
  const reason = refusalOf({ claims: answer, issuer, trust, atS: Math.floor(at / 1000) })
  if (reason) return deny(reason)
  const contradicts = SAME.some((name) => {
    const [theirs, ours] = [answer[name], claims[name]]
    if (theirs === undefined) return false
    return ours === undefined ? name === 'cnf' : !isDeepStrictEqual(theirs, ours)
  })
  return contradicts ? deny('introspection_invalid') : narrowed(local, answer)
}

function narrowed(local: VerifiedToken, answer: JsonObject): VerifiedToken {
  const left = { ...scopeLeft(local.claims, answer), ...listsLeft(local.claims, answer) }
  if (Object.keys(left).length === 0) return local
  const claims = { ...local.claims, ...left }
  return { ...local, claims, claimsJson: JSON.stringify(claims) }
}

function scopeLeft({ scope: stated }: JsonObject, { scope: granted }: JsonObject): JsonObject {
  const left = granted === undefined ? undefined : scopesOf(granted)
  const had = stated === undefined ? undefined : scopesOf(stated)
  if (!left || !had || had.every((one) => left.includes(one))) return {}
  return { scope: had.filter((one) => left.includes(one)).join(' ') }
}

/** What else a token may do by its lists; an issuer tells of them what it grants still (RFC 9396 section 9.2, RFC 9068 section 2.2.3.1). */
const GRANTS = ['authorization_details', 'roles'] as const

function listsLeft(claims: JsonObject, answer: JsonObject): JsonObject {
  const left: Record<string, Json> = {}
  for (const name of GRANTS) {
    const [had, granted] = [claims[name], answer[name]]
    if (granted === undefined || !Array.isArray(had)) continue
    const still: readonly Json[] = Array.isArray(granted) ? granted : []
    const kept = had.filter((one: Json) => still.some((other) => isDeepStrictEqual(one, other)))
    if (kept.length < had.length) left[name] = kept
  }
  return left
}

/** Whose token it is. */
export interface OpaqueJudging extends Judging {
  readonly issuer: Issuer
}

/**
 * The claims of a token for which only its issuer speaks: what an RFC 9068 token has to say, the answer has to say. What has no name gets
 * the hash of the token for `jti`, so that it can be revoked. A token without a user (no `sub`, no `username`) is its client's own.
 */
export function opaqueToken(token: Buffer, answer: JsonObject, judging: OpaqueJudging): Verified {
  const { issuer, trust, at } = judging
  const reason = refusalOf({ claims: answer, issuer, trust, atS: Math.floor(at / 1000) })
  if (reason) return deny(reason)
  const { aud, exp, iat, client_id: client } = answer
  // Without an audience it might be meant for anybody.
  if (aud === undefined || client === undefined) return deny('introspection_invalid')
  if (exp === undefined) return deny('exp_missing')
  if (iat === undefined) return deny('iat_missing')
  const sub = answer['sub'] ?? (answer['username'] === undefined ? client : undefined)
  if (sub === undefined) return deny('claim_missing')
  if (Number(exp) <= Number(iat)) return deny('exp_invalid')
  if (Number(exp) - Number(iat) > trust.maxTokenLifetimeS) return deny('lifetime_too_long')
  const jti = nameOf(token, answer['jti'])
  const claims = { ...answer, iss: issuer.issuer, sub, jti }
  return vouchedByIssuer({ claims, claimsJson: JSON.stringify(claims), issuer })
}

// Some servers name a token by its own text, which must not come near a log.
function nameOf(token: Buffer, jti: Json | undefined): string {
  return typeof jti === 'string' && jti !== token.toString('latin1')
    ? jti
    : `sha256:${hash('sha256', token, 'base64url')}`
}

function scopesOf(scope: Json): readonly string[] | undefined {
  if (typeof scope !== 'string') return undefined
  if (scope === '') return []
  return /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/.test(scope)
    ? scope.split(' ')
    : undefined
}

function isRoleList(value: Json): boolean {
  return (
    Array.isArray(value) &&
    value.every(
      (item: Json) => typeof item === 'string' || (isObject(item) && typeof item['value'] === 'string'),
    )
  )
}

function isName(value: Json): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 256
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
