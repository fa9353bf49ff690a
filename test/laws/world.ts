import fc from 'fast-check'
import { signingKey } from '../fixtures/keys.ts'
import type { PipelinePlan } from '../fixtures/pipeline.ts'
import type { Asked } from '../fixtures/question.ts'
import { AUDIENCE, CLIENT, ISSUER, type Members } from '../fixtures/tokens.ts'

// Everyday callers and questions, for laws that must hold for all of them.

export const KEY = signingKey('Ed25519', 'everyday')
export const TENANTS = ['acme', 'globex'] as const
const PEOPLE = ['alice', 'bob'] as const
export const ACTIONS = [
  'invoice:read',
  'invoice:list',
  'invoice:edit',
  'invoice:delete',
  'invoice:refund',
] as const

export const PLAN: PipelinePlan = { issuers: [{ keys: [KEY], algorithms: ['Ed25519'] }] }

/** Milliseconds for a law of thousands of cases on a machine that is busy with other things. */
export const PATIENT_MS = 180_000

/** Claims of somebody; most of them could do something. */
export const claims: fc.Arbitrary<Members> = fc.record({
  sub: fc.constantFrom(...PEOPLE),
  tenant: fc.constantFrom(...TENANTS),
  client_id: fc.constantFrom(CLIENT, 'alice'),
  roles: fc.subarray(['billing', 'reader']),
  scope: often(
    ACTIONS.join(' '),
    fc.subarray([...ACTIONS]).map((some) => some.join(' ')),
  ),
  iss: often(ISSUER, fc.constant('https://other.example')),
  aud: often(AUDIENCE, fc.constantFrom('https://other.example', [AUDIENCE, 'https://other.example'])),
})

const attributes = fc.record(
  {
    status: fc.constantFrom('draft', 'sent', 'paid'),
    visibility: fc.constantFrom('private', 'tenant'),
    amount: fc.constantFrom(10, 120, 5_000),
  },
  { requiredKeys: [] },
)

export const sent: fc.Arbitrary<Record<string, unknown>> = fc.dictionary(
  fc.constantFrom('amount', 'tenant', 'owner', 'stored', 'id', 'status', 'visibility', 'scope', 'roles', 'x'),
  fc.oneof(
    fc.constantFrom('acme', 'globex', 'alice', 'bob', 'tenant', 'draft', 'billing', ''),
    fc.constantFrom(0, -1, 1, 10, 100, 1e9),
    fc.boolean(),
    fc.constantFrom({ tenant: 'acme', owner: 'alice' }, ['billing'], null),
  ),
)

/** A question about some invoice. */
export const asked: fc.Arbitrary<Asked> = fc.record({
  action: fc.constantFrom(...ACTIONS),
  method: fc.constantFrom('GET', 'POST', 'DELETE'),
  stored: fc.record({
    tenant: often('acme', fc.constantFrom('globex', '')),
    owner: fc.constantFrom('alice', 'bob', ''),
    attributes,
  }),
  request: fc.oneof(fc.constant({ amount: 10 }), sent),
})

export function often<T>(usual: T, unusual: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: unusual })
}

/** Counts how often a law met each answer: a law that never saw a yes says nothing. */
export function createTally() {
  const seen = new Map<string, number>()
  return {
    note: (verdict: string) => void seen.set(verdict, (seen.get(verdict) ?? 0) + 1),
    of: (verdict: string) => seen.get(verdict) ?? 0,
    kinds: () => seen.size,
  }
}
