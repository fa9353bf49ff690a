import { parseObject } from '../../contracts/json.ts'
import { DOT, decode, type JoseHeader, misshapen, parseHeader } from '../../contracts/jws.ts'
import { type Denial, deny } from '../decision.ts'
import type { JsonObject } from '../request.ts'

/** Bytes of a compact JWS access token. */
export const MAX_TOKEN_BYTES = 8 * 1024

/** A well-formed compact JWS (RFC 7515 section 7.1) whose claims nobody has vouched for yet. Made here only. */
export interface ParsedJwt {
  readonly header: JoseHeader
  /** The encoded header, when it was not known from a genuine token before. */
  readonly newHeader: string | undefined
  readonly claims: JsonObject
  /** The claims as signed: strict JSON text. */
  readonly claimsJson: string
  /** `BASE64URL(header) '.' BASE64URL(payload)`: what the signature covers. */
  readonly signed: Buffer
  readonly signature: Buffer
}

/** Remembers headers of genuine tokens, so that their text is parsed once. Parsing is a pure function of the text. */
export interface HeaderMemo {
  get(text: string): JoseHeader | undefined
  keep(text: string, header: JoseHeader): void
}

/** Strict parser in front of any cryptography: what any two JOSE libraries could read differently is refused. */
export function parseJwt(token: Buffer, memo: HeaderMemo): ParsedJwt | Denial {
  if (token.length > MAX_TOKEN_BYTES) return deny('token_too_large')
  const first = token.indexOf(DOT)
  const second = token.indexOf(DOT, first + 1)
  const malformed = misshapen(token, first, second)
  if (malformed) return deny(malformed)

  const headerText = token.toString('latin1', 0, first)
  const known = memo.get(headerText)
  const header = known ?? parseHeader(headerText)
  if (typeof header === 'string') return deny(header)

  const payload = decode(token.toString('latin1', first + 1, second))
  if (typeof payload === 'string') return deny(payload)
  const claims = parseObject(payload)
  if (typeof claims === 'string') return deny(claims)

  const signature = decode(token.toString('latin1', second + 1))
  if (typeof signature === 'string') return deny(signature)

  const signed = token.subarray(0, second)
  const newHeader = known ? undefined : headerText
  return { header, newHeader, claims: claims.value, claimsJson: claims.text, signed, signature }
}

/** Keeps the header of a token whose signature was genuine. */
export function rememberHeader({ newHeader, header }: ParsedJwt, memo: HeaderMemo): void {
  if (newHeader !== undefined) memo.keep(newHeader, header)
}

/** Whether a token looks like a compact JWS: three parts that are not empty. */
export function isJwtShaped(token: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)
}

/** What a compact JWS says, read as strictly as any other and believed by nobody; `undefined` when it cannot be read. */
export function readUnverified(token: string): JsonObject | undefined {
  const payload = decode(token.split('.')[1] ?? '')
  const claims = typeof payload === 'string' ? payload : parseObject(payload)
  return typeof claims === 'string' ? undefined : claims.value
}
