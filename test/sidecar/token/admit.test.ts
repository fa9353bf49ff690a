// What a route asks of tokens: the boundaries of each requirement, and what the caller is told.
import { describe, expect, test } from 'vitest'
import type { Requirements as RequirementsMessage } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { denied, deny, statusOf } from '../../../sidecar/decision.ts'
import type { Principal } from '../../../sidecar/principal.ts'
import { admit, isAdmitted } from '../../../sidecar/token/admit.ts'
import { isName } from '../../../sidecar/token/evidence.ts'
import { createRouteMatch } from '../../../sidecar/trust/route-match.ts'
import { NO_REQUIREMENTS, type Requirements } from '../../../sidecar/trust/token-rules.ts'
import { openPipeline } from '../../fixtures/pipeline.ts'
import { question } from '../../fixtures/question.ts'
import { forge, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { KEY, NOW_S } from './desk.ts'

interface World {
  readonly asked: Partial<Requirements>
  readonly firstPartyScopes?: readonly string[]
  readonly firstPartyClients?: readonly string[]
}

const pipeline = await openPipeline({ issuers: [{ keys: [KEY] }], now: () => NOW_S * 1000 })

/** A principal that the real road recognises, before this route's requirements. */
async function somebody(claims: Members = {}): Promise<Principal> {
  const token = forge({ key: KEY, at: NOW_S, claims })
  const { principal } = await pipeline.ask(question({ token }))
  if (!principal) throw new Error('nobody was recognised')
  return principal
}

const { trust } = await pipeline.ask(question({}))
const believed = trust?.issuers.get(ISSUER)
if (!trust || !believed) throw new Error('nothing is believed')

function verdict(who: Principal, { asked, firstPartyScopes = [], firstPartyClients = [] }: World): string {
  const rules = {
    ...trust?.tokens,
    requirements: () => ({ ...NO_REQUIREMENTS, ...asked }),
    firstPartyOnly: createRouteMatch(new Map(firstPartyScopes.map((one) => [one, true])), false),
  } as Parameters<typeof admit>[1]['tokens']
  const issuer = { ...believed, firstPartyClients: new Set(firstPartyClients) } as typeof believed & object
  const world = { tokens: rules, issuers: new Map([[ISSUER, issuer]]) }
  const outcome = admit(who, world, 'invoice:read', NOW_S * 1000)
  return denied(outcome) ? outcome.reason : 'allow'
}

const bound = (confirmation: Principal['confirmation']) => async () => ({
  ...(await somebody()),
  confirmation,
})

describe('003-01, 003-02: a route that wants a sender constraint', () => {
  test.each<readonly [confirmation: Principal['confirmation'], wanted: readonly ('dpop' | 'mtls')[], string]>(
    [
      ['bearer', [], 'allow'],
      ['dpop', [], 'allow'],
      ['bearer', ['dpop'], 'cnf_required'],
      ['bearer', ['mtls'], 'cnf_required'],
      ['bearer', ['dpop', 'mtls'], 'cnf_required'],
      ['dpop', ['dpop'], 'allow'],
      ['mtls', ['dpop'], 'cnf_required'],
      ['mtls', ['mtls'], 'allow'],
      ['dpop', ['mtls'], 'cnf_required'],
      ['mtls', ['dpop', 'mtls'], 'allow'],
    ],
  )('a %s token where %j is wanted: %s', async (confirmation, wanted, want) => {
    const who = await bound(confirmation)()
    expect(verdict(who, { asked: { senderConstraints: new Set(wanted) } })).toBe(want)
  })

  test('a bearer token on such a route is refused on the whole road, with 401', async () => {
    await pipeline.install({ tokens: { requirements: { ...WIRE, senderConstraints: [1] } } })
    const { decision } = await pipeline.ask(question({ token: forge({ key: KEY, at: NOW_S }) }))
    await pipeline.install({ tokens: {} })
    expect(decision).toBe(deny('cnf_required'))
    expect(denied(decision) && statusOf(decision)).toBe(401)
  })
})

const WIRE: RequirementsMessage = {
  senderConstraints: [],
  introspect: false,
  sharedReplay: false,
  acrValues: [],
  maxAuthAgeS: 0,
  maxTokenAgeS: 0,
  clientKind: 0,
}

describe('000-16: a token that is too old for the route', () => {
  test.each<readonly [ageS: number, maxTokenAgeS: number, want: string]>([
    [3_000, 0, 'allow'],
    [0, 60, 'allow'],
    [59, 60, 'allow'],
    [60, 60, 'allow'],
    [61, 60, 'expired'],
    [3_000, 60, 'expired'],
    [-30, 60, 'allow'],
    [1, 1, 'allow'],
    [2, 1, 'expired'],
  ])('issued %i s ago where %i s is the most: %s', async (ageS, maxTokenAgeS, want) => {
    const who = { ...(await somebody()), issuedAt: NOW_S - ageS }
    expect(verdict(who, { asked: { maxTokenAgeS } })).toBe(want)
  })

  test('a user’s token that somebody put into a build is refused although it has not expired', async () => {
    await pipeline.install({ tokens: { requirements: { ...WIRE, maxTokenAgeS: 300 } } })
    const asked = (agoS: number) =>
      pipeline.reason(
        question({ token: forge({ key: KEY, claims: { iat: NOW_S - agoS, exp: NOW_S + 1_000 } }) }),
      )
    expect(await asked(300)).toBe('allow')
    expect(await asked(301)).toBe('expired')
    await pipeline.install({ tokens: {} })
    expect(await asked(301)).toBe('allow')
  })
})

describe('000-15: users and machines', () => {
  test.each<readonly [claims: Members, clientKind: Requirements['clientKind'], want: string]>([
    [{}, 'any', 'allow'],
    [{}, 'user', 'allow'],
    [{}, 'machine', 'policy_denied'],
    [{ sub: 'batch', client_id: 'batch' }, 'any', 'allow'],
    [{ sub: 'batch', client_id: 'batch' }, 'machine', 'allow'],
    [{ sub: 'batch', client_id: 'batch' }, 'user', 'policy_denied'],
    [{ sub: 'Batch', client_id: 'batch' }, 'machine', 'policy_denied'],
  ])('%j where %s is wanted: %s', async (claims, clientKind, want) => {
    expect(verdict(await somebody(claims), { asked: { clientKind } })).toBe(want)
  })

  test('a user’s token on a route for machines is refused on the whole road, with 403', async () => {
    await pipeline.install({ tokens: { requirements: { ...WIRE, clientKind: 1 } } })
    const { decision } = await pipeline.ask(question({ token: forge({ key: KEY, at: NOW_S }) }))
    await pipeline.install({ tokens: {} })
    expect(denied(decision) && [decision.reason, statusOf(decision)]).toEqual(['policy_denied', 403])
  })
})

describe('002-11: scopes that are not for third parties', () => {
  test.each<readonly [scope: string, client: string, want: string]>([
    ['invoice:read', 'shop', 'allow'],
    ['invoice:read admin:users', 'shop', 'policy_denied'],
    ['admin:', 'shop', 'policy_denied'],
    ['invoice:burn', 'shop', 'policy_denied'],
    ['invoice:burns', 'shop', 'allow'],
    ['Admin:users', 'shop', 'allow'],
    ['invoice:read admin:users', 'console', 'allow'],
    ['invoice:read admin:users', 'Console', 'policy_denied'],
    ['invoice:read admin:users', 'console2', 'policy_denied'],
  ])('%s for the client %s: %s', async (scope, client, want) => {
    const who = await somebody({ scope, client_id: client })
    const rules = { firstPartyScopes: ['admin:*', 'invoice:burn'], firstPartyClients: ['console'] }
    expect(verdict(who, { asked: {}, ...rules })).toBe(want)
  })

  test('the clients of another issuer are no first parties here', async () => {
    const who = { ...(await somebody({ scope: 'admin:x', client_id: 'console' })), issuer: 'https://other' }
    const rules = { firstPartyScopes: ['admin:*'], firstPartyClients: ['console'] }
    expect(verdict(who, { asked: {}, ...rules })).toBe('policy_denied')
  })
})

describe('A6: how, and when, the user authenticated', () => {
  const acrValues = ['gold', 'urn:mace:silver']
  test.each<readonly [claims: Members, asked: Partial<Requirements>, want: string]>([
    [{}, {}, 'allow'],
    [{}, { acrValues }, 'step_up_required'],
    [{ acr: 'bronze' }, { acrValues }, 'step_up_required'],
    [{ acr: 'Gold' }, { acrValues }, 'step_up_required'],
    [{ acr: 'gold urn:mace:silver' }, { acrValues }, 'step_up_required'],
    [{ acr: 'gold' }, { acrValues }, 'allow'],
    [{ acr: 'urn:mace:silver' }, { acrValues }, 'allow'],
    [{}, { maxAuthAgeS: 300 }, 'step_up_required'],
    [{ auth_time: NOW_S - 301 }, { maxAuthAgeS: 300 }, 'step_up_required'],
    [{ auth_time: NOW_S - 300 }, { maxAuthAgeS: 300 }, 'allow'],
    [{ auth_time: NOW_S }, { maxAuthAgeS: 300 }, 'allow'],
    [{ auth_time: NOW_S + 60 }, { maxAuthAgeS: 300 }, 'allow'],
    [{ auth_time: NOW_S + 61 }, { maxAuthAgeS: 300 }, 'step_up_required'],
    [{ auth_time: NOW_S - 10_000 }, {}, 'allow'],
    [{ acr: 'gold', auth_time: NOW_S - 301 }, { acrValues, maxAuthAgeS: 300 }, 'step_up_required'],
    [{ acr: 'bronze', auth_time: NOW_S }, { acrValues, maxAuthAgeS: 300 }, 'step_up_required'],
    [{ acr: 'gold', auth_time: NOW_S }, { acrValues, maxAuthAgeS: 300 }, 'allow'],
  ])('%j where %j is asked: %s', async (claims, asked, want) => {
    expect(verdict(await somebody(claims), { asked })).toBe(want)
  })

  test.each<readonly [what: string, claims: Members]>([
    ['an acr that is no text', { acr: 1 }],
    ['an empty acr', { acr: '' }],
    ['an acr of null', { acr: null }],
    ['an acr in a list', { acr: ['gold'] }],
    ['an endless acr', { acr: 'x'.repeat(257) }],
    ['an auth_time as text', { auth_time: `${NOW_S}` }],
    ['an auth_time with a fraction', { auth_time: NOW_S + 0.5 }],
    ['a negative auth_time', { auth_time: -1 }],
    ['an amr that is text', { amr: 'pwd' }],
    ['an amr of numbers', { amr: [1] }],
    ['an amr of too many', { amr: Array(17).fill('pwd') }],
    ['authorization_details that are one object', { authorization_details: { type: 'payment' } }],
    ['authorization_details with text', { authorization_details: ['payment'] }],
    ['authorization_details with a list', { authorization_details: [['type', 'payment']] }],
    ['authorization_details without a type', { authorization_details: [{ amount: '1' }] }],
    ['authorization_details with a type that is no text', { authorization_details: [{ type: 1 }] }],
    ['authorization_details with an empty type', { authorization_details: [{ type: '' }] }],
    ['authorization_details with an endless type', { authorization_details: [{ type: 'x'.repeat(129) }] }],
    ['too many authorization_details', { authorization_details: Array(33).fill({ type: 'p' }) }],
  ])('A7: %s is refused, not overlooked', async (_what, claims) => {
    const token = forge({ key: KEY, at: NOW_S, claims })
    expect(await pipeline.reason(question({ token }))).toBe('claim_invalid')
  })

  test('A7: what is well formed is remembered as it was said', async () => {
    const details = [{ type: 'payment', limit: '500.00' }]
    const who = await somebody({
      acr: 'gold',
      auth_time: NOW_S - 5,
      amr: ['pwd', 'otp'],
      authorization_details: details,
    })
    expect(who).toMatchObject({
      acr: 'gold',
      authTime: NOW_S - 5,
      amr: ['pwd', 'otp'],
      authorizationDetails: details,
      confirmation: 'bearer',
    })
    expect(isName(who.acr)).toBe(true)
  })
})

test('what several requirements refuse is told as the first of them', async () => {
  const who = { ...(await somebody({ scope: 'admin' })), issuedAt: NOW_S - 100 }
  const everything = {
    senderConstraints: new Set(['dpop'] as const),
    maxTokenAgeS: 60,
    clientKind: 'machine',
    acrValues: ['gold'],
  } as const
  const rules = { firstPartyScopes: ['admin'] }
  expect(verdict(who, { asked: everything, ...rules })).toBe('cnf_required')
  const nothing = new Set<'dpop'>()
  expect(verdict(who, { asked: { ...everything, senderConstraints: nothing }, ...rules })).toBe('expired')
})

test('an admission is for one action', async () => {
  const outcome = admit(await somebody(), trust, 'invoice:read', NOW_S * 1000)
  expect(isAdmitted(outcome, 'invoice:read')).toBe(true)
  expect(isAdmitted(outcome, 'invoice:edit')).toBe(false)
  expect(isAdmitted({ ...outcome }, 'invoice:read')).toBe(false)
})
