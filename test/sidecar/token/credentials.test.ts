import { expect, test } from 'vitest'
import { denied } from '../../../sidecar/decision.ts'
import type { CheckRequest } from '../../../sidecar/request.ts'
import { present } from '../../../sidecar/token/credentials.ts'

type Line = readonly [name: string, value: string | Buffer]

function asked(headers: readonly Line[], url = '/invoices'): string {
  const request: CheckRequest = {
    headers: headers.map(([name, value]) => ({ name, value: Buffer.from(value) })),
    method: 'GET',
    url,
    action: 'invoice:read',
    stored: { type: '', id: '', tenant: '', owner: '', attributes: {} },
    sent: {},
    peerCertificate: undefined,
    timeoutMs: 0,
  }
  const outcome = present(request)
  return denied(outcome) ? outcome.reason : `${outcome.scheme} ${outcome.token.toString('latin1')}`
}

const auth = (value: string | Buffer): Line => ['authorization', value]

test.each([
  ['Bearer abc', 'bearer abc'],
  ['bearer abc', 'bearer abc'],
  ['BEARER abc', 'bearer abc'],
  ['bEaReR abc', 'bearer abc'],
  ['DPoP abc', 'dpop abc'],
  ['dpop abc', 'dpop abc'],
  ['Bearer abc.def.ghi', 'bearer abc.def.ghi'],
  ['Bearer abc ', 'bearer abc '],
])('"%s" presents "%s"', (value, want) => {
  expect(asked([auth(value)])).toBe(want)
})

test('the bytes of a credential are handed on untouched', () => {
  const bytes = Buffer.from([0x42, 0x65, 0x61, 0x72, 0x65, 0x72, 0x20, 0xff, 0x00, 0xe2, 0x82])
  expect(asked([auth(bytes)])).toBe(`bearer ${bytes.subarray(7).toString('latin1')}`)
})

test('a header value that is a view into a larger buffer is read within its bounds', () => {
  const value = Buffer.from('xxBearer abcyy').subarray(2, 12)
  expect(asked([auth(value)])).toBe('bearer abc')
})

test.each([
  ['nothing at all', []],
  [
    'other headers only',
    [
      ['x-request-id', '1'],
      ['cookie', 'access_token=abc'],
    ],
  ],
  ['the Basic scheme', [auth('Basic dXNlcjpwYXNz')]],
  ['a scheme without a credential', [auth('Negotiate')]],
  ['a scheme of unusual letters', [auth("!#$%&'*+.^_`|~-9 x")]],
] satisfies readonly (readonly [string, readonly Line[]])[])('%s presents no token', (_what, lines) => {
  expect(asked(lines)).toBe('token_missing')
})

test.each([
  ['two lines', [auth('Bearer a'), auth('Bearer b')]],
  ['two equal lines', [auth('Bearer a'), auth('Bearer a')]],
  ['a second line of another scheme', [auth('Bearer a'), auth('Basic b')]],
  ['a second line that is empty', [auth('Bearer a'), auth('')]],
  ['two Bearer credentials in one line', [auth('Bearer a, Bearer b')]],
  ['two credentials without a blank between', [auth('Bearer a,DPoP b')]],
  ['two credentials and a tab', [auth('Bearer a,\tBasic b')]],
] satisfies readonly (readonly [string, readonly Line[]])[])(
  '%s: more than one credential',
  (_what, lines) => {
    expect(asked(lines)).toBe('auth_multiple')
  },
)

test.each([
  ['an empty value', ''],
  ['a blank value', ' '],
  ['a leading blank', ' Bearer abc'],
  ['a scheme alone', 'Bearer'],
  ['a scheme and a blank', 'Bearer '],
  ['two blanks', 'Bearer  abc'],
  ['a tab after the blank', 'Bearer \tabc'],
  ['a tab in place of the blank', 'Bearer\tabc'],
  ['a quoted scheme', '"Bearer" abc'],
  ['a colon behind the scheme', 'Bearer: abc'],
  ['an equals sign behind the scheme', 'Bearer= abc'],
  ['a scheme with a NUL', 'Bear\0er abc'],
  ['the scheme twice', 'Bearer Bearer abc'],
  ['two schemes', 'Bearer DPoP abc'],
])('P11: %s is malformed', (_what, value) => {
  expect(asked([auth(value)])).toBe('auth_malformed')
})

test.each([
  'authorization ',
  ' authorization',
  'author_ization',
  'authorization_',
  'authorization\0',
  'authorization\t',
  'author-ization',
])('a header named "%s", which some component folds into Authorization, is refused', (name) => {
  expect(asked([[name, 'Bearer b']])).toBe('auth_malformed')
  expect(asked([auth('Bearer a'), [name, 'Bearer b']])).toBe('auth_malformed')
})

test.each(['x-authorization', 'proxy-authorization', 'authorization-info', 'x-original-authorization'])(
  'a header named "%s" is another header',
  (name) => {
    expect(asked([auth('Bearer a'), [name, 'Bearer b']])).toBe('bearer a')
    expect(asked([[name, 'Bearer b']])).toBe('token_missing')
  },
)

test.each([
  [0, 'dpop a'],
  [1, 'dpop a'],
  [2, 'dpop_multiple'],
])('%i DPoP proofs: %s', (count, want) => {
  expect(asked([auth('DPoP a'), ...Array.from({ length: count }, (): Line => ['dpop', 'proof'])])).toBe(want)
})

test('two DPoP proofs that somebody joined into one line are two', () => {
  expect(asked([auth('DPoP a'), ['dpop', 'proof, proof']])).toBe('dpop_multiple')
})

test.each([
  '/x?access_token=abc',
  '/x?access_token',
  '/x?a=1&access_token=abc',
  '/x?a=1;access_token=abc',
  '/x?ACCESS_TOKEN=abc',
  '/x?%61ccess_token=abc',
  '/x?access%5Ftoken=abc',
  '/x?access%5ftoken=abc',
  '/x?+access_token+=abc',
  '/x?a=1#access_token=abc',
  '/x#access_token=abc',
  '/x?a=%zz&access_token=abc',
  '/x?a?access_token=abc',
  'https://api.example/x?access_token=abc',
])('O1, Z1, 004-12: a token in the query of %s is refused, whatever else there is', (url) => {
  expect(asked([], url)).toBe('token_in_query')
  expect(asked([auth('Bearer a')], url)).toBe('token_in_query')
})

test.each([
  '/x',
  '/x?',
  '/access_token=abc',
  '/x?token=abc',
  '/x?my_access_token=abc',
  '/x?access_token_type=abc',
  '/x?q=access_token',
  '/x?q=%',
  '/x?q=100%25',
])('%s carries no token', (url) => {
  expect(asked([auth('Bearer a')], url)).toBe('bearer a')
})
