import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { denied } from '../../sidecar/decision.ts'
import { openArena, tokenOf } from '../attacks/arena.ts'
import { type Asked, question } from '../fixtures/question.ts'
import { asked, claims, createTally, KEY, PATIENT_MS, PLAN, sent } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const arena = await openArena(PLAN)

// Rules about whose a thing is; the limit of a refund is rightly a matter of what was sent.
async function borders(who: object, what: Asked) {
  const { decision } = await arena.pipeline.ask(
    question({ ...what, token: tokenOf({ key: KEY, claims: { ...who } }) }),
  )
  const rules = decision.ruleIds.filter((rule) => rule.startsWith('floor.') || rule === 'invoice.private')
  return {
    rules: rules.toSorted(),
    hidden: denied(decision) && decision.hidden,
    verdict: denied(decision) ? decision.reason : 'allow',
  }
}

test('what the caller sent never changes a verdict about tenant, owner or scope', async () => {
  const tally = createTally()
  await fc.assert(
    fc.asyncProperty(claims, asked, sent, async (who, what, request) => {
      const before = await borders(who, what)
      const after = await borders(who, { ...what, request })
      tally.note(before.rules.join())
      expect(after.rules).toEqual(before.rules)
      expect(after.hidden).toBe(before.hidden)
      if (what.action !== 'invoice:refund') expect(after.verdict).toBe(before.verdict)
      if (after.verdict === 'allow' && before.verdict !== 'allow')
        expect(before.verdict).toBe('limit_exceeded')
    }),
    { numRuns: 2_000 },
  )
  expect(tally.of('')).toBeGreaterThan(50)
  expect(tally.kinds()).toBeGreaterThan(4)
})

test('what the caller sent as attributes never stands in for what is stored', async () => {
  await fc.assert(
    fc.asyncProperty(claims, asked, async (who, what) => {
      const { attributes = {}, ...rest } = what.stored ?? {}
      const stripped: Asked = {
        ...what,
        stored: { ...rest, attributes: { status: null, visibility: null, amount: null } },
      }
      const { verdict } = await borders(who, { ...stripped, request: { ...attributes, stored: attributes } })
      const { verdict: alone } = await borders(who, { ...stripped, request: {} })
      expect(verdict === 'allow').toBe(alone === 'allow')
    }),
    { numRuns: 1_000 },
  )
})

test('method and target change no answer of the example, which reads neither', async () => {
  await fc.assert(
    fc.asyncProperty(
      claims,
      asked,
      fc.constantFrom('GET', 'PUT', 'x'),
      fc.webPath(),
      async (who, what, method, path) => {
        const { verdict } = await borders(who, what)
        expect((await borders(who, { ...what, method, url: `/${path}` })).verdict).toBe(verdict)
      },
    ),
    { numRuns: 500 },
  )
})
