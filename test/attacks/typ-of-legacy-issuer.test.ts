import { describe } from 'vitest'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena()

describe('attack 33: A1, J14: an issuer that does not say what its tokens are for', () => {
  refuses(arena, [
    ['no typ', { header: { typ: undefined } }, 'typ_mismatch'],
    ['typ JWT', { header: { typ: 'JWT' } }, 'typ_mismatch'],
    ['typ jwt', { header: { typ: 'jwt' } }, 'typ_mismatch'],
    ['typ application/jwt', { header: { typ: 'application/jwt' } }, 'typ_mismatch'],
    ['an empty typ', { header: { typ: '' } }, 'typ_mismatch'],
    ['typ among the claims', { header: { typ: undefined }, claims: { typ: 'at+jwt' } }, 'typ_mismatch'],
    [
      'token_use in place of typ',
      { header: { typ: undefined }, claims: { token_use: 'access' } },
      'typ_mismatch',
    ],
    ['TYP in capitals', { header: { typ: undefined, TYP: 'at+jwt' } }, 'typ_mismatch'],
  ])
  admits(arena, [['typ at+jwt', {}]])
})
