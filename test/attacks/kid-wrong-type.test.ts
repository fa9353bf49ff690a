import { describe } from 'vitest'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const WRONG = [null, 0, 1, -1, 1.5, true, false, '', {}, [], ['rs256-1'], { kid: 'rs256-1' }, [['rs256-1']]]

describe('attack 14: J9: kid of another type or size', () => {
  refuses(
    arena,
    spellings(WRONG, (kid) => [`kid ${JSON.stringify(kid)}`, { header: { kid } }, 'kid_invalid']),
  )
  refuses(arena, [
    ['a kid of 4 KiB', { header: { kid: 'k'.repeat(4096) } }, 'kid_invalid'],
    ['a kid of 12 KB', { header: { kid: 'k'.repeat(9_000) } }, 'token_too_large'],
    ['a kid of 1 MB', { header: { kid: 'k'.repeat(1_000_000) } }, 'request_invalid'],
    [
      'a kid that is half a character',
      { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"\\ud800"}' },
      'json_invalid',
    ],
  ])
  admits(arena, [
    ['kid as text', {}],
    ['kid behind escapes', { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"\\u0072s256-1"}' }],
  ])
})
