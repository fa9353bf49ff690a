import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { fedSnapshot, withheldSnapshot } from '../sidecar/trust/fed-world.ts'
import { AT_S } from './arena.ts'
import { type FedArena, KEY, openFedArena, STATED } from './fed.ts'

// Row 80: whatever is taken back between the first look and the answer is taken back.

const fresh = signingKey('RS256', 'fresh')
const sub = { subject: { $case: 'sub', sub: 'alice' } } as const

/** The real judge, with something that happens while it thinks. */
function during(arena: FedArena, happens: () => unknown) {
  return {
    judge: (...question: Parameters<typeof arena.steps.judge>) => {
      happens()
      const decision = arena.steps.judge(...question)
      expect(decision.kind).toBe('allow')
      return decision
    },
  }
}

describe('attack 80: Z2: while the policy runs,', () => {
  test.each<readonly [what: string, happens: (arena: FedArena) => unknown, reason: string]>([
    ['the user is revoked', (arena) => arena.revoke(sub), 'revoked_sub'],
    [
      'the key is revoked',
      (arena) => arena.revoke({ subject: { $case: 'kid', kid: KEY.kid } }),
      'kid_revoked',
    ],
    ['everything is withheld', (arena) => arena.install(withheldSnapshot(6, 'conflict')), 'not_ready'],
    ['the lease lapses', (arena) => arena.pass(900_000), 'revocation_stale'],
    [
      'nothing that matters happens',
      (arena) => arena.revoke({ subject: { $case: 'sub', sub: 'bob' } }),
      'allow',
    ],
    ['time passes', (arena) => arena.pass(4_000), 'allow'],
  ])('%s: %s', async (_what, happens, reason) => {
    const arena = await openFedArena()
    expect(
      await arena.verdict(
        {},
        {},
        during(arena, () => happens(arena)),
      ),
    ).toBe(reason)
  })

  test('a refusal of the policy stays one', async () => {
    const arena = await openFedArena()
    const verdict = await arena.verdict(
      {},
      { stored: { tenant: 'globex' } },
      {
        judge: (...asked) => {
          arena.revoke({ subject: { $case: 'sub', sub: 'bob' } })
          return arena.steps.judge(...asked)
        },
      },
    )
    expect(verdict).toBe('tenant_mismatch')
  })
})

describe('while its key is being fetched,', () => {
  const waiting = (happens: (arena: FedArena) => unknown) =>
    openFedArena({
      refresh: (arena) => async () => {
        await arena().install(fedSnapshot(6, [{ ...STATED, keys: [KEY, fresh] }]))
        await happens(arena())
        return true
      },
    })
  test.each<readonly [what: string, happens: (arena: FedArena) => unknown, reason: string]>([
    ['nothing happens', () => undefined, 'allow'],
    ['the user is revoked', (arena) => arena.revoke(sub), 'revoked_sub'],
    ['everything is withheld', (arena) => arena.install(withheldSnapshot(7, 'conflict')), 'jwks_unavailable'],
    ['the lease lapses', (arena) => arena.pass(900_000), 'revocation_stale'],
    [
      'the key itself is revoked',
      (arena) => {
        const snapshot = fedSnapshot(7, [{ ...STATED, keys: [KEY, fresh] }])
        const issuers = snapshot.issuers.map((one) => ({ ...one, revokedKids: ['fresh'] }))
        return arena.install({ ...snapshot, issuers })
      },
      'kid_revoked',
    ],
  ])('%s: %s', async (_what, happens, reason) => {
    const arena = await waiting(happens)
    // It outlives whatever happens.
    expect(await arena.verdict({ key: fresh, claims: { exp: AT_S + 3_000 } })).toBe(reason)
  })
})
