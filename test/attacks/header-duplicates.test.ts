import { describe } from 'vitest'
import { rawObject, unsigned } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const good = [
  ['alg', 'RS256'],
  ['typ', 'at+jwt'],
  ['kid', 'rs256-1'],
] as const

describe('attack 7: J3: a header that says one thing twice', () => {
  refuses(arena, [
    ['none, then RS256', { headerText: rawObject([['alg', 'none'], ...good]) }, 'json_duplicate'],
    [
      'RS256, then none',
      { headerText: rawObject([...good, ['alg', 'none']]), sign: unsigned },
      'json_duplicate',
    ],
    ['RS256 twice', { headerText: rawObject([...good, ['alg', 'RS256']]) }, 'json_duplicate'],
    [
      'alg again behind an escape',
      { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"rs256-1","\\u0061lg":"none"}' },
      'json_duplicate',
    ],
    [
      'a nested member twice',
      { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"rs256-1","x":{"a":1,"a":2}}' },
      'json_duplicate',
    ],
    [
      'an empty name twice',
      { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"rs256-1","":1,"":2}' },
      'json_duplicate',
    ],
  ])
  refuses(
    arena,
    spellings(['kid', 'typ', 'crit', 'jwk', '__proto__'], (name) => {
      const headerText = rawObject([...good, [name, 'x'], [name, 'y']])
      return [`${name} more than once`, { headerText }, 'json_duplicate']
    }),
  )
  admits(arena, [
    ['each member once', { headerText: rawObject(good) }],
    ['each member once in another order', { headerText: rawObject(good.toReversed()) }],
    ['a name that differs in case', { headerText: rawObject([...good, ['ALG', 'none']]) }],
  ])
})
