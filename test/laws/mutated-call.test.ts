import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { AT_S } from '../attacks/arena.ts'
import { judgeCalls } from './call-law.ts'
import { callMutant } from './call-mutants.ts'
import { createCallReference } from './call-reference.ts'
import { KEYS } from './mutants.ts'
import { PATIENT_MS } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const CASES = 10_000
const rules = { atS: AT_S, skewS: 60, lifetimeS: 3600, tenants: ['acme', 'globex'], scope: 'invoice:read' }

test('tokens with their proofs and certificates, a few changes away from genuine ones, are never allowed where the reference refuses', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const { broken, allowed, reasons } = await judgeCalls(CASES, seed)
  expect(broken, `seed ${seed}`).toBeUndefined()
  expect(allowed).toBeGreaterThan(CASES / 10)
  expect(allowed).toBeLessThan(CASES * 0.7)
  expect(reasons.size).toBeGreaterThan(40)
  for (const reason of [
    'dpop_htm',
    'dpop_htu',
    'dpop_ath',
    'dpop_jkt',
    'dpop_sig',
    'dpop_replay',
    'dpop_iat_skew',
    'mtls_mismatch',
    'mtls_missing',
    'mtls_header_invalid',
    'mtls_untrusted_hop',
    'cnf_unknown',
    'cnf_required',
    'cnf_scheme_mismatch',
  ])
    expect(reasons.get(reason), reason).toBeGreaterThan(0)
})

test('the reference itself refuses what it must and allows what it may', async () => {
  const published = KEYS.map(({ jwk: { alg: _, ...jwk } }) => jwk)
  const reference = createCallReference(published, ['Ed25519', 'EdDSA', 'ES256', 'RS256'], rules)
  const answers = await Promise.all(fc.sample(callMutant(AT_S), { numRuns: 1_000, seed: 7 }).map(reference))
  expect(answers.filter((one) => one === 'allow').length).toBeGreaterThan(100)
  const kinds = new Set(answers)
  expect(kinds.size).toBeGreaterThan(25)
  for (const kind of [
    'htu',
    'ath',
    'jkt',
    'iat',
    'htm',
    'replay',
    'scheme',
    'lines',
    'other certificate',
    'word of the proxy',
  ])
    expect(kinds).toContain(kind)
})
