import { describe } from 'vitest'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const WRONG = [null, true, 0, 256, '', [], ['RS256'], ['none'], {}, { alg: 'RS256' }, [['RS256']]]
const HEADERS = ['[]', '"RS256"', 'null', 'true', '1', '', ' ', '[{"alg":"RS256"}]']

describe('attack 8: J4: alg absent or not text', () => {
  refuses(arena, [
    ['no alg', { header: { alg: undefined } }, 'header_invalid'],
    ['an empty header object', { headerText: '{}' }, 'header_invalid'],
    [
      'alg inherited from __proto__',
      { headerText: '{"__proto__":{"alg":"RS256","typ":"at+jwt","kid":"rs256-1"}}' },
      'header_invalid',
    ],
    [
      'alg one level down',
      { headerText: '{"header":{"alg":"RS256"},"typ":"at+jwt","kid":"rs256-1"}' },
      'header_invalid',
    ],
  ])
  refuses(
    arena,
    spellings(WRONG, (alg) => [`alg ${JSON.stringify(alg)}`, { header: { alg } }, 'header_invalid']),
  )
  refuses(
    arena,
    spellings([1, null, [], ['at+jwt'], {}, true], (typ) => [
      `typ ${JSON.stringify(typ)}`,
      { header: { typ } },
      'header_invalid',
    ]),
  )
  refuses(
    arena,
    spellings(HEADERS, (headerText) => {
      const reason = headerText === '' ? 'token_format' : 'json_invalid'
      return [`the header ${JSON.stringify(headerText)}`, { headerText }, reason]
    }),
  )
  admits(arena, [
    ['alg as text', {}],
    [
      'a header with white space',
      { headerText: ' {\n\t"alg" : "RS256" , "typ":"at+jwt","kid" : "rs256-1"\r\n} ' },
    ],
  ])
})
