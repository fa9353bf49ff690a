import { describe } from 'vitest'
import { judgesProofs, openDpopArena } from './dpop-arena.ts'

const arena = await openDpopArena()
const OVERRIDE = [
  ['x-http-method-override', 'GET'],
  ['x-http-method', 'GET'],
  ['x-method-override', 'GET'],
] as const

describe('attack 59: a proof for another method', () => {
  judgesProofs(arena, [
    ['attack 59: for GET, sent with DELETE', { method: 'DELETE' }, 'dpop_htm'],
    ['attack 59: for GET, sent with HEAD', { method: 'HEAD' }, 'dpop_htm'],
    [
      'attack 59: for GET, sent with DELETE and headers that say GET',
      { method: 'DELETE', headers: OVERRIDE },
      'dpop_htm',
    ],
    [
      'attack 59: for DELETE, sent with POST and a header that says DELETE',
      { method: 'POST', proof: { method: 'DELETE' }, headers: [['x-http-method-override', 'DELETE']] },
      'dpop_htm',
    ],
    ['attack 59: in lower case', { proof: { method: 'get' } }, 'dpop_htm'],
    ['attack 59: a request in lower case', { method: 'get' }, 'dpop_htm'],
    ['attack 59: with a zero byte', { proof: { method: 'GET\u0000' } }, 'dpop_malformed'],
    ['attack 59: a list of methods', { proof: { claims: { htm: ['GET', 'DELETE'] } } }, 'dpop_htm'],
    ['attack 59: any method', { proof: { method: '*' } }, 'dpop_htm'],
    ['attack 59: no method', { proof: { claims: { htm: undefined } } }, 'dpop_htm'],
    ['attack 59: an empty one', { proof: { method: '' } }, 'dpop_htm'],
    ['attack 59: the method of the request', { method: 'DELETE', proof: { method: 'DELETE' } }, 'allow'],
  ])
})
