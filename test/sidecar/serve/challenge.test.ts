// One face a status: whoever is refused learns the status and what RFC 6750 makes us say, and nothing else.
import { describe, expect, test } from 'vitest'
import type { StepUp } from '../../../sidecar/decision.ts'
import { deny, denyByRules, denyRequest, MEANING, type Reason, statusOf } from '../../../sidecar/decision.ts'
import { faceOf } from '../../../sidecar/serve/challenge.ts'

const REASONS = Object.keys(MEANING) as Reason[]
const challenge = (value: string) => [{ name: 'www-authenticate', value }]

test.each<readonly [reason: Reason, status: number, headers: unknown]>([
  ['token_missing', 401, challenge('Bearer')],
  ['step_up_required', 401, challenge('Bearer error="insufficient_user_authentication"')],
  ['expired', 401, challenge('Bearer error="invalid_token"')],
  ['sig_invalid', 401, challenge('Bearer error="invalid_token"')],
  ['auth_multiple', 400, challenge('Bearer error="invalid_request"')],
  ['auth_malformed', 400, challenge('Bearer error="invalid_request"')],
  ['token_in_query', 400, challenge('Bearer error="invalid_request"')],
  ['request_invalid', 400, []],
  ['insufficient_scope', 403, challenge('Bearer error="insufficient_scope", scope="invoice:read"')],
  ['policy_denied', 403, []],
  ['not_owner', 403, []],
  ['tenant_mismatch', 404, []],
  ['jwks_unavailable', 503, [{ name: 'retry-after', value: '1' }]],
  ['overloaded', 503, [{ name: 'retry-after', value: '1' }]],
  ['internal', 503, [{ name: 'retry-after', value: '1' }]],
])('004-09: %s: %i', (reason, status, headers) => {
  expect(faceOf(deny(reason), 'invoice:read')).toMatchObject({ status, headers })
})

describe.each(REASONS)('%s', (reason) => {
  const face = faceOf(deny(reason), 'invoice:read')

  test('has the wording of its status, and none of its own', () => {
    const twin = REASONS.find((one) => statusOf(deny(one)) === face.status) ?? reason
    expect(face.text).toBe(faceOf(deny(twin), 'x').text)
    expect(face.grpcStatus).toBe(faceOf(deny(twin), 'x').grpcStatus)
    expect(JSON.stringify(face)).not.toContain(reason === 'insufficient_scope' ? 'reason' : reason)
  })

  test('A8, Z3: challenges exactly when RFC 6750 section 3 asks for it', () => {
    const challenged = face.headers.some(({ name }) => name === 'www-authenticate')
    const meaning: { readonly error?: string } = MEANING[reason]
    expect(challenged).toBe(face.status === 401 || meaning.error !== undefined)
  })
})

test.each([
  [401, 16],
  [400, 3],
  [403, 7],
  [404, 5],
  [503, 14],
])('status %i is gRPC status %i', (status, grpcStatus) => {
  const reason = REASONS.find((one) => statusOf(deny(one)) === status)
  expect(reason && faceOf(deny(reason), 'x').grpcStatus).toBe(grpcStatus)
})

test.each<readonly [reason: Reason, hidden: boolean, status: number]>([
  ['policy_denied', false, 403],
  ['policy_denied', true, 404],
  ['insufficient_scope', true, 404],
  ['step_up_required', false, 401],
  ['step_up_required', true, 404],
  ['tenant_mismatch', false, 404],
  ['tenant_mismatch', true, 404],
])('a denial for %s with hidden %s is %i', (reason, hidden, status) => {
  expect(faceOf(denyByRules(reason, ['r'], hidden), 'x').status).toBe(status)
})

test('004-25: what is hidden has one face, whatever the reason: existence cannot be told from it', () => {
  const faces = (
    ['policy_denied', 'not_owner', 'insufficient_scope', 'tenant_mismatch', 'step_up_required'] as const
  ).map((reason) => JSON.stringify(faceOf(denyByRules(reason, [reason], true), 'invoice:read')))
  expect(new Set(faces).size).toBe(1)
})

test('the detail of a bad question stays inside', () => {
  expect(JSON.stringify(faceOf(denyRequest('url: too long'), 'x'))).not.toContain('url')
})

test.each(REASONS)('the plain denial for %s is one frozen object', (reason) => {
  expect(deny(reason)).toBe(deny(reason))
  expect(Object.isFrozen(deny(reason))).toBe(true)
  expect(Object.isFrozen(deny(reason).ruleIds)).toBe(true)
})

describe('A6: the challenge of a step-up says what would do (RFC 9470 section 3)', () => {
  const told = (stepUp: StepUp, scheme: 'bearer' | 'dpop' = 'bearer') =>
    faceOf(deny('step_up_required'), 'payment:create', { scheme, stepUp }).headers

  test.each<readonly [stepUp: StepUp, parameters: string]>([
    [{ acrValues: [], maxAuthAgeS: 0 }, ''],
    [{ acrValues: ['gold'], maxAuthAgeS: 0 }, ', acr_values="gold"'],
    [{ acrValues: ['urn:x:gold', 'silver'], maxAuthAgeS: 0 }, ', acr_values="urn:x:gold silver"'],
    [{ acrValues: [], maxAuthAgeS: 300 }, ', max_age="300"'],
    [{ acrValues: ['gold'], maxAuthAgeS: 5 }, ', acr_values="gold", max_age="5"'],
  ])('%j', (stepUp, parameters) => {
    const code = 'error="insufficient_user_authentication"'
    expect(told(stepUp)).toEqual(challenge(`Bearer ${code}${parameters}`))
    expect(told(stepUp, 'dpop')).toEqual(challenge(`DPoP ${code}${parameters}`))
  })

  test.each<readonly [what: string, rule: StepUp, route: StepUp | undefined, parameters: string]>([
    [
      'the rule alone',
      { acrValues: ['gold'], maxAuthAgeS: 60 },
      undefined,
      ', acr_values="gold", max_age="60"',
    ],
    [
      'each a part',
      { acrValues: ['gold'], maxAuthAgeS: 0 },
      { acrValues: [], maxAuthAgeS: 9 },
      ', acr_values="gold", max_age="9"',
    ],
    [
      'the stricter of two',
      { acrValues: ['gold'], maxAuthAgeS: 60 },
      { acrValues: ['silver', 'gold'], maxAuthAgeS: 300 },
      ', acr_values="gold", max_age="60"',
    ],
    [
      'what both take',
      { acrValues: ['a', 'b', 'c'], maxAuthAgeS: 0 },
      { acrValues: ['c', 'b'], maxAuthAgeS: 0 },
      ', acr_values="b c"',
    ],
    [
      'nothing that both take',
      { acrValues: ['gold'], maxAuthAgeS: 0 },
      { acrValues: ['silver'], maxAuthAgeS: 0 },
      ', acr_values="gold"',
    ],
    [
      'nothing of the rule',
      { acrValues: [], maxAuthAgeS: 0 },
      { acrValues: ['silver'], maxAuthAgeS: 5 },
      ', acr_values="silver", max_age="5"',
    ],
  ])('of a rule and of its route: %s', (_what, rule, route, parameters) => {
    const { headers } = faceOf(denyByRules('step_up_required', ['r'], false, rule), 'pay', { stepUp: route })
    expect(headers).toEqual(challenge(`Bearer error="insufficient_user_authentication"${parameters}`))
  })

  test('no other refusal says how to authenticate', () => {
    const stepUp = { acrValues: ['gold'], maxAuthAgeS: 5 }
    for (const reason of REASONS.filter((one) => one !== 'step_up_required'))
      expect(JSON.stringify(faceOf(deny(reason), 'x', { stepUp }))).not.toMatch(/acr_values|max_age/)
  })
})
