import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { goodClaims, goodHeader } from '../fixtures/tokens.ts'
import { AT_S, type Attack, admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const claims = JSON.stringify(goodClaims(AT_S))
const header = JSON.stringify(goodHeader(signingKey()))
const odd = (member: string) => `${claims.slice(0, -1)},${member}}`
const raw = (bytes: readonly number[]) =>
  Buffer.concat([Buffer.from(`${claims.slice(0, -1)},"x":"`), Buffer.from(bytes), Buffer.from('"}')])

const BYTES: readonly (readonly [string, Buffer])[] = [
  ['a BOM', Buffer.from(`\ufeff${claims}`)],
  ['UTF-16, little-endian', Buffer.from(claims, 'utf16le')],
  ['UTF-16, big-endian', Buffer.from(claims, 'utf16le').swap16()],
  ['UTF-16 with its BOM', Buffer.from(`\ufeff${claims}`, 'utf16le')],
  ['UTF-32', Buffer.from(claims.split('').flatMap((char) => [char.charCodeAt(0), 0, 0, 0]))],
  ['an overlong slash', raw([0xc0, 0xaf])],
  ['an overlong NUL', raw([0xc0, 0x80])],
  ['an overlong form of three bytes', raw([0xe0, 0x80, 0xaf])],
  ['a lone surrogate in bytes', raw([0xed, 0xa0, 0x80])],
  ['a surrogate pair in bytes (CESU-8)', raw([0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80])],
  ['a code point past the last', raw([0xf4, 0x90, 0x80, 0x80])],
  ['a lone continuation byte', raw([0x80])],
  ['a character cut short', raw([0xe2, 0x82])],
  ['Latin-1', raw([0xe9])],
  ['0xff', raw([0xff])],
  ['a raw NUL', raw([0])],
  ['a raw newline in text', raw([10])],
  ['a raw tab in text', raw([9])],
  ['a NUL after the end', Buffer.from(`${claims}\0`)],
  ['a NUL before the start', Buffer.from(`\0${claims}`)],
]
const MEMBERS = [
  '"x":"\\ud800"',
  '"x":"\\udc00\\ud800"',
  '"x":"\\u0000"',
  '"\\u0000":1',
  '"\\ud800":1',
  '"x":["\\udfff"]',
  '"x":"\\uD83D"',
]
const SYNTAX = [
  '"x":NaN',
  '"x":Infinity',
  '"x":-Infinity',
  '"x":01',
  '"x":+1',
  '"x":.5',
  '"x":1.',
  '"x":0x1F',
  "'x':1",
  'x:1',
  '"x":1,',
  '"x":undefined',
  '"x":"\\x41"',
  '"x":"\\u00"',
  '"x":/**/1',
  '"x":1//',
  '"x":tru',
  '"x"',
  '"x":',
  ',"x":1',
  '"x":1 "y":2',
  '"x":"',
  '"x":[1,]',
]
const SHAPES = [
  '[]',
  `[${claims}]`,
  JSON.stringify(claims),
  'null',
  'true',
  '0',
  ' ',
  '{',
  '}',
  '{}{}',
  `${claims},`,
  `(${claims})`,
  `${claims}x`,
  'ey',
]

const inClaims = (name: string, payloadText: string | Buffer): Attack => [
  name,
  { payloadText },
  'json_invalid',
]

describe('attack 22: J3: text that two parsers would read differently', () => {
  refuses(
    arena,
    BYTES.map(([name, bytes]) => inClaims(`${name} in the claims`, bytes)),
  )
  refuses(
    arena,
    spellings(MEMBERS, (member) => inClaims(`the escape in ${member}`, odd(member))),
  )
  refuses(
    arena,
    spellings(SYNTAX, (member) => inClaims(`the syntax ${member}`, odd(member))),
  )
  refuses(
    arena,
    spellings(SHAPES, (shape) => inClaims(`the claim set ${shape.slice(0, 12)}`, shape)),
  )
  refuses(arena, [
    ['a BOM in the header', { headerText: `\ufeff${header}` }, 'json_invalid'],
    ['UTF-16 in the header', { headerText: Buffer.from(header, 'utf16le') }, 'json_invalid'],
    ['an escaped NUL in the header', { headerText: `${header.slice(0, -1)},"x":"\\u0000"}` }, 'json_invalid'],
    [
      'a lone surrogate in the header',
      { headerText: `${header.slice(0, -1)},"x":"\\ud800"}` },
      'json_invalid',
    ],
    [
      'an overlong form in the header',
      { headerText: Buffer.concat([Buffer.from(header.slice(0, -1)), Buffer.from([0xc0, 0xaf, 0x7d])]) },
      'json_invalid',
    ],
    ['an empty claim set', { payloadText: '{}' }, 'iss_missing'],
    ['no claim set', { payloadText: '' }, 'token_format'],
  ])
  admits(arena, [
    ['characters of every length', { claims: { x: 'é €\u2028 😀 \u007f 中文 \uffff' } }],
    ['a surrogate pair behind escapes', { payloadText: odd('"x":"\\ud83d\\ude00"') }],
    ['every escape that JSON has', { payloadText: odd('"x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041"') }],
    ['white space around everything', { payloadText: JSON.stringify(JSON.parse(claims), undefined, '\t') }],
    ['white space before and after', { payloadText: ` \r\n${claims}\t ` }],
    [
      'claims in the opposite order',
      { payloadText: JSON.stringify(Object.fromEntries(Object.entries(goodClaims(AT_S)).toReversed())) },
    ],
    ['numbers of every form', { payloadText: odd('"x":[0,-0,1.5,1e3,-1E-2,1e+2]') }],
  ])
})
