import {
  derSigner,
  hmacSigner,
  publicSecrets,
  type Signer,
  type SigningKey,
  signerOf,
  signingKey,
} from '../fixtures/keys.ts'
import { AUDIENCE, type Forge, ISSUER, type Members, noncanonical, unsigned } from '../fixtures/tokens.ts'

// The ways in which a token may differ from a good one: those that decide, and those that must not matter.

export const NOW_S = 1_790_000_000
export const SKEW_S = 60
export const MAX_LIFETIME_S = 3600

export const PUBLISHED = [
  signingKey('RS256', 'diff-rs'),
  signingKey('PS256', 'diff-ps'),
  signingKey('ES256', 'diff-es'),
  signingKey('Ed25519', 'diff-ed'),
] as const
const STRANGER = signingKey('RS256', 'stranger')
const UNPINNED = signingKey('ES384', 'diff-es384')

/** One way to differ: members, then text, then the finished segments. */
export interface Change {
  readonly what: string
  readonly header?: Members
  readonly claims?: Members
  readonly headerText?: (text: string) => string | Buffer
  readonly payloadText?: (text: string) => string | Buffer
  readonly sign?: (key: SigningKey) => Signer
  readonly encode?: (bytes: Buffer) => string
  readonly tamper?: Forge['tamper']
}

export function headerChanges(): readonly Change[] {
  const member = (name: string, ...values: readonly unknown[]) =>
    values.map((value) => ({ what: `header ${name} ${JSON.stringify(value)}`, header: { [name]: value } }))
  return [
    ...member(
      'typ',
      undefined,
      'JWT',
      'AT+JWT',
      'application/at+jwt',
      'Application/AT+JWT',
      'at+jwt;v=1',
      'jwt+at',
      '',
      7,
      ['at+jwt'],
    ),
    ...member(
      'kid',
      undefined,
      '',
      'unknown',
      7,
      '../diff-rs',
      'a'.repeat(129),
      'DIFF-RS',
      STRANGER.kid,
      UNPINNED.kid,
      'diff-rs',
      'diff-es',
    ),
    ...member(
      'alg',
      undefined,
      '',
      'none',
      'NONE',
      'HS256',
      'rs256',
      'RS512',
      'ES256K',
      'EdDSA',
      'ES384',
      'RSA-OAEP',
      7,
      ['RS256'],
    ),
    ...member('crit', [], ['b64'], ['exp'], ['unknown'], 'b64', null),
    ...member('b64', true, false),
    ...member('jku', 'https://evil.example/keys'),
    ...member('jwk', STRANGER.jwk),
    ...member('x5u', 'https://evil.example/cert'),
    ...member('x5c', ['MIIB']),
    ...member('cty', 'JWT'),
    ...member('zip', 'DEF'),
    ...member('enc', 'A256GCM'),
    ...member('x5t', 'abc'),
    ...member('extra', 1, null, { nested: [1] }),
    { what: 'crit b64 with b64 true', header: { crit: ['b64'], b64: true } },
  ]
}

export function claimChanges(): readonly Change[] {
  const member = (name: string, ...values: readonly unknown[]) =>
    values.map((value) => ({ what: `claim ${name} ${JSON.stringify(value)}`, claims: { [name]: value } }))
  const other = 'https://other.example'
  return [
    ...member('iss', undefined, '', `${ISSUER}/`, ISSUER.toUpperCase(), other, 7, [ISSUER], null),
    ...member(
      'aud',
      undefined,
      '',
      [],
      other,
      `${AUDIENCE}.evil`,
      [other],
      [AUDIENCE],
      [other, AUDIENCE],
      [AUDIENCE, 7],
      { 0: AUDIENCE },
      7,
      null,
    ),
    ...member('sub', undefined, '', 7, null, 'x'.repeat(256), 'x'.repeat(257), 'ünï𝔠ode'),
    ...member('client_id', undefined, '', ['test-web'], 'alice'),
    ...member('jti', undefined, '', 7),
    ...member('exp', undefined, `${NOW_S + 300}`, null, 0, -1, true, NOW_S + 0.5, NOW_S + 300.5),
    ...member('iat', undefined, `${NOW_S}`, null, NOW_S - 0.5, NOW_S + 300),
    ...member('nbf', NOW_S, `${NOW_S}`, null, NOW_S - 0.5, NOW_S + 0.5),
    ...member('scope', undefined, '', 'a  b', ' a', ['invoice:read'], 7),
    ...member('roles', undefined, [], 'billing', [7]),
    ...member('tenant', undefined, 'globex', 'initech', '', 7, ['acme']),
    ...member('cnf', { jkt: 'abc' }, { 'x5t#S256': 'abc' }, {}, null, { jwk: {} }),
  ]
}

export function textChanges(): readonly Change[] {
  const payload = (what: string, payloadText: Change['payloadText']): Change => ({
    what,
    ...(payloadText && { payloadText }),
  })
  const header = (what: string, headerText: Change['headerText']): Change => ({
    what,
    ...(headerText && { headerText }),
  })
  const also = (member: string) => (text: string) => `${text.slice(0, -1)},${member}}`
  const expAs = (spelling: string) => (text: string) => text.replace(/"exp":[^,}]+/, `"exp":${spelling}`)
  return [
    payload('exp spelled with an exponent', expAs(`${NOW_S / 1000}e3`)),
    payload('exp spelled with a zero fraction', expAs(`${NOW_S + 300}.0`)),
    payload('exp too big for a number', expAs('1e999')),
    payload('exp beyond 2^53', expAs('9007199254740993')),
    payload('sub twice', also('"sub":"root"')),
    payload('sub twice, once escaped', also('"s\\u0075b":"root"')),
    payload('a nested member twice', also('"x":{"a":1,"a":2}')),
    payload('__proto__', also('"__proto__":{"sub":"root"}')),
    payload('a NUL in a claim', also('"x":"a\\u0000b"')),
    payload('a lone surrogate', also('"x":"\\ud800"')),
    payload('a surrogate pair', also('"x":"\\ud83d\\ude00"')),
    payload('nested 15 deep', also(`"x":${'['.repeat(15)}${']'.repeat(15)}`)),
    payload('nested 16 deep', also(`"x":${'['.repeat(16)}${']'.repeat(16)}`)),
    payload('large but allowed', also(`"x":"${'x'.repeat(4_500)}"`)),
    payload('too large', also(`"x":"${'x'.repeat(8_200)}"`)),
    payload('blanks between members', (text) => text.replaceAll(',"', ' ,\r\n\t"')),
    payload('a blank after it', (text) => `${text} `),
    payload('a byte order mark', (text) => `\ufeff${text}`),
    payload('bytes that are not UTF-8', (text) => Buffer.from(text.replace('alice', 'al\u00efce'), 'latin1')),
    payload('an array', (text) => `[${text}]`),
    payload('null', () => 'null'),
    payload('nothing', () => ''),
    payload('cut off', (text) => text.slice(0, -1)),
    header('kid twice', also('"kid":"diff-rs"')),
    header('alg twice, none first', (text) => text.replace('{', '{"alg":"none",')),
    header('blanks in the header', (text) => text.replaceAll(':', ' : ')),
    header('a header with a byte order mark', (text) => `\ufeff${text}`),
    header('a header nested 16 deep', also(`"x":${'['.repeat(16)}${']'.repeat(16)}`)),
    header('a header that is an array', (text) => `[${text}]`),
    header('a header that is no JSON', () => 'alg=RS256'),
  ]
}

type Segment = 0 | 1 | 2

export function spellingChanges(): readonly Change[] {
  const change = (what: string, edit: (segment: string) => string) =>
    ([0, 1, 2] as const).map(
      (which: Segment): Change => ({
        what: `${what} in segment ${which}`,
        tamper: (segments) => segments.map((text, index) => (index === which ? edit(text) : text)),
      }),
    )
  const signed = (what: string, edit: (segment: string) => string): Change => ({
    what: `${what}, signed so`,
    encode: (bytes) => edit(bytes.toString('base64url')),
  })
  const pad = (text: string) => text.padEnd(Math.ceil(text.length / 4) * 4, '=')
  return [
    ...change('a blank', (text) => `${text.slice(0, 4)} ${text.slice(4)}`),
    ...change('a line break at the end', (text) => `${text}\n`),
    ...change('padding', pad),
    ...change('needless padding', (text) => `${text}==`),
    ...change('a non-alphabet character', (text) => `${text}!`),
    ...change('unused bits set', (text) => (text.length % 4 === 0 ? text : noncanonical(text))),
    ...change('nothing', () => ''),
    ...change('one character less', (text) => text.slice(0, -1)),
    ...change('an additional A', (text) => `${text}A`),
    signed('padding', pad),
    signed('unused bits set', (text) => (text.length % 4 === 0 ? text : noncanonical(text))),
    signed('standard alphabet', (text) =>
      Buffer.from(text, 'base64url').toString('base64').replaceAll('=', ''),
    ),
    { what: 'a fourth segment', tamper: (segments) => [...segments, ''] },
    { what: 'five segments', tamper: (segments) => [...segments, 'a', 'b'] },
    { what: 'two segments', tamper: ([header, payload]) => [header, payload] },
    { what: 'no signature bytes', sign: () => unsigned },
    { what: 'an ASN.1 signature', sign: (key) => (key.alg.startsWith('ES') ? derSigner(key) : unsigned) },
    {
      what: 'a zero byte before the signature',
      sign: (key) => (input) => Buffer.concat([Buffer.alloc(1), signerOf(key)(input)]),
    },
    {
      what: 'a stranger signed it',
      sign: (key) => (key.alg === STRANGER.alg ? signerOf(STRANGER) : unsigned),
    },
    {
      what: 'HMAC with the public key',
      header: { alg: 'HS256' },
      sign: (key) => hmacSigner(publicSecrets(key)['der'] ?? ''),
    },
  ]
}
