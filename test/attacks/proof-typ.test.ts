import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { forge, goodHeader } from '../fixtures/tokens.ts'
import { AT_S, tokenOf } from './arena.ts'
import { BOUND, judgesProofs, openDpopArena, type ProofAttack } from './dpop-arena.ts'

const arena = await openDpopArena()
const token = tokenOf(BOUND)
const TYPES = [
  'JWT',
  'jwt',
  'at+jwt',
  'application/at+jwt',
  'client-authentication+jwt',
  'oauth-authz-req+jwt',
  'logout+jwt',
  'dpop',
  'dpop+jwt ',
  'dpop+jwt;x',
  'jwt+dpop',
  '',
]

describe('attack 61: something else that the client once signed, in place of a proof', () => {
  judgesProofs(
    arena,
    TYPES.map(
      (typ): ProofAttack => [
        `attack 61: of type ${JSON.stringify(typ)}`,
        { proof: { header: { typ } } },
        'dpop_typ',
      ],
    ),
  )
  judgesProofs(arena, [
    ['attack 61: of no type', { proof: { header: { typ: undefined } } }, 'dpop_typ'],
    ['attack 61: of a type that is a number', { proof: { header: { typ: 1 } } }, 'dpop_typ'],
    ['attack 61: the access token itself', { token, proof: [token] }, 'dpop_typ'],
    [
      'attack 61: a client assertion',
      {
        token,
        proof: [
          forge({ at: AT_S, header: { ...goodHeader(signingKey()), typ: 'JWT' }, claims: { sub: 'client' } }),
        ],
      },
      'dpop_typ',
    ],
    ['attack 61: a proof', {}, 'allow'],
  ])
})
