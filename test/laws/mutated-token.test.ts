import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { createJudge } from '../../sidecar/policy/judge.ts'
import type { PolicyModule } from '../../sidecar/ports.ts'
import { AT_S, openArena, tenantsBy } from '../attacks/arena.ts'
import { openSteps, requestOf } from '../attacks/steps.ts'
import { admitted } from '../fixtures/admitted.ts'
import { question } from '../fixtures/question.ts'
import { KEYS, mutant } from './mutants.ts'
import { createReference } from './reference.ts'
import { createTally, PATIENT_MS } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const CASES = 12_000
const tenants = ['acme', 'globex']
const algorithms = ['Ed25519', 'ES256', 'RS256']
const tenant = tenantsBy('tenant', tenants)
const issuers = [{ keys: KEYS, algorithms, tenant }]
const arena = await openArena({ issuers })
// Without "alg" in its keys: jose compares the names EdDSA and Ed25519 as text.
const published = KEYS.map(({ jwk: { alg: _, ...jwk } }) => jwk)
const rules = { atS: AT_S, skewS: 60, lifetimeS: 3600, tenants, scope: 'invoice:read' }
const reference = createReference(published, [...algorithms, 'EdDSA'], rules)

// A resource that everybody of its tenant may read: the answer is about the token alone.
async function verdict(token: string): Promise<string> {
  const stored = { tenant: tenantIn(token), owner: 'somebody', attributes: { visibility: 'tenant' } }
  return arena.verdict(token, { stored })
}

function tenantIn(token: string): string {
  try {
    const claims: { readonly tenant?: unknown } = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    )
    return String(claims.tenant)
  } catch {
    return ''
  }
}

describe('tokens a few changes away from a genuine one', () => {
  test('000-01: are allowed exactly when jose and a table of claims allow them', async () => {
    const tally = createTally()
    await fc.assert(
      fc.asyncProperty(mutant(AT_S), async (token) => {
        const [ours, theirs] = [await verdict(token), await reference(token)]
        tally.note(ours)
        expect({ ours: ours === 'allow' }, `we say ${ours}, the reference says ${theirs}`).toEqual({
          ours: theirs === 'allow',
        })
      }),
      { numRuns: CASES },
    )
    expect(tally.of('allow')).toBeGreaterThan(CASES / 10)
    expect(tally.of('allow')).toBeLessThan(CASES / 2)
    expect(tally.kinds()).toBeGreaterThan(25)
  })

  test('none that is genuine makes a policy break, even one that reads every claim', async () => {
    const { trust, floor } = await openSteps({ issuers })
    const nosy: PolicyModule = { ...trust.policy, reads: () => true }
    const judge = createJudge(floor)
    const tally = createTally()
    await fc.assert(
      fc.asyncProperty(mutant(AT_S), async (token) => {
        const message = question({ token })
        const { decision, principal } = await arena.pipeline.ask(message)
        tally.note(principal ? 'genuine' : 'refused')
        if (principal)
          expect(
            judge(
              admitted(principal, trust, message.action),
              requestOf(message),
              { ...trust, policy: nosy },
              0,
            ),
          ).toEqual(decision)
      }),
      { numRuns: 3_000 },
    )
    expect(tally.of('genuine')).toBeGreaterThan(300)
  })

  test('the reference itself refuses what it must and allows what it may', async () => {
    const answers = await Promise.all(fc.sample(mutant(AT_S), { numRuns: 300, seed: 7 }).map(reference))
    const kinds = new Set(answers)
    expect(kinds).toContain('allow')
    expect(kinds.size).toBeGreaterThan(15)
  })
})
