import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { type Decision, denied } from '../../sidecar/decision.ts'
import { createJudge, isAllowance } from '../../sidecar/policy/judge.ts'
import { type DenyRule, POLICY_REASONS, type PolicyModule, type Verdict } from '../../sidecar/ports.ts'
import { openArena, tokenOf } from '../attacks/arena.ts'
import { openSteps, requestOf } from '../attacks/steps.ts'
import { admitted } from '../fixtures/admitted.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import { question } from '../fixtures/question.ts'
import { asked, claims, createTally, KEY, PATIENT_MS, PLAN } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const { trust, floor } = await openSteps(PLAN)
const arena = await openArena(PLAN)
const application = trust.policy

const denyRule: fc.Arbitrary<DenyRule> = fc.record({
  rule: fc.constantFrom('added.one', 'added.two'),
  reason: fc.constantFrom(...POLICY_REASONS),
  hide: fc.boolean(),
})
const denials = fc.array(denyRule, { maxLength: 3 })
const allows = fc.array(fc.constantFrom('added.allow', 'hostile.everything'), { maxLength: 2 })

// The same module with rules added, its effect made as the policy library makes it.
function adding(module: PolicyModule, allow: readonly string[], deny: readonly DenyRule[]): PolicyModule {
  return {
    ...module,
    evaluate(input): Verdict {
      const verdict = module.evaluate(input)
      const both = { allow: [...verdict.allow, ...allow], deny: [...verdict.deny, ...deny] }
      return { ...both, effect: both.allow.length > 0 && both.deny.length === 0 ? 'allow' : 'deny' }
    },
  }
}
const hidden = (decision: Decision) => denied(decision) && decision.hidden

describe('rules that somebody adds', () => {
  test('a deny, wherever it is added, never adds an allow and never shows what was hidden', async () => {
    const tally = createTally()
    await fc.assert(
      fc.asyncProperty(claims, asked, denials, denials, async (who, what, below, above) => {
        const message = question({ ...what, token: tokenOf({ key: KEY, claims: who }) })
        const { principal } = await arena.pipeline.ask(message)
        fc.pre(principal !== undefined)
        const judge = (base: PolicyModule, policy: PolicyModule) =>
          createJudge(base)(
            admitted(principal, trust, message.action),
            requestOf(message),
            { ...trust, policy },
            0,
          )
        const before = judge(floor, application)
        const after = judge(adding(floor, [], below), adding(application, [], above))
        tally.note(`${isAllowance(before)} ${isAllowance(after)}`)
        if (below.length + above.length > 0) expect(isAllowance(after)).toBe(false)
        else expect(after).toEqual(before)
        if (hidden(before)) expect(hidden(after)).toBe(true)
      }),
      { numRuns: 1_500 },
    )
    expect(tally.of('true false')).toBeGreaterThan(50)
    expect(tally.of('true true')).toBeGreaterThan(3)
  })

  test('an allow of the application never opens what the floor has closed', async () => {
    const tally = createTally()
    await fc.assert(
      fc.asyncProperty(claims, asked, allows, async (who, what, more) => {
        const message = question({ ...what, token: tokenOf({ key: KEY, claims: who }) })
        const { principal } = await arena.pipeline.ask(message)
        fc.pre(principal !== undefined)
        const judge = (policy: PolicyModule) =>
          createJudge(floor)(
            admitted(principal, trust, message.action),
            requestOf(message),
            { ...trust, policy },
            0,
          )
        const silent: PolicyModule = {
          ...application,
          evaluate: () => ({ effect: 'allow', allow: ['all'], deny: [] }),
        }
        const possible = isAllowance(judge(silent))
        const given = isAllowance(judge(adding(application, more, [])))
        tally.note(`${possible} ${given}`)
        if (given) expect(possible).toBe(true)
      }),
      { numRuns: 1_000 },
    )
    expect(tally.of('false false')).toBeGreaterThan(50)
    expect(tally.of('true true')).toBeGreaterThan(50)
  })

  test('what a policy says that it never reads makes no difference', async () => {
    const nosy: PolicyModule = { ...application, reads: () => true }
    await fc.assert(
      fc.asyncProperty(claims, asked, async (who, what) => {
        const message = question({ ...what, token: tokenOf({ key: KEY, claims: who }) })
        const { principal } = await arena.pipeline.ask(message)
        fc.pre(principal !== undefined)
        const judge = (policy: PolicyModule) =>
          createJudge(floor)(
            admitted(principal, trust, message.action),
            requestOf(message),
            { ...trust, policy },
            0,
          )
        expect(judge(nosy)).toEqual(judge(application))
      }),
      { numRuns: 500 },
    )
  })

  test('the edited example, which shares less, allows nothing that the example does not', async () => {
    const edited = await openArena({ ...PLAN, policy: POLICY.edited })
    const tally = createTally()
    await fc.assert(
      fc.asyncProperty(claims, asked, async (who, what) => {
        const token = tokenOf({ key: KEY, claims: who })
        const [wide, narrow] = [await arena.verdict(token, what), await edited.verdict(token, what)]
        tally.note(`${wide === 'allow'} ${narrow === 'allow'}`)
        return wide === 'allow' || narrow !== 'allow'
      }),
      { numRuns: 1_000 },
    )
    expect(tally.of('true true')).toBeGreaterThan(20)
    expect(tally.of('true false')).toBeGreaterThan(3)
  })
})
