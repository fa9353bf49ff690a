import { hash } from 'node:crypto'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { type JsonObject, parseObject } from '../../contracts/json.ts'
import { type Algorithm, isKid, type VerificationKey } from '../../contracts/jwks.ts'
import { DOT, decode, type JoseHeader, misshapen, parseHeader } from '../../contracts/jws.ts'

/** Bytes of a logout token. */
export const MAX_LOGOUT_TOKEN_BYTES = 8 * 1024

/** Whose logout tokens are believed, and by what. */
export interface LogoutIssuer {
  /** `namespace/name` of the TokenIssuer. */
  readonly source: string
  readonly issuer: string
  readonly algorithms: ReadonlySet<Algorithm>
  readonly skewMs: number
  /** One of them must be in `aud`. */
  readonly clientIds: readonly string[]
  /** How long tokens may live that were issued before. */
  readonly lifetimeMs: number
}

/** A logout token that keeps every rule and that nobody has vouched for yet. */
export interface ReadLogout {
  readonly header: JoseHeader
  readonly signed: Buffer
  readonly signature: Buffer
  /** What it asks for, if it is genuine. */
  readonly claimed: Logout
}

/** What one asks for. */
export interface Logout {
  readonly entry: Revocation
  /** Names it among all tokens of all issuers: 32 bytes. */
  readonly once: Buffer
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
/** Section 2.4: `exp` is recommended and came late, so that `iat` bounds its life as well. */
const LONGEST_MS = 600_000
const TEXT = 512
/** Section 2.4: typ is `logout+jwt` where there is one. */
const TYPES: ReadonlySet<string> = new Set(['', 'logout+jwt'])

/** Whom a token logs out (section 2.6), or the rule that it breaks: all that can be told without a key, which costs little. */
export function readLogout(token: Buffer, issuer: LogoutIssuer, at: number): ReadLogout | string {
  if (token.length > MAX_LOGOUT_TOKEN_BYTES) return 'token_too_large'
  const first = token.indexOf(DOT)
  const second = token.indexOf(DOT, first + 1)
  const malformed = misshapen(token, first, second)
  if (malformed) return malformed
  const header = parseHeader(token.toString('latin1', 0, first))
  if (typeof header === 'string') return header
  if (!issuer.algorithms.has(header.algorithm)) return 'alg_not_allowed'
  if (!TYPES.has(header.type)) return 'typ_invalid'
  if (!isKid(header.kid)) return 'kid_missing'
  const payload = decode(token.toString('latin1', first + 1, second))
  const signature = decode(token.toString('latin1', second + 1))
  if (typeof payload === 'string') return payload
  if (typeof signature === 'string') return signature
  const claims = parseObject(payload)
  if (typeof claims === 'string') return claims
  const broken = RULES.find(({ holds }) => !holds(claims.value, issuer, at))
  if (broken) return broken.name
  return { header, signed: token.subarray(0, second), signature, claimed: logoutOf(claims.value, issuer, at) }
}

/** What a token asks for, when this key vouches for it. */
export function proveLogout(
  { header, signed, signature, claimed }: ReadLogout,
  key: VerificationKey,
): Logout | string {
  if (key.algorithm !== header.algorithm) return 'alg_not_allowed'
  return key.verify(signed, signature) ? claimed : 'signature_invalid'
}

interface Rule {
  readonly name: string
  readonly holds: (claims: JsonObject, issuer: LogoutIssuer, at: number) => boolean
}

const RULES: readonly Rule[] = [
  { name: 'iss', holds: ({ iss }, { issuer }) => iss === issuer },
  { name: 'aud', holds: ({ aud }, { clientIds }) => audiences(aud).some((one) => clientIds.includes(one)) },
  {
    name: 'iat',
    holds: ({ iat }, { skewMs }, at) =>
      isSecond(iat) && iat * 1000 <= at + skewMs && at - iat * 1000 <= LONGEST_MS + skewMs,
  },
  {
    name: 'exp',
    holds: ({ exp }, { skewMs }, at) => exp === undefined || (isSecond(exp) && at < exp * 1000 + skewMs),
  },
  { name: 'jti', holds: ({ jti }) => isName(jti) },
  {
    name: 'events',
    holds: ({ events }) => isObject(events) && Object.hasOwn(events, EVENT) && isObject(events[EVENT]),
  },
  {
    name: 'sub_sid',
    holds: ({ sub, sid }) =>
      !(sub === undefined && sid === undefined) &&
      [sub, sid].every((one) => one === undefined || isName(one)),
  },
  // What has a nonce is an ID token, and may have been shown to others.
  { name: 'nonce', holds: (claims) => !Object.hasOwn(claims, 'nonce') },
]

/** Section 2.7: a session where one is named, else every session of the subject up to now. */
function logoutOf(
  { sid, sub, iat, jti }: JsonObject,
  { source, issuer, lifetimeMs, skewMs }: LogoutIssuer,
  at: number,
): Logout {
  const bySession = typeof sid === 'string'
  const entry: Revocation = {
    id: '',
    source,
    issuer,
    subject: bySession ? { $case: 'sid', sid } : { $case: 'sub', sub: String(sub) },
    issuedBeforeMs: bySession ? 0 : Number(iat) * 1000,
    expiresAtMs: at + lifetimeMs + skewMs,
  }
  return {
    entry,
    once: hash('sha256', `${source.length}/${issuer.length}/${source}${issuer}${String(jti)}`, 'buffer'),
  }
}

function audiences(aud: unknown): readonly string[] {
  const all: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  return all.every((one): one is string => typeof one === 'string') ? all : []
}

function isSecond(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= TEXT
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
