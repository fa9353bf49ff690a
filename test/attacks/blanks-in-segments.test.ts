import { describe } from 'vitest'
import { base64url, type Segments } from '../fixtures/tokens.ts'
import { type Attack, admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const BLANKS = {
  'a space': ' ',
  'a tab': '\t',
  'a newline': '\n',
  'a carriage return': '\r',
  'a no-break space': '\u00a0',
  'a BOM': '\ufeff',
  'a NUL': '\0',
}
const NAMES = ['header', 'claims', 'signature'] as const

const put = (index: number, place: (segment: string) => string) => (segments: Segments) =>
  segments.map((segment, at) => (at === index ? place(segment) : segment))

const attacks = Object.entries(BLANKS).flatMap(([name, blank]) =>
  NAMES.flatMap((where, index): readonly Attack[] => {
    const middle = { tamper: put(index, (text) => `${text.slice(0, 8)}${blank}${text.slice(8)}`) }
    const end = { tamper: put(index, (text) => `${text}${blank}`) }
    return [
      [`${name} inside the ${where}`, middle, 'b64_invalid'],
      [`${name} at the end of the ${where}`, end, 'b64_invalid'],
    ]
  }),
)
const signedWith = (blank: string): Attack => [
  `${JSON.stringify(blank)} every 16 characters, signed that way,`,
  { encode: (bytes) => base64url(bytes).replace(/.{16}/g, `$&${blank}`) },
  'b64_invalid',
]

describe('attack 25: J1: white space in a segment', () => {
  refuses(arena, attacks)
  refuses(arena, [signedWith(' '), signedWith('\n'), signedWith('\r\n'), signedWith('\t')])
  admits(arena, [['the same token without white space', {}]])
})
