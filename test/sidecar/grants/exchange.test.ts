import { beforeEach, describe, expect, test } from 'vitest'
import { ClientKind, type Requirements, Staleness } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Reason } from '../../../sidecar/decision.ts'
import { createExchange, EXCHANGE_LIMITS } from '../../../sidecar/grants/exchange.ts'
import type { Refused } from '../../../sidecar/grants/exchange-answer.ts'
import { createConfirm } from '../../../sidecar/token/confirm.ts'
import { createProve, forgetful } from '../../../sidecar/token/verify.ts'
import type { EndpointAnswer } from '../../../sidecar/trust/endpoint.ts'
import { AT_S } from '../../attacks/arena.ts'
import { KEY, openFedArena, STATED } from '../../attacks/fed.ts'
import { endpointAt } from '../../fixtures/scripted-issuer.ts'
import { forge, goodClaims, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { fedSnapshot } from '../trust/fed-world.ts'

// What becomes of an exchanged token while time passes and things are revoked. The endpoint is a function; its road has its own tests.

const NOTHING_ASKED: Requirements = {
  ...{ senderConstraints: [], introspect: false, sharedReplay: false, acrValues: [] },
  ...{ maxAuthAgeS: 0, maxTokenAgeS: 0, clientKind: ClientKind.CLIENT_KIND_UNSPECIFIED },
}
const TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const never = new AbortController().signal
const UNAVAILABLE = { kind: 'refused', reason: 'unavailable' }
let asked = 0
let answer: () => EndpointAnswer | Promise<EndpointAnswer>
const say = (change: object = {}, status = 200) => {
  const body = { access_token: 'narrow', issued_token_type: TYPE, token_type: 'Bearer', expires_in: 120 }
  answer = () => ({ kind: 'answered', status, body: Buffer.from(JSON.stringify({ ...body, ...change })) })
}
beforeEach(() => {
  asked = 0
  say()
})

type Actor = (audience: string) => Promise<string>
interface Plan {
  /** Of the route `token:exchange`. */
  readonly requirements?: Partial<Requirements>
  readonly claims?: Members
}

async function open(actorToken?: Actor, { requirements, claims = {} }: Plan = {}) {
  const whole = fedSnapshot(6, [STATED])
  const { profile } = whole
  const route = {
    actions: ['token:exchange'],
    staleness: Staleness.STALENESS_STANDARD,
    requirements: { ...NOTHING_ASKED, ...requirements },
  }
  const exchange = { endpoint: endpointAt('https://idp.test.example/token') }
  const arena = await openFedArena({
    first: {
      ...whole,
      profile: profile && { ...profile, routes: [...profile.routes, route] },
      issuers: whole.issuers.map((one) => ({ ...one, exchange })),
    },
  })
  const outcomes: string[] = []
  const exchangeToken = createExchange({
    current: arena.store.current,
    prove: forgetful(
      createProve(() => arena.store.installed()?.issuers.get(ISSUER)?.keys.byKid.get(KEY.kid)?.[0] ?? fail()),
    ),
    confirm: createConfirm(() => Promise.reject(new Error('nobody is asked'))),
    ask: async () => {
      asked++
      return answer()
    },
    actorToken,
    record: (outcome) => outcomes.push(outcome),
    wall: arena.now,
    lifetime: never,
  })
  const subjectToken = Buffer.from(forge({ claims: { ...goodClaims(AT_S), ...claims } }))
  const wish = { subjectToken, audience: 'https://next.example', resource: '', scopes: ['invoice:read'] }
  const ask = (nameWorkload = false, signal = never) => exchangeToken({ ...wish, nameWorkload }, signal)
  return { arena, ask, outcomes }
}

function fail(): never {
  throw new Error('no key')
}

describe('what a route asks of tokens, asked of one that is exchanged', () => {
  const BOUND = { cnf: { jkt: 'a'.repeat(43) } }
  test.each<readonly [asked: string, Partial<Requirements>, Members, because: Reason | undefined]>([
    ['bound to its sender, and it is', { senderConstraints: [1] }, BOUND, undefined],
    ['bound to its sender, and it is not', { senderConstraints: [1] }, {}, 'cnf_required'],
    ['bound in another way', { senderConstraints: [2] }, BOUND, 'cnf_required'],
    ['young enough', { maxTokenAgeS: 60 }, { iat: AT_S - 60 }, undefined],
    ['too old', { maxTokenAgeS: 60 }, { iat: AT_S - 61 }, 'expired'],
    ['strong enough', { acrValues: ['gold'] }, { acr: 'gold' }, undefined],
    ['not strong enough', { acrValues: ['gold'] }, { acr: 'silver' }, 'step_up_required'],
    ['authenticated lately', { maxAuthAgeS: 60 }, { auth_time: AT_S - 60 }, undefined],
    ['authenticated too long ago', { maxAuthAgeS: 60 }, { auth_time: AT_S - 61 }, 'step_up_required'],
    ['of a user', { clientKind: ClientKind.CLIENT_KIND_USER }, {}, undefined],
    ['of a machine', { clientKind: ClientKind.CLIENT_KIND_MACHINE }, {}, 'policy_denied'],
  ])('%s', async (_asked, requirements, claims, because) => {
    const { ask } = await open(undefined, { requirements, claims })
    expect(await ask()).toMatchObject(
      because ? { kind: 'refused', reason: 'subject_token', because } : { kind: 'token' },
    )
    expect(asked).toBe(because ? 0 : 1)
  })

  test('what was exchanged is not given out again for a token that has grown too old since', async () => {
    const { arena, ask } = await open(undefined, { requirements: { maxTokenAgeS: 10 } })
    expect(await ask()).toMatchObject({ kind: 'token' })
    arena.pass(10_999)
    expect(await ask()).toMatchObject({ kind: 'token' })
    arena.pass(1)
    expect(await ask()).toEqual({ kind: 'refused', reason: 'subject_token', because: 'expired' })
    expect(asked).toBe(1)
  })
})

describe('000-07: what was exchanged is kept', () => {
  test('until half a minute before it ends, and not a moment longer', async () => {
    const { arena, ask } = await open()
    await ask()
    arena.pass(120_000 - EXCHANGE_LIMITS.marginMs - 1)
    arena.heartbeat()
    expect(await ask()).toMatchObject({ kind: 'token' })
    expect(asked).toBe(1)
    arena.pass(1)
    await ask()
    expect(asked).toBe(2)
  })

  test('E6: a token that would outlive the one it was made from is given to nobody', async () => {
    const { ask } = await open()
    for (const [expiresIn, kind] of [
      [300, 'token'],
      [301, 'refused'],
    ] as const) {
      say({ expires_in: expiresIn, access_token: `narrow-${expiresIn}` })
      const { ask: anew } = await open()
      expect(await anew()).toMatchObject({ kind })
    }
    say({ expires_in: undefined })
    expect(await ask()).toMatchObject({ kind: 'refused', reason: 'answer' })
  })
})

describe('a revocation', () => {
  test('of the caller ends what was exchanged for it', async () => {
    const { arena, ask } = await open()
    expect(await ask()).toMatchObject({ kind: 'token' })
    arena.revoke({ subject: { $case: 'sub', sub: 'alice' } })
    expect(await ask()).toEqual({ kind: 'refused', reason: 'subject_token', because: 'revoked_sub' })
    expect(asked).toBe(1)
  })

  test('that arrives while the issuer is asked counts', async () => {
    const { arena, ask } = await open()
    const said = answer
    answer = () => {
      arena.revoke({ subject: { $case: 'sub', sub: 'alice' } })
      return said()
    }
    expect(await ask()).toEqual({ kind: 'refused', reason: 'subject_token', because: 'revoked_sub' })
  })

  test('that may have been missed closes the way: nobody can tell', async () => {
    const { arena, ask } = await open()
    await ask()
    arena.pass(1_000_000)
    expect(await ask()).toEqual({ kind: 'refused', reason: 'unavailable' })
  })
})

describe('what changes while the issuer is asked counts', () => {
  type Arena = Awaited<ReturnType<typeof open>>['arena']
  test.each<readonly [what: string, change: (arena: Arena) => void, outcome: object]>([
    [
      'the issuer is believed no more',
      ({ store }) => {
        const before = store.installed()
        if (before) store.swap({ ...before, generation: before.generation + 1, issuers: new Map() })
      },
      { kind: 'refused', reason: 'subject_token', because: 'iss_unknown' },
    ],
    ['everything is withheld', ({ store }) => store.withhold(7, 'a test'), UNAVAILABLE],
    ['a revocation may have been missed', (arena) => arena.pass(1_000_000), UNAVAILABLE],
    [
      'something else',
      ({ store }) => {
        const before = store.installed()
        if (before) store.swap({ ...before, generation: before.generation + 1 })
      },
      { kind: 'token' },
    ],
  ])('%s', async (_what, change, outcome) => {
    const { arena, ask } = await open()
    // Good for as long as it must be.
    say({ expires_in: 300 })
    const said = answer
    answer = () => {
      change(arena)
      return said()
    }
    expect(await ask()).toMatchObject(outcome)
    expect(asked).toBe(1)
  })
})

describe('what the issuer says', () => {
  test.each<readonly [status: number, error: string, reason: Refused['reason'], outcome: string]>([
    [400, 'invalid_target', 'target', 'invalid_target'],
    [400, 'invalid_scope', 'issuer', 'invalid_scope'],
    [400, 'invalid_grant', 'issuer', 'invalid_grant'],
    [400, 'invalid_request', 'issuer', 'invalid_request'],
    [400, 'unauthorized_client', 'unavailable', 'unauthorized_client'],
    [401, 'invalid_client', 'unavailable', 'invalid_client'],
    [500, 'server_error', 'unavailable', 'server_error'],
  ])('000-22: status %i with %s is %s', async (status, error, reason, outcome) => {
    const { ask, outcomes } = await open()
    say({ error }, status)
    expect(await ask()).toEqual({ kind: 'refused', reason })
    expect(outcomes).toEqual([outcome])
    // And none of it is kept.
    say()
    expect(await ask()).toMatchObject({ kind: 'token' })
  })
})

describe('E1: the workload as the actor', () => {
  test('its token is for the issuer that is asked', async () => {
    const audiences: string[] = []
    const { ask } = await open(async (audience) => {
      audiences.push(audience)
      return 'own'
    })
    expect(await ask(true)).toMatchObject({ kind: 'token' })
    expect(await ask(false)).toMatchObject({ kind: 'token' })
    expect([audiences, asked]).toEqual([[ISSUER], 2])
  })

  test('without a token of its own nobody is asked', async () => {
    const { ask } = await open(() => Promise.reject(new Error('come back')))
    expect(await ask(true)).toEqual({ kind: 'refused', reason: 'unavailable' })
    const { ask: never_ } = await open()
    expect(await never_(true)).toEqual({ kind: 'refused', reason: 'not_configured' })
    expect(asked).toBe(0)
  })
})

test('a caller that gives up does not end the question for the others', async () => {
  const { ask } = await open()
  const { promise, resolve } = Promise.withResolvers<EndpointAnswer>()
  const said = answer
  answer = () => promise
  const gone = new AbortController()
  const [left, stays] = [ask(false, gone.signal), ask()]
  await new Promise((done) => setImmediate(done))
  gone.abort()
  expect(await left).toEqual({ kind: 'refused', reason: 'unavailable' })
  resolve(await said())
  expect(await stays).toMatchObject({ kind: 'token' })
  expect(asked).toBe(1)
})
