import { expect, test } from 'vitest'
import { parseVerdict, VERDICT_LIMITS } from '../../../sidecar/policy/verdict.ts'
import { Fault, POLICY_REASONS } from '../../../sidecar/ports.ts'

const RULE = { rule: 'r', reason: 'not_owner', hide: false }
const ALLOW = { effect: 'allow', allow: ['a'], deny: [] }
const DENY = { effect: 'deny', allow: [], deny: [RULE] }
const wrap = (verdict: unknown) => JSON.stringify([{ result: verdict }])

function read(text: string): unknown {
  try {
    return parseVerdict(text)
  } catch (cause) {
    return cause instanceof Fault ? cause.code : cause
  }
}

test.each([
  ['permission for a reason', ALLOW],
  ['permission for several', { ...ALLOW, allow: ['a', 'b.c:d'] }],
  ['refusal for no reason to allow', { effect: 'deny', allow: [], deny: [] }],
  ['refusal by a rule', DENY],
  ['refusal that overrides permission', { ...DENY, allow: ['a'] }],
])('%s is read as it is', (_what, verdict) => {
  expect(read(wrap(verdict))).toEqual(verdict)
})

test.each(POLICY_REASONS)('%s is a reason that a policy may give', (reason) => {
  expect(read(wrap({ ...DENY, deny: [{ ...RULE, reason }] }))).toMatchObject({ deny: [{ reason }] })
})

const rules = (count: number) => Array.from({ length: count }, (_, index) => `r${index}`)
const STEP_UP = { ...RULE, reason: 'step_up_required' }
const stepUp = (step_up: unknown, change: object = {}) =>
  wrap({ ...DENY, deny: [{ ...STEP_UP, step_up, ...change }] })

test.each([
  [{ acr_values: [], max_age: 0 }],
  [{ acr_values: ['urn:example:gold', '!~'], max_age: 300 }],
  [{ acr_values: Array.from({ length: 16 }, (_, at) => `${at}`.padEnd(256, 'x')), max_age: 31_622_400 }],
])('a step-up may say what would do: %j', (said) => {
  const { acr_values: acrValues, max_age: maxAuthAgeS } = said
  expect(read(stepUp(said))).toEqual({ ...DENY, deny: [{ ...STEP_UP, stepUp: { acrValues, maxAuthAgeS } }] })
})

test.each<readonly [what: string, text: string]>([
  ['nothing', stepUp(null)],
  ['a text', stepUp('gold')],
  ['half of it', stepUp({ acr_values: ['gold'] })],
  ['one member more', stepUp({ acr_values: [], max_age: 0, more: 1 })],
  ['a context that is a number', stepUp({ acr_values: [1], max_age: 0 })],
  ['an empty context', stepUp({ acr_values: [''], max_age: 0 })],
  ['a context that ends the quotes', stepUp({ acr_values: ['gold", error="'], max_age: 0 })],
  ['a context with a backslash', stepUp({ acr_values: ['\\'], max_age: 0 })],
  ['a context with a blank', stepUp({ acr_values: ['a b'], max_age: 0 })],
  ['a context with a line break', stepUp({ acr_values: ['a\r\nset-cookie: a'], max_age: 0 })],
  ['a context of 257 characters', stepUp({ acr_values: ['a'.repeat(257)], max_age: 0 })],
  ['17 contexts', stepUp({ acr_values: rules(17), max_age: 0 })],
  ['an age that is a text', stepUp({ acr_values: [], max_age: '1' })],
  ['an age below nothing', stepUp({ acr_values: [], max_age: -1 })],
  ['a part of a second', stepUp({ acr_values: [], max_age: 1.5 })],
  ['more than a year', stepUp({ acr_values: [], max_age: 31_622_401 })],
  ['another reason', stepUp({ acr_values: [], max_age: 0 }, { reason: 'not_owner' })],
])('a step-up that says %s is a fault', (_what, text) => {
  expect(read(text)).toBe('policy_fault')
})

test('an empty result set is an undefined verdict', () => {
  expect(read('[]')).toBe('policy_undefined')
})

test.each<readonly [what: string, text: string]>([
  ['no JSON', 'allow'],
  ['nothing', ''],
  ['null', 'null'],
  ['true', 'true'],
  ['an object', JSON.stringify({ result: ALLOW })],
  ['two results', JSON.stringify([{ result: ALLOW }, { result: ALLOW }])],
  ['two results, the second empty', JSON.stringify([{ result: ALLOW }, null])],
  ['a result with company', JSON.stringify([{ result: ALLOW, more: 1 }])],
  ['another member in place of the result', JSON.stringify([{ results: ALLOW }])],
  ['a result in a list', JSON.stringify([[ALLOW]])],
  ['a result that is true', wrap(true)],
  ['a result that is "allow"', wrap('allow')],
  ['a result that is a list', wrap([ALLOW])],
  ['an empty result', wrap({})],
  ['effect true', wrap({ ...ALLOW, effect: true })],
  ['effect 1', wrap({ ...ALLOW, effect: 1 })],
  ['effect ALLOW', wrap({ ...ALLOW, effect: 'ALLOW' })],
  ['no effect', wrap({ allow: ['a'], deny: [] })],
  ['no allow', wrap({ effect: 'deny', deny: [] })],
  ['no deny', wrap({ effect: 'allow', allow: ['a'] })],
  ['one member more', wrap({ ...ALLOW, override: true })],
  ['permission without a reason', wrap({ ...ALLOW, allow: [] })],
  ['permission against a rule', wrap({ ...ALLOW, deny: [RULE] })],
  ['refusal although all is well', wrap({ ...ALLOW, effect: 'deny' })],
  ['allow that is an object', wrap({ ...ALLOW, allow: { 0: 'a' } })],
  ['allow that is a text', wrap({ ...ALLOW, allow: 'a' })],
  ['a rule that is a number', wrap({ ...ALLOW, allow: [1] })],
  ['a rule that is empty', wrap({ ...ALLOW, allow: [''] })],
  ['a rule with a blank', wrap({ ...ALLOW, allow: ['a b'] })],
  ['a rule with a line break', wrap({ ...ALLOW, allow: ['a\nb'] })],
  ['a rule beyond ASCII', wrap({ ...ALLOW, allow: ['é'] })],
  ['a rule of 129 characters', wrap({ ...ALLOW, allow: ['r'.repeat(VERDICT_LIMITS.ruleIdLength + 1)] })],
  ['33 rules', wrap({ ...ALLOW, allow: rules(VERDICT_LIMITS.rules + 1) })],
  ['33 refusals', wrap({ ...DENY, deny: rules(33).map((rule) => ({ ...RULE, rule })) })],
  ['deny that is null', wrap({ ...ALLOW, deny: null })],
  ['a refusal that is a text', wrap({ ...DENY, deny: ['r'] })],
  ['a refusal without a reason', wrap({ ...DENY, deny: [{ rule: 'r', hide: false }] })],
  ['a refusal with one member more', wrap({ ...DENY, deny: [{ ...RULE, more: 1 }] })],
  ['a refusal for a made-up reason', wrap({ ...DENY, deny: [{ ...RULE, reason: 'because' }] })],
  [
    'a refusal for a reason that is not a policy’s',
    wrap({ ...DENY, deny: [{ ...RULE, reason: 'expired' }] }),
  ],
  ['a refusal that hides a little', wrap({ ...DENY, deny: [{ ...RULE, hide: 1 }] })],
])('%s is a fault', (_what, text) => {
  expect(read(text)).toBe('policy_fault')
})

test('32 rules of 128 characters are the most', () => {
  const allow = rules(VERDICT_LIMITS.rules).map((rule) => rule.padEnd(VERDICT_LIMITS.ruleIdLength, 'x'))
  expect(read(wrap({ ...ALLOW, allow }))).toEqual({ ...ALLOW, allow })
})

test('a verdict cannot be changed afterwards', () => {
  const verdict = parseVerdict(wrap(DENY))
  expect([verdict, verdict.allow, verdict.deny, verdict.deny[0]].every(Object.isFrozen)).toBe(true)
})
