import { parseObject } from '../../contracts/json.ts'
import type { Reason } from '../decision.ts'
import { actorsOf } from '../token/act.ts'
import { isJwtShaped, readUnverified } from '../token/jwt.ts'
import type { VerifiedToken } from '../token/verify.ts'
import type { EndpointAnswer } from '../trust/endpoint.ts'

export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
const MAX_TOKEN = 8 * 1024

/** What the next hop is to get. Sizes and characters are inside the contract's limits. */
export interface ExchangeWish {
  readonly subjectToken: Buffer
  /** Empty: not stated; one of the two is. */
  readonly audience: string
  readonly resource: string
  readonly scopes: readonly string[]
  readonly nameWorkload: boolean
}

export interface Exchanged {
  readonly kind: 'token'
  readonly accessToken: string
  readonly issuedTokenType: string
  readonly expiresAtMs: number
  readonly scopes: readonly string[]
  /** Empty: the token names none, or cannot be read. */
  readonly actor: string
}

export interface Refused {
  readonly kind: 'refused'
  readonly reason:
    | 'subject_token'
    | 'scope'
    | 'not_configured'
    | 'target'
    | 'issuer'
    | 'answer'
    | 'unavailable'
  /** Of `subject_token`. */
  readonly because?: Reason
}

/** What was asked, and of which token. */
export interface Asked {
  readonly wish: ExchangeWish
  readonly subject: VerifiedToken
  readonly at: number
}

/** Codes of RFC 6749 section 5.2 and RFC 8693 section 2.2.2 and what they say about the question; the others say that we may not ask. */
const REFUSALS: Readonly<Record<string, Refused['reason']>> = {
  invalid_target: 'target',
  invalid_scope: 'issuer',
  invalid_request: 'issuer',
  invalid_grant: 'issuer',
}

/** An answer of the token endpoint, read and held to what was asked; `outcome` is for counting. */
export function readExchange(
  answer: EndpointAnswer,
  asked: Asked,
): { readonly result: Exchanged | Refused; readonly outcome: string } {
  if (answer.kind === 'unavailable') return refused('unavailable', 'unavailable')
  const parsed = answer.body ? parseObject(answer.body) : 'json_invalid'
  const { status } = answer
  if (status === 200) {
    const token = typeof parsed === 'string' ? undefined : tokenOf(parsed.value, asked)
    return token ? { result: token, outcome: 'success' } : refused('answer', 'other')
  }
  const error = typeof parsed === 'string' ? undefined : parsed.value['error']
  if (status !== 400 || typeof error !== 'string')
    return refused('unavailable', String(error ?? 'unavailable'))
  return refused(REFUSALS[error] ?? 'unavailable', error)
}

function refused(reason: Refused['reason'], outcome: string) {
  return { result: { kind: 'refused', reason } as const, outcome }
}

type Members = Readonly<Record<string, unknown>>

// Anything that is not as asked is no answer to the question (RFC 8693 section 2.2.1).
function tokenOf(body: Members, asked: Asked): Exchanged | undefined {
  const { access_token: accessToken, issued_token_type: type, token_type: scheme, expires_in: lifeS } = body
  if (typeof accessToken !== 'string' || !/^[\x21-\x7e]+$/.test(accessToken)) return undefined
  if (accessToken.length > MAX_TOKEN || (type !== ACCESS_TOKEN_TYPE && type !== JWT_TYPE)) return undefined
  // A token that is bound to a key is bound to one that we do not have.
  if (typeof scheme !== 'string' || scheme.toLowerCase() !== 'bearer') return undefined
  if (lifeS !== undefined && !isSeconds(lifeS)) return undefined
  const told = lifeS === undefined ? undefined : asked.at + lifeS * 1000
  const scopes = grantedOf(body['scope'], asked.wish.scopes)
  const inside = isJwtShaped(accessToken) ? readInside(accessToken, asked) : NOT_READABLE
  const expiresAtMs = Math.min(
    told ?? Number.POSITIVE_INFINITY,
    inside?.expiresAtMs ?? Number.POSITIVE_INFINITY,
  )
  if (!scopes || !inside || !endsInTime(expiresAtMs, told, asked)) return undefined
  return { kind: 'token', accessToken, issuedTokenType: type, expiresAtMs, scopes, actor: inside.actor }
}

// E6: it must not outlive the token that it was made from. How long from now is told by another clock than ours.
function endsInTime(expiresAtMs: number, told: number | undefined, { subject, at }: Asked): boolean {
  const endMs = Number(subject.claims['exp']) * 1000
  if (!Number.isFinite(expiresAtMs) || expiresAtMs <= at) return false
  return expiresAtMs <= endMs && (told === undefined || told <= endMs + subject.issuer.skewS * 1000)
}

// What is left out was granted as asked (RFC 6749 section 5.1).
function grantedOf(scope: unknown, wanted: readonly string[]): readonly string[] | undefined {
  if (scope === undefined) return wanted
  if (typeof scope !== 'string') return undefined
  const granted = scope === '' ? [] : scope.split(' ')
  return granted.every((one) => wanted.includes(one)) ? granted : undefined
}

interface Inside {
  readonly expiresAtMs: number
  readonly actor: string
}
const NOT_READABLE: Inside = { expiresAtMs: Number.POSITIVE_INFINITY, actor: '' }

/**
 * What a JWT says of itself. Its signature is for whoever receives it; that it came from the issuer, the connection has shown. It must be
 * for exactly those who were asked for, about the same subject, and good for no more than was asked.
 */
function readInside(token: string, { wish, subject }: Asked): Inside | undefined {
  const claims = readUnverified(token)
  if (!claims) return undefined
  const { iss, sub, aud, exp, scope } = claims
  const targets = [wish.audience, wish.resource].filter((one) => one !== '')
  const audiences = typeof aud === 'string' ? [aud] : aud
  const actors = actorsOf(claims)
  const asAsked =
    iss === subject.issuer.issuer &&
    sub === subject.claims['sub'] &&
    Array.isArray(audiences) &&
    audiences.length > 0 &&
    audiences.every((one) => typeof one === 'string' && targets.includes(one)) &&
    grantedOf(scope, wish.scopes) !== undefined
  if (!asAsked || !actors || !isSeconds(exp) || exp > Number(subject.claims['exp'])) return undefined
  return { expiresAtMs: exp * 1000, actor: actors[0]?.subject ?? '' }
}

function isSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}
