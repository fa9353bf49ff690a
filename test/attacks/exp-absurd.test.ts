import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { goodClaims } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const written = (name: string, number: string) => ({
  payloadText: JSON.stringify(goodClaims(AT_S, { [name]: '@' })).replace('"@"', number),
})
const LIFETIME_S = 3600
const NUMBERS = [
  '1e999',
  '-1e999',
  '-1',
  '0',
  '-0',
  `${AT_S + 300}.5`,
  `-${AT_S + 300}`,
  '9007199254740993',
  '1e308',
  '1e-308',
  '1e21',
  '18446744073709551616',
]

describe('attack 48: J17: an expiry that is no moment', () => {
  refuses(
    arena,
    spellings(NUMBERS, (exp) => [
      `exp ${exp.length > 9 ? exp.replace(/\d{9,}/, 'N') : exp}`,
      written('exp', exp),
      'exp_invalid',
    ]),
  )
  refuses(
    arena,
    spellings(NUMBERS, (iat) => [
      `iat ${iat.length > 9 ? iat.replace(/\d{9,}/, 'N') : iat}`,
      written('iat', iat),
      'claim_invalid',
    ]),
  )
  refuses(
    arena,
    spellings(NUMBERS, (nbf) => [
      `nbf ${nbf.length > 9 ? nbf.replace(/\d{9,}/, 'N') : nbf}`,
      written('nbf', nbf),
      'claim_invalid',
    ]),
  )
  refuses(arena, [
    ['exp 9e15', written('exp', '9e15'), 'lifetime_too_long'],
    ['exp in milliseconds', { claims: { exp: (AT_S + 300) * 1000 } }, 'lifetime_too_long'],
    ['exp in a hundred years', { claims: { exp: AT_S + 3_153_600_000 } }, 'lifetime_too_long'],
    ['exp before iat', { claims: { iat: AT_S, exp: AT_S - 1 } }, 'exp_invalid'],
    ['exp at iat', { claims: { iat: AT_S, exp: AT_S } }, 'exp_invalid'],
    ['a lifetime one second too long', { claims: { exp: AT_S + LIFETIME_S + 1 } }, 'lifetime_too_long'],
    [
      'a lifetime stretched into the past',
      { claims: { iat: AT_S - LIFETIME_S, exp: AT_S + 1 } },
      'lifetime_too_long',
    ],
  ])
  admits(arena, [
    ['the longest lifetime', { claims: { exp: AT_S + LIFETIME_S } }],
    ['the shortest lifetime', { claims: { exp: AT_S + 1 } }],
    ['the longest lifetime on its last second', { claims: { iat: AT_S - LIFETIME_S, exp: AT_S } }],
  ])

  test.each([
    [-59, 'allow'],
    [-60, 'expired'],
    [-61, 'expired'],
  ])('exp %i s from now, with 60 s of skew', async (delta, want) => {
    expect(await arena.verdict({ claims: { iat: AT_S - 300, exp: AT_S + delta } })).toBe(want)
  })

  test.each([
    [1, 'allow'],
    [0, 'expired'],
    [-1, 'expired'],
  ])('exp %i s from now, without skew', async (delta, want) => {
    const strict = await openArena({ issuers: [{ keys: [signingKey()], skewS: 0 }] })
    expect(await strict.verdict({ claims: { iat: AT_S - 300, exp: AT_S + delta } })).toBe(want)
  })
})
