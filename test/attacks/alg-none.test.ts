import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { base64url, goodClaims, unsigned } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const bare = [{ alg: 'none' }, goodClaims(AT_S)].map((part) => base64url(Buffer.from(JSON.stringify(part))))

describe('attack 1: J6, A4: alg none with an empty signature', () => {
  refuses(arena, [
    ['none under a known kid', { header: { alg: 'none' }, sign: unsigned }, 'alg_not_allowed'],
    ['none without a kid', { header: { alg: 'none', kid: undefined }, sign: unsigned }, 'alg_not_allowed'],
    ['none without a typ', { header: { alg: 'none', typ: undefined }, sign: unsigned }, 'alg_not_allowed'],
    [
      'none of an issuer nobody knows',
      { header: { alg: 'none' }, claims: { iss: 'x' }, sign: unsigned },
      'alg_not_allowed',
    ],
    [
      'none with a key of its own',
      { header: { alg: 'none', jwk: signingKey().jwk }, sign: unsigned },
      'alg_not_allowed',
    ],
    ['the smallest header there is', `${bare.join('.')}.`, 'alg_not_allowed'],
    ['none without the last dot', bare.join('.'), 'token_format'],
    ['RS256 without a signature', { sign: unsigned }, 'sig_invalid'],
    ['RS256 without the last dot', { tamper: ([header, payload]) => [header, payload] }, 'token_format'],
  ])
  admits(arena, [['the same token, signed', {}]])
})
