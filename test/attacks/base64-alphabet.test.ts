import { describe } from 'vitest'
import { base64, base64url, type Forge, type Segments } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, spellings, tokenOf } from './arena.ts'

const arena = await openArena()

// A genuine token that has `-` and `_` in it, and segments that would need padding.
function tellingToken(): string {
  for (let serial = 0; ; serial++) {
    const token = tokenOf({ claims: { jti: `jti-${serial}`, x: '???>>>~~~' } })
    const [, claims = '', signature = ''] = token.split('.')
    if (/-/.test(claims + signature) && /_/.test(signature) && claims.length % 4 !== 0) return token
  }
}
const telling = tellingToken()
const segments = telling.split('.')
const swap = (index: number, place: (segment: string) => string) =>
  segments.map((segment, at) => (at === index ? place(segment) : segment)).join('.')
const padded = (text: string) => text + '='.repeat((4 - (text.length % 4)) % 4 || 1)
const standard = (text: string) => text.replaceAll('-', '+').replaceAll('_', '/')
const plainBase64: Forge = { claims: { x: '???>>>~~~' }, header: { x: '???' }, encode: base64 }
const oneStrange = (char: string) => (parts: Segments) => [
  parts[0],
  parts[1],
  `${parts[2].slice(0, 9)}${char}${parts[2].slice(10)}`,
]

describe('attack 26: J1, J2: padding, and the alphabet of another base64', () => {
  refuses(arena, [
    ['padding in the claims', swap(1, padded), 'b64_invalid'],
    ['padding in the signature', swap(2, padded), 'b64_invalid'],
    ['padding in the header', swap(0, padded), 'b64_invalid'],
    ['too much padding', swap(2, (text) => `${text}====`), 'b64_invalid'],
    ['+ and / in the signature', swap(2, standard), 'b64_invalid'],
    ['+ and / and padding in the signature', swap(2, (text) => padded(standard(text))), 'b64_invalid'],
    ['plain base64 that was signed that way', plainBase64, 'b64_invalid'],
    ['padding that was signed too', { encode: (bytes) => padded(base64url(bytes)) }, 'b64_invalid'],
    ['one character too many', swap(2, (text) => `${text}AAA`), 'b64_invalid'],
  ])
  refuses(
    arena,
    spellings([...'+/=.~!*:,%$@\\"\u00e9\u0130'], (char) => [
      `${JSON.stringify(char)} in the signature`,
      { tamper: oneStrange(char) },
      char === '.' ? 'token_format' : 'b64_invalid',
    ]),
  )
  admits(arena, [['the same token in base64url', telling]])
})
