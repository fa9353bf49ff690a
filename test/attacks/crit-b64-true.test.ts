import { describe } from 'vitest'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena()

describe('attack 19: J7: crit b64 with the value that changes nothing', () => {
  refuses(arena, [
    ['crit ["b64"] with b64 true', { header: { crit: ['b64'], b64: true } }, 'crit_unsupported'],
    ['crit ["b64"] without b64', { header: { crit: ['b64'] } }, 'crit_unsupported'],
    ['b64 true without crit', { header: { b64: true } }, 'header_forbidden'],
  ])
  admits(arena, [['neither of them', {}]])
})
