import { describe } from 'vitest'
import { unsigned } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const CASES = ['None', 'nOne', 'noNe', 'nonE', 'NOne', 'nOnE', 'NoNe', 'NONE', 'nONE', 'NonE']
const BLANKS = [
  ' none',
  'none ',
  'none\t',
  '\nnone',
  'none;',
  'n.o.n.e',
  '\uff4eone',
  'none\u200b',
  'null',
  'undefined',
]
const OTHERS = [
  'rs256',
  'Rs256',
  'RS256 ',
  ' RS256',
  'RS-256',
  'RSA256',
  'RS2560',
  'RS256,none',
  'RSASSA-PKCS1-v1_5',
  'RS1',
]

describe('attack 2: J4: none and the allowed algorithm in other spellings', () => {
  refuses(
    arena,
    spellings([...CASES, ...BLANKS], (alg) => [
      JSON.stringify(alg),
      { header: { alg }, sign: unsigned },
      'alg_not_allowed',
    ]),
  )
  refuses(
    arena,
    spellings(OTHERS, (alg) => [
      `${JSON.stringify(alg)} with a genuine signature`,
      { header: { alg } },
      'alg_not_allowed',
    ]),
  )
  refuses(arena, [
    [
      'none behind an escape',
      { headerText: '{"alg":"n\\u006fne","typ":"at+jwt","kid":"rs256-1"}', sign: unsigned },
      'alg_not_allowed',
    ],
    [
      'none with an escaped NUL',
      { headerText: '{"alg":"none\\u0000","typ":"at+jwt","kid":"rs256-1"}', sign: unsigned },
      'json_invalid',
    ],
  ])
  admits(arena, [
    ['RS256', {}],
    ['RS256 behind an escape', { headerText: '{"alg":"\\u0052S256","typ":"at+jwt","kid":"rs256-1"}' }],
  ])
})
