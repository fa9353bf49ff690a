import { describe, expect, test } from 'vitest'
import { AUDIENCE } from '../fixtures/tokens.ts'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena({ exclusiveAudience: true })
const others = Array.from({ length: 50 }, (_, index) => `https://other-${index}.example`)

describe('attack 43: 000-05, 000-06: a token for us and for others, where it must be for us alone', () => {
  refuses(arena, [
    ['us and fifty others', { claims: { aud: [AUDIENCE, ...others] } }, 'aud_not_exclusive'],
    ['fifty others and us', { claims: { aud: [...others, AUDIENCE] } }, 'aud_not_exclusive'],
    ['us and one other', { claims: { aud: [AUDIENCE, 'https://other.example'] } }, 'aud_not_exclusive'],
    ['us and nobody', { claims: { aud: [AUDIENCE, ''] } }, 'aud_not_exclusive'],
    ['us and us in capitals', { claims: { aud: [AUDIENCE, AUDIENCE.toUpperCase()] } }, 'aud_not_exclusive'],
    ['fifty others', { claims: { aud: others } }, 'aud_mismatch'],
    ['us and a number', { claims: { aud: [AUDIENCE, 1] } }, 'aud_invalid'],
  ])
  admits(arena, [
    ['us as text', { claims: { aud: AUDIENCE } }],
    ['us in a list', { claims: { aud: [AUDIENCE] } }],
    ['us twice', { claims: { aud: [AUDIENCE, AUDIENCE] } }],
  ])

  test('where it need not be for us alone, fifty others are allowed beside us', async () => {
    const open = await openArena()
    expect(await open.verdict({ claims: { aud: [AUDIENCE, ...others] } })).toBe('allow')
  })
})
