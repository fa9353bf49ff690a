import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { signingKey } from '../fixtures/keys.ts'
import { CLIENT } from '../fixtures/tokens.ts'
import { AT_S } from './arena.ts'
import { KEY, openFedArena } from './fed.ts'

// A token that was good a moment ago, and whose bearer, session, client, key or tenant somebody has taken back since.

const other = signingKey('RS256', 'other')
const claims = { jti: 'j-1', sid: 's-1' }

const ROWS: readonly (readonly [what: string, entry: Partial<Revocation>, reason: string])[] = [
  ['this very token', { subject: { $case: 'jti', jti: 'j-1' } }, 'revoked_jti'],
  ['the session', { subject: { $case: 'sid', sid: 's-1' } }, 'revoked_sid'],
  ['the user', { subject: { $case: 'sub', sub: 'alice' } }, 'revoked_sub'],
  ['the client', { subject: { $case: 'clientId', clientId: CLIENT } }, 'revoked_client'],
  ['the key', { subject: { $case: 'kid', kid: KEY.kid } }, 'kid_revoked'],
  ['the tenant', { subject: { $case: 'tenant', tenant: 'acme' } }, 'revoked_tenant'],
  [
    'whatever was issued before now',
    { subject: { $case: 'everything', everything: true }, issuedBeforeMs: AT_S * 1000 },
    'revoked_issued_before',
  ],
  [
    'the user until now',
    { subject: { $case: 'sub', sub: 'alice' }, issuedBeforeMs: AT_S * 1000 },
    'revoked_sub',
  ],
]

describe('a revoked', () => {
  test.each(ROWS)(
    '%s is denied at once, and again after everything else was told',
    async (_what, entry, reason) => {
      const arena = await openFedArena()
      expect(await arena.verdict({ claims })).toBe('allow')
      expect(arena.revoke(entry)).toMatchObject({ ok: true })
      expect(await arena.verdict({ claims })).toBe(reason)
      arena.revoke({ subject: { $case: 'sub', sub: 'somebody else' } })
      expect(await arena.verdict({ claims })).toBe(reason)
    },
  )

  test.each<readonly [what: string, entry: Partial<Revocation>]>([
    ['another token', { subject: { $case: 'jti', jti: 'J-1' } }],
    ['a session whose name is this token’s', { subject: { $case: 'sid', sid: 'j-1' } }],
    ['the same user of another issuer', { subject: { $case: 'sub', sub: 'alice' }, issuer: 'https://other' }],
    ['another key', { subject: { $case: 'kid', kid: other.kid } }],
    [
      'whatever was issued a second earlier',
      { subject: { $case: 'everything', everything: true }, issuedBeforeMs: AT_S * 1000 - 1 },
    ],
    ['the user, but long ago', { subject: { $case: 'sub', sub: 'alice' }, expiresAtMs: AT_S * 1000 }],
  ])('control: %s leaves this one alone', async (_what, entry) => {
    const arena = await openFedArena()
    arena.revoke(entry)
    expect(await arena.verdict({ claims })).toBe('allow')
  })
})

test('no set of revocations makes anything allowed that was not', async () => {
  const arena = await openFedArena()
  const plain = await openFedArena()
  const weapons = [
    { claims },
    { claims: { ...claims, sub: 'bob' } },
    { claims: { ...claims, tenant: 'globex' } },
    { claims: { ...claims, exp: AT_S - 100, iat: AT_S - 200 } },
    { key: other, claims },
  ]
  await fc.assert(
    fc.asyncProperty(fc.subarray([...ROWS]), fc.nat({ max: weapons.length - 1 }), async (rows, index) => {
      arena.revoke(...rows.map(([, entry]) => entry))
      const weapon = weapons[index] ?? {}
      if ((await plain.verdict(weapon)) !== 'allow') expect(await arena.verdict(weapon)).not.toBe('allow')
    }),
    { numRuns: 50 },
  )
})
