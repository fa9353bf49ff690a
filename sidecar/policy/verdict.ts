import type { StepUp } from '../decision.ts'
import { type DenyRule, Fault, POLICY_REASONS, type PolicyReason, type Verdict } from '../ports.ts'
import { ACR_VALUE, TOKEN_RULE_LIMITS } from '../settings.ts'

export const VERDICT_LIMITS = { rules: 32, ruleIdLength: 128 } as const

/**
 * Reads an evaluation result, `[{"result":{"effect":…,"allow":[…],"deny":[…]}}]`. Anything that is not exactly this shape, or that
 * contradicts itself, is a Fault: no truthy value, no extra member and no missing one can stand for permission.
 */
export function parseVerdict(resultJson: string): Verdict {
  const results = parse(resultJson)
  if (Array.isArray(results) && results.length === 0) {
    throw new Fault('policy_undefined', 'the policy left its verdict undefined')
  }
  const [only, second] = Array.isArray(results) ? results : []
  const result = members(only, ['result'])?.['result']
  const verdict = second === undefined ? members(result, ['effect', 'allow', 'deny']) : undefined
  const allow = verdict && ruleIds(verdict['allow'])
  const deny = verdict && denyRules(verdict['deny'])
  if (!verdict || !allow || !deny)
    throw new Fault('policy_fault', 'the verdict does not have the agreed shape')

  const permits = allow.length > 0 && deny.length === 0
  if (verdict['effect'] !== (permits ? 'allow' : 'deny')) {
    throw new Fault('policy_fault', 'the verdict contradicts its own rules')
  }
  return Object.freeze({ effect: permits ? 'allow' : 'deny', allow, deny })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Fault('policy_fault', 'the verdict is not JSON', cause)
  }
}

function members(value: unknown, names: readonly string[]): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const own = Object.keys(value)
  return own.length === names.length && names.every((name) => Object.hasOwn(value, name))
    ? (value as Record<string, unknown>)
    : undefined
}

function ruleIds(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length > VERDICT_LIMITS.rules || !value.every(isRuleId)) return undefined
  return Object.freeze(value)
}

function denyRules(value: unknown): readonly DenyRule[] | undefined {
  if (!Array.isArray(value) || value.length > VERDICT_LIMITS.rules) return undefined
  const rules = value.map(denyRule)
  return rules.every((rule) => rule !== undefined) ? Object.freeze(rules) : undefined
}

function denyRule(value: unknown): DenyRule | undefined {
  const plain = members(value, ['rule', 'reason', 'hide'])
  const { rule, reason, hide, step_up } = plain ?? members(value, ['rule', 'reason', 'hide', 'step_up']) ?? {}
  if (!isRuleId(rule) || !isPolicyReason(reason) || typeof hide !== 'boolean') return undefined
  if (plain) return Object.freeze({ rule, reason, hide })
  const stepUp = reason === 'step_up_required' ? stepUpOf(step_up) : undefined
  return stepUp && Object.freeze({ rule, reason, hide, stepUp })
}

function stepUpOf(value: unknown): StepUp | undefined {
  const { acr_values: acrValues, max_age: maxAuthAgeS } = members(value, ['acr_values', 'max_age']) ?? {}
  const { acrValues: most, ageS } = TOKEN_RULE_LIMITS
  if (!Array.isArray(acrValues) || acrValues.length > most) return undefined
  const sound = (one: unknown) => typeof one === 'string' && ACR_VALUE.test(one)
  if (!acrValues.every(sound) || typeof maxAuthAgeS !== 'number') return undefined
  if (!Number.isInteger(maxAuthAgeS) || maxAuthAgeS < 0 || maxAuthAgeS > ageS) return undefined
  return Object.freeze({ acrValues: Object.freeze(acrValues), maxAuthAgeS })
}

function isRuleId(value: unknown): value is string {
  return (
    typeof value === 'string' && value.length <= VERDICT_LIMITS.ruleIdLength && /^[\x21-\x7e]+$/.test(value)
  )
}

function isPolicyReason(value: unknown): value is PolicyReason {
  return POLICY_REASONS.some((reason) => reason === value)
}
