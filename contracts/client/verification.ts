import { Buffer } from 'node:buffer'
import { isUint8Array } from 'node:util/types'
import {
  VerifyTokenRequest,
  VerifyTokenResponse,
  TokenKind as WireKind,
} from '../gen/portcullis/authorizer/v1/authorizer.ts'
import { type Denial, freezeDeep, readDenial, refuse } from './answer.ts'
import type { Encoded } from './question.ts'
import { isVerifyTokenResponse } from './wire.ts'

/** A token and the one kind it must be; the fields beside `kind` are those of authorizer.proto. */
export type TokenQuestion = { readonly token: Uint8Array | string } & (
  | { readonly kind: 'access_token' | 'jwt_svid' }
  | ({ readonly kind: 'id_token' } & IdTokenTerms)
  | { readonly kind: 'logout_token' | 'request_object'; readonly clientId: string }
  | { readonly kind: 'client_assertion'; readonly clientId?: string }
)
export type TokenKind = TokenQuestion['kind']

export interface IdTokenTerms {
  readonly clientId: string
  /** What was sent with the login. Left out: none was, and a token with one is refused. */
  readonly nonce?: string | undefined
  /** Seconds. */
  readonly maxAgeS?: number | undefined
  readonly acrValues?: readonly string[]
  /** What came along, for `at_hash` and `c_hash`. */
  readonly accessToken?: string
  readonly code?: string
  readonly otherAudiences?: readonly string[]
}

export type Verification = Verified | Denial

declare const vouched: unique symbol

/** The sidecar vouches for this token. It is no permission: `isAllowance` says no. `isVerified` knows a copy from the original. */
export interface Verified {
  readonly kind: 'verified'
  readonly [vouched]: true
  readonly tokenKind: TokenKind
  readonly issuer: string
  /** Empty when the token has none; likewise the next two. */
  readonly subject: string
  readonly clientId: string
  readonly tenant: string
  readonly claims: { readonly [name: string]: unknown }
  /** Seconds since the epoch. */
  readonly expiresAt: number
  readonly decisionId: string
  readonly trustGeneration: number
}

const TOKEN_BYTES = 8 * 1024

/** A question on the wire and the kind that it asks for, or what is wrong with it. */
export type EncodedToken =
  | Extract<Encoded, { ok: false }>
  | (Extract<Encoded, { ok: true }> & { readonly kind: TokenKind })

/** What was judged is what is sent, and the kind that is sent is the one an answer must be for. Never throws. */
export function encodeTokenQuestion(question: TokenQuestion): EncodedToken {
  try {
    const { token } = question
    const bytes = isUint8Array(token) ? Buffer.from(token) : readToken(token)
    if (bytes === undefined || bytes.length === 0 || bytes.length > TOKEN_BYTES)
      return { ok: false, detail: 'token: give the compact JWS, at most 8 KiB' }
    const profile = readProfile(question)
    if (profile === undefined)
      return { ok: false, detail: 'kind: give a known kind of token and what it needs, as well-formed text' }
    const message = VerifyTokenRequest.encode({ token: bytes, profile, timeoutMs: 0 })
    return { ok: true, bytes: message.finish(), kind: CASES[profile.$case] }
  } catch {
    return { ok: false, detail: 'the question cannot be read: it is no plain object of the documented shape' }
  }
}

function readToken(token: unknown): Buffer | undefined {
  return typeof token === 'string' && /^[\0-\u00ff]*$/.test(token) ? Buffer.from(token, 'latin1') : undefined
}

function readProfile(question: TokenQuestion): VerifyTokenRequest['profile'] {
  switch (question.kind) {
    case 'access_token':
      return { $case: 'accessToken', accessToken: {} }
    case 'jwt_svid':
      return { $case: 'jwtSvid', jwtSvid: {} }
    case 'id_token':
      return readIdToken(question)
    case 'logout_token':
      return areTexts([question.clientId])
        ? { $case: 'logoutToken', logoutToken: { clientId: question.clientId } }
        : undefined
    case 'request_object':
      return areTexts([question.clientId])
        ? { $case: 'requestObject', requestObject: { clientId: question.clientId } }
        : undefined
    case 'client_assertion': {
      const { clientId = '' } = question
      return areTexts([clientId]) ? { $case: 'clientAssertion', clientAssertion: { clientId } } : undefined
    }
  }
}

function readIdToken(terms: IdTokenTerms): VerifyTokenRequest['profile'] {
  const { clientId, nonce, maxAgeS, accessToken = '', code = '' } = terms
  const acrValues = [...(terms.acrValues ?? [])]
  const otherAudiences = [...(terms.otherAudiences ?? [])]
  const texts = [
    clientId,
    accessToken,
    code,
    ...acrValues,
    ...otherAudiences,
    ...(nonce === undefined ? [] : [nonce]),
  ]
  if (!areTexts(texts) || !isAge(maxAgeS)) return undefined
  const rest = { acrValues, accessToken, code, otherAudiences }
  return { $case: 'idToken', idToken: { clientId, nonce, maxAgeS, ...rest } }
}

// As UTF-8 lone surrogates all become U+FFFD, and two names could become one.
function areTexts(values: readonly unknown[]): boolean {
  return values.every((value) => typeof value === 'string' && value.isWellFormed())
}

function isAge(seconds: unknown): boolean {
  return (
    seconds === undefined || (Number.isInteger(seconds) && Number(seconds) >= 0 && Number(seconds) < 2 ** 32)
  )
}

const CASES = {
  accessToken: 'access_token',
  idToken: 'id_token',
  logoutToken: 'logout_token',
  clientAssertion: 'client_assertion',
  requestObject: 'request_object',
  jwtSvid: 'jwt_svid',
} as const

const KINDS: Readonly<Record<TokenKind, WireKind>> = {
  access_token: WireKind.TOKEN_KIND_ACCESS_TOKEN,
  id_token: WireKind.TOKEN_KIND_ID_TOKEN,
  logout_token: WireKind.TOKEN_KIND_LOGOUT_TOKEN,
  client_assertion: WireKind.TOKEN_KIND_CLIENT_ASSERTION,
  request_object: WireKind.TOKEN_KIND_REQUEST_OBJECT,
  jwt_svid: WireKind.TOKEN_KIND_JWT_SVID,
}

const verified = new WeakSet<object>()

/** Whether `value` came out of the sidecar's own answer in this process. */
export function isVouched(value: unknown): value is Verified {
  return typeof value === 'object' && value !== null && verified.has(value)
}

/** Reads the bytes of a VerifyTokenResponse. Whatever does not vouch in full is a denial. Never throws. */
export function readVerification(bytes: Uint8Array): Verification {
  const answer = decode(bytes)
  if (answer === undefined) return refuse('invalid_answer', 'the answer is no VerifyTokenResponse')
  const { outcome, decisionId, trustGeneration } = answer
  if (outcome === undefined) return refuse('invalid_answer', 'the answer neither vouches nor denies')
  if (outcome.$case === 'deny') return readDenial(answer, outcome.deny)
  const { kind, claimsJson, issuer, ...said } = outcome.verified
  const tokenKind = KIND_NAMES.find((name) => KINDS[name] === kind)
  const claims = readClaims(claimsJson)
  if (tokenKind === undefined || claims === undefined || issuer === '' || decisionId === '')
    return refuse(
      'invalid_answer',
      'the answer vouches for a token without kind, issuer, claims or decision id',
    )
  // The only `as` to a Verified: the brand exists in the type alone, its runtime half is the WeakSet.
  const vouchedFor = freezeDeep({
    ...{ kind: 'verified', tokenKind, issuer, ...said, claims, decisionId, trustGeneration },
  }) as unknown as Verified
  verified.add(vouchedFor)
  return vouchedFor
}

const KIND_NAMES = Object.keys(KINDS) as TokenKind[]

function decode(bytes: Uint8Array): VerifyTokenResponse | undefined {
  if (!isVerifyTokenResponse(bytes)) return undefined
  try {
    return VerifyTokenResponse.decode(bytes)
  } catch {
    return undefined
  }
}

function readClaims(json: Uint8Array): Verified['claims'] | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(json).toString('utf8'))
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? (claims as Verified['claims'])
      : undefined
  } catch {
    return undefined
  }
}
