import { describe, expect, test } from 'vitest'
import { AT_S, openArena } from './arena.ts'

const arena = await openArena()
const strict = await openArena({ maxTokenLifetimeS: 86_400 })

describe('attack 50: 001-13: a token from the future by its nbf', () => {
  test.each([
    [-3600, 'allow'],
    [0, 'allow'],
    [59, 'allow'],
    [60, 'allow'],
    [61, 'nbf_future'],
    [3600, 'nbf_future'],
    [9e9, 'nbf_future'],
  ])('nbf %i s from now, with 60 s of skew', async (delta, want) => {
    expect(await arena.verdict({ claims: { nbf: AT_S + delta } })).toBe(want)
  })

  test('nbf after exp never becomes valid', async () => {
    expect(await strict.verdict({ claims: { nbf: AT_S + 7200, exp: AT_S + 3600 } })).toBe('nbf_future')
  })

  test('no nbf is allowed', async () => {
    expect(await arena.verdict({ claims: { nbf: undefined } })).toBe('allow')
  })
})
