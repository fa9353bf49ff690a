import { describe, expect, test } from 'vitest'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena()

describe('attack 15: 001-04: no kid, although only one key could be meant', () => {
  refuses(arena, [
    ['no kid with a set of one key', { header: { kid: undefined } }, 'kid_missing'],
    [
      "no kid and an attacker's key",
      { key: signingKey('RS256', 'attacker'), header: { kid: undefined } },
      'kid_missing',
    ],
    ['kid in capitals', { header: { kid: undefined, KID: 'rs256-1' } }, 'kid_missing'],
    ['kid among the claims', { header: { kid: undefined }, claims: { kid: 'rs256-1' } }, 'kid_missing'],
  ])
  admits(arena, [['the same token with its kid', {}]])

  test('a published key without kid serves no token, with or without a kid', async () => {
    const document = JSON.stringify(jwksOf([signingKey()], { kid: undefined }))
    const nameless = await openArena({ issuers: [{ document }] })
    expect(await nameless.verdict({ header: { kid: undefined } })).toBe('kid_missing')
    expect(await nameless.verdict({})).toBe('jwks_unavailable')
  })
})
