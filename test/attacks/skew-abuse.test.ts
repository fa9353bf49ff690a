import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { fedSnapshot } from '../sidecar/trust/fed-world.ts'
import { AT_S, openArena, trusting } from './arena.ts'
import { KEY, openFedArena, STATED } from './fed.ts'

const SKEW_S = 30
const tolerant = { issuers: trusting(signingKey()).issuers.map((one) => ({ ...one, skewS: SKEW_S })) }
const lived = (iat: number, exp: number, nbf?: number) => ({
  claims: { iat: AT_S + iat, exp: AT_S + exp, ...(nbf === undefined ? {} : { nbf: AT_S + nbf }) },
})

describe('attack 52: Z6: the tolerance for clocks as a longer life', async () => {
  const arena = await openArena(tolerant)

  test.each([
    ['in its last tolerated second', lived(-300, 1 - SKEW_S), 'allow'],
    ['when tolerance is over', lived(-300, -SKEW_S), 'expired'],
    ['from as far in the future as is tolerated', lived(SKEW_S, 300, SKEW_S), 'allow'],
    ['from a second further', lived(SKEW_S + 1, 300), 'iat_future'],
    ['not valid for a second longer', lived(0, 300, SKEW_S + 1), 'nbf_future'],
    ['of the longest life', lived(-10, 3590), 'allow'],
    ['that counts tolerance into the longest life', lived(-10, 3591), 'lifetime_too_long'],
  ] as const)('a token %s: %s', async (_what, weapon, want) => {
    expect(await arena.verdict(weapon)).toBe(want)
  })

  // The record ends with the token, by the clock of whoever wrote it; the token ends later by ours.
  test.each(['jti', 'sid'] as const)(
    'a token revoked by its %s is not back in its tolerated seconds',
    async (by) => {
      const sent = fedSnapshot(5, [STATED])
      const first = { ...sent, issuers: sent.issuers.map((one) => ({ ...one, skewS: SKEW_S })) }
      const fed = await openFedArena({ first })
      const token = { key: KEY, claims: { iat: AT_S, exp: AT_S + 120, jti: 'j-1', sid: 's-1' } }
      const subject =
        by === 'jti' ? ({ $case: 'jti', jti: 'j-1' } as const) : ({ $case: 'sid', sid: 's-1' } as const)
      expect(await fed.verdict(token)).toBe('allow')
      expect(fed.revoke({ subject, expiresAtMs: (AT_S + 120) * 1000 })).toMatchObject({ ok: true })
      for (let second = 0; second < 120 + SKEW_S; second += 10) {
        expect(await fed.verdict(token), `second ${second}`).toBe(`revoked_${by}`)
        fed.pass(10_000)
        fed.heartbeat()
      }
      expect(await fed.verdict(token)).toBe('expired')
    },
  )
})
