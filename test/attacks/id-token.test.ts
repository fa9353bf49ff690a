import { describe } from 'vitest'
import { AUDIENCE, CLIENT } from '../fixtures/tokens.ts'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const idClaims = { nonce: 'n-0S6_WzA2Mj', at_hash: 'MTIzNDU2Nzg5MDEyMzQ1Ng', auth_time: 1, azp: CLIENT }

describe('attack 30: 004-11, 004-28, J14: an ID token in place of an access token', () => {
  refuses(arena, [
    [
      'an ID token for its client',
      { header: { typ: 'JWT' }, claims: { ...idClaims, aud: CLIENT } },
      'typ_mismatch',
    ],
    [
      'an ID token without typ',
      { header: { typ: undefined }, claims: { ...idClaims, aud: CLIENT } },
      'typ_mismatch',
    ],
    [
      'an ID token that also names our audience',
      { header: { typ: 'JWT' }, claims: { ...idClaims, aud: [CLIENT, AUDIENCE] } },
      'typ_mismatch',
    ],
    [
      'an ID token with every claim of an access token',
      { header: { typ: undefined }, claims: idClaims },
      'typ_mismatch',
    ],
    ['typ id_token+jwt', { header: { typ: 'id_token+jwt' }, claims: idClaims }, 'typ_mismatch'],
    ['an access token for the client itself', { claims: { ...idClaims, aud: CLIENT } }, 'aud_mismatch'],
  ])
  admits(arena, [['an access token that carries claims known from ID tokens', { claims: idClaims }]])
})
