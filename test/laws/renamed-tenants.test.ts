import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { openArena, tenantsBy, tokenOf } from '../attacks/arena.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import type { Asked } from '../fixtures/question.ts'
import { asked, claims, createTally, KEY, PATIENT_MS, PLAN, TENANTS } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const [issuer] = PLAN.issuers
const policy = await readBundle(POLICY.invoices)
const arena = await openArena({ ...PLAN, policy })

// Names that are easily confused, and names of any characters.
const name = fc.oneof(
  fc.constantFrom(
    'acme',
    'globex',
    'ACME',
    'acm',
    'acme ',
    '*',
    'null',
    '__proto__',
    'tenant',
    'a.b',
    '"',
    '\u00e9',
    'e\u0301',
  ),
  fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }),
)
const renaming = fc.uniqueArray(name, { minLength: 2, maxLength: 2 })

test('renaming tenants everywhere changes no answer', async () => {
  const tally = createTally()
  await fc.assert(
    fc.asyncProperty(
      renaming,
      fc.array(fc.tuple(claims, asked), { minLength: 5, maxLength: 20 }),
      async (names, cases) => {
        const renamed = (tenant: unknown) => names[TENANTS.indexOf(tenant as 'acme')] ?? ''
        const tenant = tenantsBy('tenant', names)
        const other = await openArena({ ...PLAN, policy, issuers: [{ ...issuer, tenant }] })
        for (const [who, what] of cases) {
          const moved: Asked = { ...what, stored: { ...what.stored, tenant: renamed(what.stored?.tenant) } }
          const before = await arena.verdict(tokenOf({ key: KEY, claims: who }), what)
          const after = await other.verdict(
            tokenOf({ key: KEY, claims: { ...who, tenant: renamed(who['tenant']) } }),
            moved,
          )
          tally.note(before)
          expect(after).toBe(before)
        }
      },
    ),
    { numRuns: 120 },
  )
  expect(tally.of('allow')).toBeGreaterThan(50)
  expect(tally.of('tenant_mismatch')).toBeGreaterThan(50)
})

test('exchanging two tenants exchanges their answers', async () => {
  const swap = (tenant: unknown) => (tenant === 'acme' ? 'globex' : tenant === 'globex' ? 'acme' : '')
  await fc.assert(
    fc.asyncProperty(claims, asked, async (who, what) => {
      const before = await arena.verdict(tokenOf({ key: KEY, claims: who }), what)
      const swapped = tokenOf({ key: KEY, claims: { ...who, tenant: swap(who['tenant']) } })
      const after = await arena.verdict(swapped, {
        ...what,
        stored: { ...what.stored, tenant: swap(what.stored?.tenant) },
      })
      expect(after).toBe(before)
    }),
    { numRuns: 1_000 },
  )
})

test('004-10: no caller of one tenant ever gets an allow for a resource of another', async () => {
  await fc.assert(
    fc.asyncProperty(claims, asked, async (who, what) => {
      const verdict = await arena.verdict(tokenOf({ key: KEY, claims: who }), what)
      if (verdict === 'allow') expect(what.stored?.tenant).toBe(who['tenant'])
    }),
    { numRuns: 2_000 },
  )
})
