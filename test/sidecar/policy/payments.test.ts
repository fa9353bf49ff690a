// The worked example of tokens in depth, on the whole road: real tokens, real WebAssembly, and what the caller is told.
import { describe, expect, test } from 'vitest'
import { ClientKind } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { denied, statusOf } from '../../../sidecar/decision.ts'
import { faceOf } from '../../../sidecar/serve/challenge.ts'
import { AT_S } from '../../attacks/arena.ts'
import { BOUND, openDpopArena } from '../../attacks/dpop-arena.ts'
import { openPipeline, POLICY } from '../../fixtures/pipeline.ts'
import { BASE_URL } from '../../fixtures/proofs.ts'
import { type Asked, question } from '../../fixtures/question.ts'
import { forge, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { KEY, NOW_S } from '../token/desk.ts'

const pipeline = await openPipeline({
  issuers: [{ keys: [KEY] }],
  policy: POLICY.payments,
  now: () => NOW_S * 1000,
})

const CONSENT = {
  type: 'payment',
  actions: ['create'],
  account: '12345',
  limit: { amount: '500.00', currency: 'USD' },
}
const STRONG = { acr: 'urn:example:gold', auth_time: NOW_S - 100 }

async function decide(claims: Members, request: Asked = {}) {
  const token = forge({
    key: KEY,
    at: NOW_S,
    claims: {
      scope: 'payment:create account:read settlement:run',
      authorization_details: [CONSENT],
      client_id: 'bank',
      ...claims,
    },
  })
  const { decision } = await pipeline.ask(
    question({
      token,
      action: 'payment:create',
      stored: { type: 'account', id: '12345', tenant: 'acme', owner: 'alice' },
      request: { amount: '500.00', currency: 'USD' },
      ...request,
    }),
  )
  return decision
}

/** Reasons without the rule about bearer tokens, which no token of this file gets round: see the rules that fired. */
async function rules(claims: Members, request: Asked = {}): Promise<readonly string[]> {
  const decision = await decide(claims, request)
  if (!denied(decision)) throw new Error('a bearer token moved money')
  return decision.ruleIds.filter((rule) => rule !== 'payment.bearer')
}

const amount = (value: unknown): Asked => ({ request: { amount: value as string, currency: 'USD' } })

describe('002-12: up to 500 dollars to account 12345', () => {
  test.each<readonly [what: string, request: Asked, want: readonly string[]]>([
    ['the limit', amount('500.00'), []],
    ['the same in other words', amount('500'), []],
    ['a cent more', amount('500.01'), ['payment.consent']],
    ['a hundredth of a cent more', amount('500.0001'), ['payment.consent']],
    ['a number, which may have been rounded', amount(500), ['payment.consent']],
    ['a number that is just above', amount(500.0000000000001), ['payment.consent']],
    ['nothing', amount('0.00'), ['payment.consent']],
    ['less than nothing', amount('-5.00'), ['payment.consent']],
    ['another currency', { request: { amount: '5.00', currency: 'EUR' } }, ['payment.consent']],
    [
      'another account',
      { stored: { type: 'account', id: '12346', tenant: 'acme', owner: 'alice' } },
      ['payment.consent'],
    ],
  ])('%s', async (_what, request, want) => {
    expect(await rules(STRONG, request)).toEqual(want)
  })

  test('what was not consented to is told as rar_mismatch, 403', async () => {
    const decision = await decide(STRONG, amount('500.01'))
    expect(denied(decision) && [decision.reason, statusOf(decision)]).toEqual(['rar_mismatch', 403])
  })
})

describe('R3: a type that nobody knows grants nothing', () => {
  test.each<readonly [what: string, details: unknown]>([
    ['no entry', []],
    ['no claim', undefined],
    ['another type', [{ ...CONSENT, type: 'loan' }]],
    ['the type in other letters', [{ ...CONSENT, type: 'Payment' }]],
    ['a limit that is not understood', [{ ...CONSENT, not_after: '2030-01-01' }]],
    ['a limit without a currency', [{ ...CONSENT, limit: { amount: '500.00' } }]],
    ['an account that is a number', [{ ...CONSENT, account: 12345 }]],
    ['an action that is no list', [{ ...CONSENT, actions: 'create' }]],
  ])('%s', async (_what, details) => {
    expect(await rules({ ...STRONG, authorization_details: details as never })).toEqual(['payment.consent'])
  })

  test('one entry that covers it is enough among others that do not', async () => {
    const details = [{ type: 'loan' }, { ...CONSENT, account: '1' }, CONSENT]
    expect(await rules({ ...STRONG, authorization_details: details })).toEqual([])
  })
})

describe('A6: a rule asks for more than the route', () => {
  test.each<readonly [claims: Members, request: Asked, want: readonly string[]]>([
    [{}, amount('100.00'), []],
    [{}, amount('100.01'), ['payment.step_up']],
    [{ acr: 'urn:example:silver', auth_time: NOW_S }, amount('100.01'), ['payment.step_up']],
    [{ acr: 'urn:example:gold' }, amount('100.01'), ['payment.step_up']],
    [{ acr: 'urn:example:gold', auth_time: NOW_S - 301 }, amount('100.01'), ['payment.step_up']],
    [{ acr: 'urn:example:gold', auth_time: NOW_S - 300 }, amount('100.01'), []],
  ])('%j', async (claims, request, want) => {
    expect(await rules(claims, request)).toEqual(want)
  })

  test('A6: the challenge says which authentication would do for the rule, and for the route with it', async () => {
    const requirements = {
      ...{ senderConstraints: [], introspect: false, sharedReplay: false, acrValues: [] },
      ...{ maxAuthAgeS: 120, maxTokenAgeS: 0, clientKind: ClientKind.CLIENT_KIND_UNSPECIFIED },
    }
    const arena = await openDpopArena({
      policy: POLICY.payments,
      tokens: { externalBaseUrl: BASE_URL, requirements },
    })
    const claims = { scope: 'payment:create', authorization_details: [CONSENT], client_id: 'bank' }
    const asked = { ...BOUND.claims, ...claims, acr: 'urn:example:silver', auth_time: AT_S }
    const { decision, trust } = await arena.ask({
      token: { claims: asked },
      action: 'payment:create',
      stored: { type: 'account', id: '12345', tenant: 'acme', owner: 'alice' },
      request: { amount: '100.01', currency: 'USD' },
    })
    if (!denied(decision)) throw new Error('silver moved money')
    const stepUp = trust?.tokens.requirements('payment:create')
    const { status, headers } = faceOf(decision, 'payment:create', { scheme: 'dpop', stepUp })
    expect([status, headers[0]?.value]).toEqual([
      401,
      'DPoP error="insufficient_user_authentication", acr_values="urn:example:gold", max_age="120"',
    ])
  })

  test('A7: what stands in the way besides is told first: stepping up would not help', async () => {
    const both = await decide({}, amount('500.01'))
    expect(denied(both) && both.reason).toBe('rar_mismatch')
  })
})

describe('E3, E4: the policy sees who acts, and only the current actor counts', () => {
  const by = (...chain: readonly string[]) =>
    chain.reduceRight<Members | undefined>(
      (inner, sub) => ({ sub, ...(inner ? { act: inner } : {}) }),
      undefined,
    )

  test.each<readonly [chain: readonly string[], want: readonly string[]]>([
    [[], []],
    [['assistant'], []],
    [['assistant', 'scraper'], []],
    [['scraper'], ['payment.actor']],
    [['scraper', 'assistant'], ['payment.actor']],
    [['assistant', 'b', 'c', 'd', 'e', 'f', 'g', 'h'], []],
  ])('%j', async (chain, want) => {
    expect(await rules({ ...STRONG, act: by(...chain) } as Members)).toEqual(want)
  })

  test('an actor of another issuer is another actor', async () => {
    const act = { sub: 'assistant', iss: 'https://other.example' }
    expect(await rules({ ...STRONG, act })).toEqual(['payment.actor'])
    expect(await rules({ ...STRONG, act: { ...act, iss: ISSUER } })).toEqual([])
  })

  test('a chain of nine is refused before any rule is asked', async () => {
    const act = by('assistant', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i')
    const decision = await decide({ ...STRONG, act } as Members)
    expect(denied(decision) && decision.reason).toBe('claim_invalid')
  })
})

test('E5: a service that speaks as a user and does not say so is found', async () => {
  expect(await rules({ ...STRONG, client_id: 'gateway' })).toEqual(['payment.impersonation'])
  expect(await rules({ ...STRONG, client_id: 'gateway', act: { sub: 'assistant' } })).toEqual([])
})

describe('000-15: a user’s token where machines work', () => {
  const settle: Asked = { action: 'settlement:run', request: {} }

  test('is denied by the rule, with 403', async () => {
    const decision = await decide({}, settle)
    expect(denied(decision) && [decision.reason, statusOf(decision)]).toEqual(['policy_denied', 403])
    expect(decision.ruleIds).toEqual(['settlement.user'])
  })

  test('and a machine’s is allowed', async () => {
    const stored = { type: 'account', id: '12345', tenant: 'acme', owner: 'batch' }
    const decision = await decide({ sub: 'batch', client_id: 'batch' }, { ...settle, stored })
    expect(decision.kind).toBe('allow')
  })
})

test('002-11: a third party with a scope that is reserved is denied, whatever it asks', async () => {
  const scope = 'payment:create account:read admin:users'
  const read: Asked = { action: 'account:read', request: {} }
  expect((await decide({ scope }, read)).ruleIds).toEqual(['client.third_party'])
  expect((await decide({ scope, client_id: 'console' }, read)).kind).toBe('allow')
})

describe('002-09, 002-10: a scope is exactly what it says', () => {
  const read: Asked = { action: 'account:read', request: {} }
  test.each<readonly [scope: string | undefined, want: string]>([
    ['account:read', 'allow'],
    ['payment:create account:read', 'allow'],
    [undefined, 'insufficient_scope'],
    ['', 'insufficient_scope'],
    ['payment:create', 'insufficient_scope'],
    ['Account:read', 'insufficient_scope'],
    ['account:rea', 'insufficient_scope'],
    ['account:reads', 'insufficient_scope'],
    ['account', 'insufficient_scope'],
    ['*', 'insufficient_scope'],
    ['account:*', 'insufficient_scope'],
    ['everything', 'insufficient_scope'],
  ])('%s', async (scope, want) => {
    const decision = await decide({ scope }, read)
    expect(denied(decision) ? decision.reason : 'allow').toBe(want)
    if (denied(decision)) expect(faceOf(decision, 'account:read').status).toBe(403)
  })
})

test('003-01: a rule can refuse bearer tokens, too', async () => {
  expect((await decide(STRONG)).ruleIds).toEqual(['payment.bearer'])
})

describe('O1, O2: tokens come in one header', () => {
  test.each([
    '/payments?access_token=abc',
    '/payments#access_token=abc',
    '/payments?Access_Token=abc',
    '/payments?access%5Ftoken=abc',
  ])('%s is refused, and the token not looked at', async (url) => {
    const decision = await decide(STRONG, { url })
    expect(denied(decision) && decision.reason).toBe('token_in_query')
  })
})
