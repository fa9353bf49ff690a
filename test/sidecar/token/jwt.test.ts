import { expect, test } from 'vitest'
import type { JoseHeader } from '../../../contracts/jws.ts'
import { denied } from '../../../sidecar/decision.ts'
import { type HeaderMemo, MAX_TOKEN_BYTES, parseJwt, rememberHeader } from '../../../sidecar/token/jwt.ts'

const FORGETFUL: HeaderMemo = { get: () => undefined, keep: () => undefined }
const b64 = (text: string | Buffer) => Buffer.from(text).toString('base64url')
const GOOD_HEADER = { alg: 'RS256', typ: 'at+jwt', kid: 'k1' }
const HEADER = b64(JSON.stringify(GOOD_HEADER))
const PAYLOAD = b64('{"iss":"x"}')
const SIGNATURE = b64('signature')

function read(token: string | Buffer, memo: HeaderMemo = FORGETFUL): string {
  const jwt = parseJwt(Buffer.from(token), memo)
  return denied(jwt) ? jwt.reason : 'parsed'
}

function withHeader(members: Readonly<Record<string, unknown>>): string {
  return `${b64(JSON.stringify(members))}.${PAYLOAD}.${SIGNATURE}`
}

test('001-03: a compact JWS is taken apart: header, claims, signed bytes, signature', () => {
  const jwt = parseJwt(Buffer.from(`${HEADER}.${PAYLOAD}.${SIGNATURE}`), FORGETFUL)
  expect(jwt).toEqual({
    header: { algorithm: 'RS256', type: 'at+jwt', kid: 'k1' },
    newHeader: HEADER,
    claims: { iss: 'x' },
    claimsJson: '{"iss":"x"}',
    signed: Buffer.from(`${HEADER}.${PAYLOAD}`),
    signature: Buffer.from('signature'),
  })
})

test.each([
  [-1, 'parsed'],
  [0, 'parsed'],
  [1, 'token_too_large'],
  [1_000_000, 'token_too_large'],
])('a token of the limit %i bytes: %s', (over, want) => {
  const length = MAX_TOKEN_BYTES + over
  const prefix = `${HEADER}.${PAYLOAD}.`
  // Groups of four characters, so that the rest is canonical: what is missing goes into the payload's blanks.
  const rest = length - prefix.length
  const token =
    rest % 4 === 1 ? `${HEADER}.${b64('{"iss":"x"} ')}.${'A'.repeat(rest - 1)}` : prefix + 'A'.repeat(rest)
  expect(token).toHaveLength(length)
  expect(read(token)).toBe(want)
})

test.each([
  ['nothing', ''],
  ['one segment', HEADER],
  ['two segments', `${HEADER}.${PAYLOAD}`],
  ['four segments', `${HEADER}.${PAYLOAD}.${SIGNATURE}.`],
  ['six segments', 'a.b.c.d.e.f'],
  ['dots only', '..'],
  ['an empty header', `.${PAYLOAD}.${SIGNATURE}`],
  ['an empty payload', `${HEADER}..${SIGNATURE}`],
  ['the JSON serialization', JSON.stringify({ payload: PAYLOAD, protected: HEADER, signature: SIGNATURE })],
])('J1: %s is not a compact JWS', (_what, token) => {
  expect(read(token)).toBe('token_format')
})

test('J10, A5: five segments are a JWE, which is refused by name', () => {
  expect(read('a.b.c.d.e')).toBe('jwe_unsupported')
  expect(read('....')).toBe('token_format')
})

test('an empty signature is a signature that will not verify', () => {
  expect(read(`${HEADER}.${PAYLOAD}.`)).toBe('parsed')
})

const SPELLINGS: readonly (readonly [what: string, edit: (text: string) => string, want: string])[] = [
  ['padding', (text) => `${text}=`, 'b64_invalid'],
  ['a blank before it', (text) => ` ${text}`, 'b64_invalid'],
  ['a blank after it', (text) => `${text} `, 'b64_invalid'],
  ['a blank inside', (text) => `${text.slice(0, 2)} ${text.slice(2)}`, 'b64_invalid'],
  ['a line break', (text) => `${text}\n`, 'b64_invalid'],
  ['a tab', (text) => `\t${text}`, 'b64_invalid'],
  ['a NUL', (text) => `${text}\0`, 'b64_invalid'],
  ['a plus sign', (text) => `${text.slice(0, 4)}++++${text.slice(4)}`, 'b64_invalid'],
  ['a slash', (text) => `${text.slice(0, 4)}////${text.slice(4)}`, 'b64_invalid'],
  ['a percent escape', (text) => `%41${text.slice(1)}`, 'b64_invalid'],
  ['a letter beyond ASCII', (text) => `é${text}`, 'b64_invalid'],
  ['a length of 1 more than a multiple of 4', (text) => `${text.slice(0, 4)}A`, 'b64_invalid'],
  ['unused bits of two characters', () => 'e31', 'b64_noncanonical'],
  ['unused bits of one character', () => 'AB', 'b64_noncanonical'],
]

test.each(SPELLINGS)('a segment with %s is refused in each of the three places', (_what, edit, want) => {
  expect(read(`${edit(HEADER)}.${PAYLOAD}.${SIGNATURE}`)).toBe(want)
  expect(read(`${HEADER}.${edit(PAYLOAD)}.${SIGNATURE}`)).toBe(want)
  expect(read(`${HEADER}.${PAYLOAD}.${edit(SIGNATURE)}`)).toBe(want)
})

test.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'Ed25519'])(
  'alg %s is known',
  (alg) => {
    const jwt = parseJwt(Buffer.from(withHeader({ ...GOOD_HEADER, alg })), FORGETFUL)
    expect(denied(jwt) ? jwt.reason : jwt.header.algorithm).toBe(alg)
  },
)

test('J16: alg EdDSA is Ed25519 under its older name', () => {
  const jwt = parseJwt(Buffer.from(withHeader({ ...GOOD_HEADER, alg: 'EdDSA' })), FORGETFUL)
  expect(denied(jwt) ? jwt.reason : jwt.header.algorithm).toBe('Ed25519')
})

test.each([
  [{ alg: undefined }, 'header_invalid'],
  [{ alg: '' }, 'header_invalid'],
  [{ alg: 7 }, 'header_invalid'],
  [{ alg: null }, 'header_invalid'],
  [{ alg: ['RS256'] }, 'header_invalid'],
  [{ alg: 'none' }, 'alg_not_allowed'],
  [{ alg: 'nOnE' }, 'alg_not_allowed'],
  [{ alg: 'HS256' }, 'alg_not_allowed'],
  [{ alg: 'rs256' }, 'alg_not_allowed'],
  [{ alg: 'RS256 ' }, 'alg_not_allowed'],
  [{ alg: 'ES256K' }, 'alg_not_allowed'],
  [{ alg: 'constructor' }, 'alg_not_allowed'],
  [{ alg: '__proto__' }, 'alg_not_allowed'],
  [{ alg: 'RSA-OAEP', enc: 'A256GCM' }, 'jwe_unsupported'],
  [{ alg: 'PBES2-HS256+A128KW', p2c: 1e9 }, 'jwe_unsupported'],
  [{ enc: 'A256GCM' }, 'jwe_unsupported'],
  [{ crit: ['exp'] }, 'crit_unsupported'],
  [{ crit: [] }, 'crit_unsupported'],
  [{ crit: null }, 'crit_unsupported'],
  [{ crit: ['b64'], b64: true }, 'crit_unsupported'],
  [{ crit: ['b64'], b64: false }, 'header_forbidden'],
  [{ jku: 'https://x' }, 'header_forbidden'],
  [{ jwk: {} }, 'header_forbidden'],
  [{ x5u: 'https://x' }, 'header_forbidden'],
  [{ x5c: [] }, 'header_forbidden'],
  [{ b64: true }, 'header_forbidden'],
  [{ b64: false }, 'header_forbidden'],
  [{ cty: 'JWT' }, 'header_forbidden'],
  [{ zip: 'DEF' }, 'header_forbidden'],
  [{ jku: null }, 'header_forbidden'],
  [{ typ: 7 }, 'header_invalid'],
  [{ typ: null }, 'header_invalid'],
  [{ typ: ['at+jwt'] }, 'header_invalid'],
  [{ kid: 7 }, 'kid_invalid'],
  [{ kid: '' }, 'kid_invalid'],
  [{ kid: null }, 'kid_invalid'],
  [{ kid: '../../etc/passwd' }, 'kid_invalid'],
  [{ kid: "x' OR 1=1" }, 'kid_invalid'],
  [{ kid: '<script>' }, 'kid_invalid'],
  [{ kid: 'k\n1' }, 'kid_invalid'],
  [{ kid: 'ключ' }, 'kid_invalid'],
  [{ kid: 'k'.repeat(128) }, 'parsed'],
  [{ kid: 'k'.repeat(129) }, 'kid_invalid'],
  [{ kid: 'AZaz09._~:/+=@#,!{}-' }, 'parsed'],
  [{ kid: undefined }, 'parsed'],
  [{ typ: undefined }, 'parsed'],
  [{ x5t: 'abc', 'x5t#S256': 'abc', unknown: [1] }, 'parsed'],
])('J4, J7, J8, J9: a header with %j: %s', (members, want) => {
  expect(read(withHeader({ ...GOOD_HEADER, ...members }))).toBe(want)
})

test.each([
  ['at+jwt', 'at+jwt'],
  ['AT+JWT', 'at+jwt'],
  ['application/at+jwt', 'at+jwt'],
  ['Application/At+Jwt', 'at+jwt'],
  ['application/application/at+jwt', 'application/at+jwt'],
  ['JWT', 'jwt'],
  [' at+jwt', ' at+jwt'],
])('J14: typ %s is compared as "%s"', (typ, want) => {
  const jwt = parseJwt(Buffer.from(withHeader({ ...GOOD_HEADER, typ })), FORGETFUL)
  expect(denied(jwt) ? jwt.reason : jwt.header.type).toBe(want)
})

test.each([
  ['json_invalid', 'no JSON'],
  ['json_invalid', '[]'],
  ['json_duplicate', '{"alg":"none","alg":"RS256"}'],
  ['json_depth', `{"alg":"RS256","x":${'['.repeat(16)}${']'.repeat(16)}}`],
])('%s is said of a header and of a payload alike', (want, text) => {
  expect(read(`${b64(text)}.${PAYLOAD}.${SIGNATURE}`)).toBe(want)
  expect(read(`${HEADER}.${b64(text)}.${SIGNATURE}`)).toBe(want)
})

test('a remembered header is not parsed again, and only its exact text is remembered', () => {
  const kept = new Map<string, JoseHeader>()
  const memo: HeaderMemo = {
    get: (text) => kept.get(text),
    keep: (text, header) => void kept.set(text, header),
  }
  const jwt = parseJwt(Buffer.from(`${HEADER}.${PAYLOAD}.${SIGNATURE}`), memo)
  if (denied(jwt)) throw new Error(jwt.reason)
  expect(kept.size).toBe(0)
  rememberHeader(jwt, memo)
  expect([...kept]).toEqual([[HEADER, jwt.header]])
  const again = parseJwt(Buffer.from(`${HEADER}.${PAYLOAD}.`), memo)
  expect('header' in again && again.header === jwt.header).toBe(true)
  expect(read(`${HEADER}=.${PAYLOAD}.${SIGNATURE}`, memo)).toBe('b64_invalid')
})
