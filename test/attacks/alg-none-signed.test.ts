import { describe } from 'vitest'
import { hmacSigner, signingKey } from '../fixtures/keys.ts'
import { base64url, constant } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, tokenOf } from './arena.ts'

const arena = await openArena()
const [, , genuine = ''] = tokenOf({}).split('.')

describe('attack 3: J6: alg none with a signature all the same', () => {
  refuses(arena, [
    ['none with the signature of the key', { header: { alg: 'none' } }, 'alg_not_allowed'],
    [
      'none with the signature of another token',
      { header: { alg: 'none' }, tamper: ([h, p]) => [h, p, genuine] },
      'alg_not_allowed',
    ],
    [
      'none with one zero byte',
      { header: { alg: 'none' }, sign: constant(Buffer.alloc(1)) },
      'alg_not_allowed',
    ],
    ['none with an HMAC', { header: { alg: 'none' }, sign: hmacSigner('secret') }, 'alg_not_allowed'],
    ['none in capitals with a signature', { header: { alg: 'NONE' } }, 'alg_not_allowed'],
    [
      'a header swapped for none after signing',
      {
        tamper: ([, p, s]) => [base64url(Buffer.from('{"alg":"none","typ":"at+jwt","kid":"rs256-1"}')), p, s],
      },
      'alg_not_allowed',
    ],
    [
      'a header swapped for another order of members after signing',
      {
        tamper: ([, p, s]) => [
          base64url(Buffer.from('{"typ":"at+jwt","alg":"RS256","kid":"rs256-1"}')),
          p,
          s,
        ],
      },
      'sig_invalid',
    ],
    ['the signature of another token', { tamper: ([h, p]) => [h, p, genuine] }, 'sig_invalid'],
  ])
  admits(arena, [['the token with its own signature', { key: signingKey() }]])
})
