import { describe, expect, test } from 'vitest'
import { AT_S } from './arena.ts'
import { openDpopArena } from './dpop-arena.ts'
import { nonceOf, openReplicas } from './replicas.ts'

describe('attack 67: a proof without the nonce that was asked for', () => {
  test('attack 67: leaving it out is refused, before and after one was given', async () => {
    const { one } = await openReplicas(undefined)
    expect(await one.verdict()).toBe('dpop_nonce_required')
    const nonce = await nonceOf(one)
    expect(await one.verdict({ proof: { claims: { nonce } } })).toBe('allow')
    expect(await one.verdict()).toBe('dpop_nonce_required')
    expect(await one.verdict({ proof: { at: AT_S + 5 } })).toBe('dpop_nonce_required')
  })

  test.each([
    ['null', null],
    ['false', false],
    ['an empty text', ''],
    ['a list with the nonce in it', 'list'],
    ['the nonce with a blank', 'blank'],
    ['the nonce in other letters', 'upper'],
  ])('attack 67: %s in its place is refused', async (_, kind) => {
    const { one } = await openReplicas(undefined)
    const nonce = await nonceOf(one)
    const made: Readonly<Record<string, unknown>> = {
      list: [nonce],
      blank: `${nonce} `,
      upper: nonce.toUpperCase(),
    }
    const value = typeof kind === 'string' && kind in made ? made[kind] : kind
    expect(await one.verdict({ proof: { claims: { nonce: value } } })).toBe('dpop_nonce_invalid')
  })

  test('attack 67: a proof made ahead of time is of no use for longer than a nonce lives', async () => {
    const { one, clock } = await openReplicas(undefined)
    const nonce = await nonceOf(one)
    clock.now += 30_000
    expect(await one.verdict({ proof: { at: AT_S + 30, claims: { nonce } } })).toBe('dpop_nonce_invalid')
  })

  test('attack 67: a nonce that an attacker makes up is refused where none is asked for as well', async () => {
    const arena = await openDpopArena()
    for (const nonce of ['v1.AAAAAAAAAAA.9999999999.AAAAAAAAAAAAAAAAAAAAAA', 'none'])
      expect(await arena.verdict({ proof: { claims: { nonce } } })).toBe('dpop_nonce_invalid')
  })
})
