import { describe } from 'vitest'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const EXTENSIONS = [
  'exp',
  'x-policy',
  'http://example.invalid/UNDEFINED',
  'cnf',
  '__proto__',
  'sigD',
  'iat',
  '',
]

describe('attack 17: J7: crit that names an extension we do not know (CVE-2025-59420)', () => {
  refuses(
    arena,
    spellings(EXTENSIONS, (name) => {
      const header = { crit: [name], ...(name === '__proto__' ? {} : { [name]: true }) }
      return [`crit ${JSON.stringify([name])}`, { header }, 'crit_unsupported']
    }),
  )
  refuses(arena, [
    ['crit that names a member which is absent', { header: { crit: ['bork'] } }, 'crit_unsupported'],
    ['crit with two extensions', { header: { crit: ['exp', 'nbf'], exp: 1, nbf: 1 } }, 'crit_unsupported'],
    [
      'crit behind an escape',
      { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"rs256-1","cri\\u0074":["x"],"x":1}' },
      'crit_unsupported',
    ],
  ])
  admits(arena, [
    ['the same extension without crit', { header: { 'x-policy': true, exp: 1 } }],
    ['a claim called crit', { claims: { crit: ['x'] } }],
  ])
})
