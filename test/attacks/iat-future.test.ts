import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { AT_S, openArena } from './arena.ts'

const arena = await openArena()
const YEAR_S = 31_536_000

describe('attack 51: 001-13: a token minted in advance', () => {
  test.each([
    [-3000, 'allow'],
    [0, 'allow'],
    [59, 'allow'],
    [60, 'allow'],
    [61, 'iat_future'],
    [YEAR_S, 'iat_future'],
  ])('iat %i s from now, with 60 s of skew', async (delta, want) => {
    const iat = AT_S + delta
    expect(await arena.verdict({ claims: { iat, exp: Math.max(iat, AT_S) + 300 } })).toBe(want)
  })

  test.each([
    [0, 0, 'allow'],
    [0, 1, 'iat_future'],
    [300, 300, 'allow'],
    [300, 301, 'iat_future'],
  ])('with %i s of skew, iat %i s from now', async (skewS, delta, want) => {
    const other = await openArena({ issuers: [{ keys: [signingKey()], skewS }] })
    expect(await other.verdict({ claims: { iat: AT_S + delta, exp: AT_S + 900 } })).toBe(want)
  })

  test('a fraction of a second is not rounded up', async () => {
    const late = await openArena({ now: () => AT_S * 1000 + 999 })
    expect(await late.verdict({ claims: { iat: AT_S + 61 } })).toBe('iat_future')
    expect(await late.verdict({ claims: { iat: AT_S + 60 } })).toBe('allow')
    expect(await late.verdict({ claims: { iat: AT_S - 300, exp: AT_S - 59 } })).toBe('allow')
  })
})
