import { describe } from 'vitest'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const WRONG = [
  [],
  ['x', 'x'],
  ['alg'],
  ['kid', 'typ'],
  ['crit'],
  [1],
  [null],
  [['x']],
  'alg',
  '',
  null,
  true,
  false,
  0,
  {},
  { 0: 'x' },
]

describe('attack 18: J7: crit empty, repeated, of another type or naming registered members', () => {
  refuses(
    arena,
    spellings(WRONG, (crit) => [
      `crit ${JSON.stringify(crit)}`,
      { header: { crit, x: 1 } },
      'crit_unsupported',
    ]),
  )
  admits(arena, [['no crit', { header: { x: 1 } }]])
})
