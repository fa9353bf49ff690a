import { describe } from 'vitest'
import { goodClaims } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const later = AT_S + 300
const WRONG = [
  String(later),
  '',
  'never',
  null,
  true,
  false,
  [],
  [later],
  {},
  { exp: later },
  new Date(later * 1000).toISOString(),
]

describe('attack 47: J17: an expiry that is no number', () => {
  refuses(
    arena,
    spellings(WRONG, (exp) => [
      `exp ${JSON.stringify(exp).replaceAll(/\d{6,}/g, 'N')}`,
      { claims: { exp } },
      'exp_invalid',
    ]),
  )
  refuses(
    arena,
    spellings(WRONG, (iat) => [
      `iat ${JSON.stringify(iat).replaceAll(/\d{6,}/g, 'N')}`,
      { claims: { iat } },
      'claim_invalid',
    ]),
  )
  refuses(
    arena,
    spellings(WRONG, (nbf) => [
      `nbf ${JSON.stringify(nbf).replaceAll(/\d{6,}/g, 'N')}`,
      { claims: { nbf } },
      'claim_invalid',
    ]),
  )
  admits(arena, [
    ['exp as a number', {}],
    ['exp with its number written out', { payloadText: JSON.stringify(goodClaims(AT_S)) }],
    ['nbf as a number', { claims: { nbf: AT_S } }],
  ])
})
