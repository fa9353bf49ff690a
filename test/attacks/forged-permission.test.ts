import { describe, expect, test } from 'vitest'
import { CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Outcome } from '../../sidecar/decide.ts'
import type { Allowance, Decision } from '../../sidecar/decision.ts'
import { createJudge, isAllowance } from '../../sidecar/policy/judge.ts'
import type { PolicyModule } from '../../sidecar/ports.ts'
import type { Principal } from '../../sidecar/principal.ts'
import { encodeResponse } from '../../sidecar/serve/codec.ts'
import { type Admitted, isAdmitted } from '../../sidecar/token/admit.ts'
import { isPrincipal } from '../../sidecar/token/standing.ts'
import { admitted } from '../fixtures/admitted.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'
import { openSteps, requestOf } from './steps.ts'

const arena = await openArena()
const real = await arena.pipeline.ask(question({ token: tokenOf({}) }))
if (!isAllowance(real.decision)) throw new Error('the real question was not allowed')
const permission = real.decision
const { principal } = permission
const { trust } = await openSteps()
const request = requestOf(question({ token: tokenOf({}) }))

const COPIES: readonly (readonly [name: string, copy: <T extends object>(one: T) => object])[] = [
  ['a copy of its members', (one) => ({ ...one })],
  ['a structured clone', (one) => structuredClone({ ...one })],
  ['a copy through JSON', (one) => JSON.parse(JSON.stringify(one))],
  ['an object that inherits from it', (one) => Object.create(one)],
  ['an object of its class', (one) => Object.assign(Object.create(Object.getPrototypeOf(one)), one)],
  ['a proxy of it', (one) => new Proxy(one, {})],
  [
    'an object with all its descriptors',
    (one) => Object.create(Object.getPrototypeOf(one), Object.getOwnPropertyDescriptors(one)),
  ],
  ['a literal', () => ({ kind: 'allow', principal, ruleIds: ['forged'], made: true })],
  ['an object with a member called #made', () => ({ kind: 'allow', principal, ruleIds: [], '#made': true })],
  ['a function', () => Object.assign(() => true, { kind: 'allow', principal, ruleIds: [] })],
  ['a list', () => Object.assign([], { kind: 'allow', principal, ruleIds: [] })],
  ['nothing in particular', () => ({})],
]

function sent(decision: object): string {
  const outcome: Outcome = { decision: decision as Decision, principal, trust }
  return verdictOf(CheckResponse.decode(encodeResponse(outcome, 'id', 'invoice:read')))
}

describe('a permission that nobody gave', () => {
  test.each(COPIES)('%s goes out as a denial', (_, copy) => {
    const forged = copy<Allowance>(permission)
    expect(isAllowance(forged as Decision)).toBe(false)
    expect(sent(forged)).toBe('internal')
  })

  test('the real one goes out as it is', () => {
    expect(sent(permission)).toBe('allow')
  })

  test('an empty answer, and one with an empty outcome, are no permission', () => {
    expect(verdictOf(CheckResponse.decode(Buffer.alloc(0)))).toBe('nothing')
    const empty = CheckResponse.encode({
      outcome: undefined,
      decisionId: '',
      policyRevision: '',
      trustGeneration: 0,
    }).finish()
    expect(verdictOf(CheckResponse.decode(empty))).toBe('nothing')
  })
})

describe('a caller that nobody recognised', () => {
  const open: PolicyModule = {
    revision: 'open',
    reads: () => true,
    evaluate: () => ({ effect: 'allow', allow: ['open'], deny: [] }),
    memoryBytes: () => 0,
    discards: () => 0,
  }
  const judge = createJudge(open)
  // Whatever `admit` would make of somebody that is none.
  const admitting = (who: object) =>
    Object.assign(admitted(principal, trust, request.action), { principal: who as Principal })
  const ask = (who: object) => judge(admitting(who), request, { ...trust, policy: open }, 0)

  test.each(COPIES)('%s is not judged, even by policies that allow everything', (_, copy) => {
    const forged = copy<Principal>(principal)
    expect(isPrincipal(forged)).toBe(false)
    expect(() => ask(forged)).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  test('the real one is judged', () => {
    expect(isPrincipal(principal)).toBe(true)
    expect(isAllowance(ask(principal))).toBe(true)
  })

  test.each(COPIES)('%s of an admission is none, and nobody is judged by it', (_, copy) => {
    const forged = copy<Admitted>(admitted(principal, trust, request.action))
    expect(isAdmitted(forged, request.action)).toBe(false)
    expect(() => judge(forged as Admitted, request, { ...trust, policy: open }, 0)).toThrow(
      expect.objectContaining({ code: 'internal' }),
    )
  })

  test('an admission to another action is none to this one', () => {
    const elsewhere = admitted(principal, trust, 'invoice:edit')
    expect(isAdmitted(elsewhere, 'invoice:edit')).toBe(true)
    expect(() => judge(elsewhere, request, { ...trust, policy: open }, 0)).toThrow('nobody admitted')
  })
})
