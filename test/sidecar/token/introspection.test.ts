import { beforeEach, describe, expect, test } from 'vitest'
import { denied } from '../../../sidecar/decision.ts'
import { createIntrospection } from '../../../sidecar/token/introspection.ts'
import type { EndpointAnswer } from '../../../sidecar/trust/endpoint.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { openPipeline, type PipelinePlan } from '../../fixtures/pipeline.ts'
import { question } from '../../fixtures/question.ts'
import { introspectionAt } from '../../fixtures/scripted-issuer.ts'
import { AUDIENCE, CLIENT, forge, goodClaims, ISSUER } from '../../fixtures/tokens.ts'

// What an answer must say, and what it may leave out (RFC 7662 section 2.2). The endpoint is a function here; its road has its own tests.

const AT_S = 1_790_000_000
const KEY = signingKey()
let answer: () => EndpointAnswer | Promise<EndpointAnswer>
let asked: string[] = []
const say = (body: unknown, status = 200) => {
  answer = () => ({ kind: 'answered', status, body: Buffer.from(JSON.stringify(body)) })
}
beforeEach(() => {
  asked = []
})

const INTROSPECT = {
  senderConstraints: [],
  introspect: true,
  sharedReplay: false,
  acrValues: [],
  maxAuthAgeS: 0,
  maxTokenAgeS: 0,
  clientKind: 0 as const,
}

function open(change: Partial<PipelinePlan> = {}) {
  return openPipeline({
    issuers: [{ keys: [KEY], introspection: introspectionAt('https://idp.test.example/introspect') }],
    now: () => AT_S * 1000,
    askEndpoint: async ({ endpoint, form }) => {
      asked.push(`${endpoint.url} ${form['token']}`)
      return answer()
    },
    ...change,
  })
}

const opaque = await open()
const always = await open({ tokens: { requirements: INTROSPECT } })
let serial = 0
const fresh = () => `opaque-${++serial}`
const good = (change: object = {}) => ({ active: true, ...goodClaims(AT_S), ...change })

describe('T3: what an answer about an opaque token says is checked as a JWT is', () => {
  test.each<readonly [claim: string, change: object, verdict: string]>([
    ['all of it', {}, 'allow'],
    ['T3: exp just before the end of tolerance', { exp: AT_S - 59, iat: AT_S - 200 }, 'allow'],
    ['T3: exp at the end of tolerance', { exp: AT_S - 60, iat: AT_S - 200 }, 'expired'],
    ['T3: no exp', { exp: undefined }, 'exp_missing'],
    ['T3: exp as text', { exp: String(AT_S + 300) }, 'introspection_invalid'],
    ['T3: exp that is no whole second', { exp: AT_S + 0.5 }, 'introspection_invalid'],
    ['T3: no iat', { iat: undefined }, 'iat_missing'],
    ['T3: iat inside tolerance', { iat: AT_S + 60 }, 'allow'],
    ['T3: iat in the future', { iat: AT_S + 61 }, 'iat_future'],
    ['T3: nbf inside tolerance', { nbf: AT_S + 60 }, 'allow'],
    ['T3: nbf in the future', { nbf: AT_S + 61 }, 'nbf_future'],
    ['T3: the longest life', { exp: AT_S + 3_600 }, 'allow'],
    ['T3: a longer life', { exp: AT_S + 3_601 }, 'lifetime_too_long'],
    ['T3: no aud', { aud: undefined }, 'introspection_invalid'],
    ['T3: an empty list of aud', { aud: [] }, 'introspection_invalid'],
    ['T3: ours among others', { aud: ['https://other.example', AUDIENCE] }, 'allow'],
    ['T3: a longer aud that begins with ours', { aud: `${AUDIENCE}.evil.example` }, 'aud_mismatch'],
    ['T3: no iss', { iss: undefined }, 'allow'],
    ['T3: a look-alike iss', { iss: `${ISSUER}/` }, 'introspection_invalid'],
    ['T3: no client_id', { client_id: undefined }, 'introspection_invalid'],
    ['T3: client_id as a number', { client_id: 1 }, 'introspection_invalid'],
    ['T3: scope without what is needed', { scope: 'invoice:edit' }, 'insufficient_scope'],
    ['T3: scope as a list', { scope: ['invoice:read'] }, 'introspection_invalid'],
    ['T3: token_type bearer in small letters', { token_type: 'bearer' }, 'allow'],
    ['T3: token_type DPoP without a key', { token_type: 'DPoP' }, 'introspection_invalid'],
    [
      'T3: a key, and token_type Bearer',
      { token_type: 'Bearer', cnf: { jkt: 'a' } },
      'introspection_invalid',
    ],
    ['T3: an unknown cnf', { cnf: { kid: 'k' } }, 'cnf_unknown'],
    ['T3: a tenant that the issuer may not speak for', { tenant: 'evil' }, 'issuer_tenant_mismatch'],
    ['T2: active as text', { active: 'true' }, 'introspection_invalid'],
    ['T5: not active', { active: false }, 'introspection_inactive'],
    ['a user without a name of its own', { sub: undefined, username: 'alice' }, 'claim_missing'],
  ])('%s', async (_claim, change, verdict) => {
    say(good(change))
    expect(await opaque.reason(question({ token: fresh() }))).toBe(verdict)
  })

  test('a token without a user is its client’s own, and has a name by which it can be revoked', async () => {
    say(good({ sub: undefined, jti: undefined }))
    const { principal } = await opaque.ask(question({ token: fresh() }))
    expect(principal).toMatchObject({ subject: CLIENT, clientId: CLIENT, kind: 'machine', kid: '' })
    expect(principal?.jti).toMatch(/^sha256:[\w-]{43}$/)
  })

  test('a token that its issuer names by its own text is not named so here', async () => {
    const token = fresh()
    say(good({ jti: token }))
    const { principal } = await opaque.ask(question({ token }))
    expect(JSON.stringify({ ...principal })).not.toContain(`"jti":"${token}"`)
  })
})

describe('T6: what is no answer', () => {
  test.each([
    [500, 'introspection_unavailable'],
    [503, 'introspection_unavailable'],
    [401, 'introspection_unavailable'],
    [403, 'introspection_unavailable'],
    [404, 'introspection_unavailable'],
    [302, 'introspection_invalid'],
  ])('T6: status %i is %s', async (status, verdict) => {
    say(good(), status)
    expect(await opaque.reason(question({ token: fresh() }))).toBe(verdict)
    expect(await always.reason(question({ token: forge({ at: AT_S }) }))).toBe(verdict)
  })
})

describe('002-17: C13: a JWT on a route that asks its issuer', () => {
  test('002-17: it is asked every time, and never when the JWT itself is not sound', async () => {
    const claims = goodClaims(AT_S)
    say({ active: true })
    for (let at = 0; at < 3; at++)
      expect(await always.reason(question({ token: forge({ claims }) }))).toBe('allow')
    expect(asked).toHaveLength(3)
    expect(await always.reason(question({ token: forge({ at: AT_S - 1_000 }) }))).toBe('expired')
    expect(asked).toHaveLength(3)
  })

  test('002-17: where its issuer cannot be asked, the route is closed', async () => {
    const without = await open({ issuers: [{ keys: [KEY] }], tokens: { requirements: INTROSPECT } })
    expect(await without.reason(question({ token: forge({ at: AT_S }) }))).toBe('introspection_unavailable')
    expect(asked).toEqual([])
  })

  test('C13: a scope that the issuer does not grant any more is gone; one that it adds is not there', async () => {
    const claims = goodClaims(AT_S, { scope: 'invoice:read invoice:edit' })
    say(good({ ...claims, scope: 'invoice:read invoice:delete' }))
    const { principal, decision } = await always.ask(question({ token: forge({ claims }) }))
    expect(denied(decision)).toBe(false)
    expect(principal?.scopes).toEqual(['invoice:read'])
    expect(JSON.parse(principal?.claimsJson ?? '')).toMatchObject({ scope: 'invoice:read' })
  })

  test.each<readonly [what: string, granted: unknown, left: readonly string[]]>([
    ['all', [{ type: 'a', limit: 5 }, { type: 'b' }], ['a', 'b']],
    ['one', [{ type: 'b' }], ['b']],
    ['one of them with another limit', [{ type: 'a', limit: 4 }, { type: 'b' }], ['b']],
    ['another', [{ type: 'c' }], []],
    ['none', [], []],
    ['what is no list', { type: 'a', limit: 5 }, []],
    ['not a word', undefined, ['a', 'b']],
  ])('R3: of what was consented to, its issuer grants still: %s', async (_what, granted, left) => {
    const details = [{ type: 'a', limit: 5 }, { type: 'b' }]
    const token = forge({ claims: { ...goodClaims(AT_S), authorization_details: details } })
    say({ active: true, authorization_details: granted })
    const { principal } = await always.ask(question({ token }))
    expect(principal?.authorizationDetails.map(({ type }) => type)).toEqual(left)
    expect(principal?.claimsJson.includes('"type":"a"')).toBe(left.includes('a'))
  })

  test('C13: a role that its issuer does not grant any more is gone; one that it adds is not there', async () => {
    say({ active: true, roles: ['admin'] })
    const { principal } = await always.ask(question({ token: forge({ claims: goodClaims(AT_S) }) }))
    expect(principal?.roles).toEqual([])
  })

  test('C13: an audience or an end that only the answer knows counts as well', async () => {
    const claims = goodClaims(AT_S)
    for (const [change, verdict] of [
      [{ aud: 'https://other.example' }, 'aud_mismatch'],
      [{ nbf: AT_S + 100 }, 'nbf_future'],
    ] as const) {
      say({ active: true, ...change })
      expect(await always.reason(question({ token: forge({ claims }) }))).toBe(verdict)
    }
  })
})

describe('002-14: which tokens are opaque', () => {
  const JWT = forge({ claims: goodClaims(AT_S) })
  test.each([
    ['a.b.c', 'b64_noncanonical'],
    ['a.b.c.d.e', 'jwe_unsupported'],
    ['{"a":1}', 'token_format'],
    ['with blank', 'auth_malformed'],
    ['plain%20', 'token_format'],
    ['x'.repeat(4_097), 'token_format'],
  ])('%s is shown to nobody', async (token) => {
    say(good())
    expect(await opaque.reason(question({ token }))).not.toBe('allow')
    expect(asked).toEqual([])
  })

  // Whoever reads these generously would undo the strict reading, and the revocation of the key.
  test.each([
    ['a dot behind it', `${JWT}.`],
    ['a part behind it', `${JWT}.x`],
    ['a dot before it', `.${JWT}`],
    ['a part before it', `x.${JWT}`],
    ['three parts before it', `x.y.z.${JWT}`],
    ['its signature missing', JWT.slice(0, JWT.lastIndexOf('.'))],
  ])('a JWT with %s is shown to nobody', async (_what, token) => {
    say(good())
    expect(await opaque.reason(question({ token }))).toBe('token_format')
    expect(asked).toEqual([])
  })

  test.each(['plain', 'one.dot', 'a.b.c.d', 'tilde~and+slash/==', 'x'.repeat(4_096)])(
    'a token of another form is: %#',
    async (token) => {
      say(good())
      expect(await opaque.reason(question({ token }))).toBe('allow')
      expect(asked).toHaveLength(1)
    },
  )

  test('002-14: where nobody is asked about opaque tokens they are refused', async () => {
    const endpoint = introspectionAt('https://idp.test.example/introspect', { opaque: false })
    for (const introspection of [undefined, endpoint]) {
      const closed = await open({ issuers: [{ keys: [KEY], introspection }] })
      expect(await closed.reason(question({ token: fresh() }))).toBe('token_format')
    }
    expect(asked).toEqual([])
  })
})

test('C13: a client that signs assertions is no issuer of opaque tokens either', async () => {
  say(good())
  const introspection = introspectionAt('https://idp.test.example/introspect')
  const client = await open({ issuers: [{ keys: [KEY], client: true, introspection }] })
  expect(await client.reason(question({ token: fresh() }))).toBe('token_format')
  expect(asked).toEqual([])
})

describe('several issuers of opaque tokens', () => {
  const issuers = ['a', 'b', 'c'].map((name) => ({
    issuer: `https://${name}.example`,
    keys: [KEY],
    introspection: introspectionAt(`https://${name}.example/introspect`),
  }))
  const inOrder = (answers: readonly (object | 'unavailable')[]) => {
    const left = [...answers]
    answer = () => {
      const next = left.shift() ?? { active: false }
      if (next === 'unavailable') return { kind: 'unavailable' }
      return { kind: 'answered', status: 200, body: Buffer.from(JSON.stringify(next)) }
    }
  }

  test('each is asked in turn, until one knows the token', async () => {
    const several = await open({ issuers })
    inOrder([{ active: false }, good({ iss: 'https://b.example' })])
    const { principal } = await several.ask(question({ token: fresh() }))
    expect(principal?.issuer).toBe('https://b.example')
    expect(asked.map((one) => one.split(' ')[0])).toEqual([
      'https://a.example/introspect',
      'https://b.example/introspect',
    ])
  })

  test('if one cannot be asked and no other knows the token, nobody can tell', async () => {
    const several = await open({ issuers })
    inOrder([{ active: false }, 'unavailable', { active: false }])
    expect(await several.reason(question({ token: fresh() }))).toBe('introspection_unavailable')
    inOrder(['unavailable', good({ iss: 'https://b.example' })])
    expect(await several.reason(question({ token: fresh() }))).toBe('allow')
    inOrder([{ active: false }, { active: false }, { active: false }])
    expect(await several.reason(question({ token: fresh() }))).toBe('introspection_inactive')
  })
})

test('whoever must be sure does not take an answer that was on its way before the question', async () => {
  const waiting: ((answer: EndpointAnswer) => void)[] = []
  answer = () => new Promise((resolve) => waiting.push(resolve))
  const claims = goodClaims(AT_S)
  const ask = () => always.reason(question({ token: forge({ claims }) }))
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const first = [ask(), ask()]
  await turn()
  expect(asked).toHaveLength(1)
  const second = ask()
  await turn()
  expect(asked).toHaveLength(2)
  const body = (active: boolean) => Buffer.from(JSON.stringify({ active }))
  waiting[0]?.({ kind: 'answered', status: 200, body: body(true) })
  waiting[1]?.({ kind: 'answered', status: 200, body: body(false) })
  expect(await Promise.all(first)).toEqual(['allow', 'allow'])
  expect(await second).toBe('introspection_inactive')
})

test('T4: an answer that comes late to an older question does not undo a newer one', async () => {
  const { trust } = await opaque.ask(question({ token: forge({ claims: goodClaims(AT_S) }) }))
  const [issuer] = trust?.issuers.values() ?? []
  if (!trust || !issuer?.introspection) throw new Error('nobody is asked')
  const waiting: ((answer: EndpointAnswer) => void)[] = []
  let passed = 0
  const introspect = createIntrospection({
    ask: () => new Promise((resolve) => waiting.push(resolve)),
    now: () => passed,
    record: () => undefined,
    lifetime: new AbortController().signal,
  })
  const { introspection } = issuer
  const about = { token: Buffer.from('t'), issuer, introspection, trust, at: AT_S * 1000, unproven: true }
  const ask = (fresh: boolean) => introspect({ ...about, fresh }, new AbortController().signal)
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const older = ask(false)
  await turn()
  const newer = ask(true)
  await turn()
  const say = (body: object): EndpointAnswer => ({
    ...{ kind: 'answered', status: 200 },
    body: Buffer.from(JSON.stringify(body)),
  })
  waiting[1]?.(say({ active: false }))
  expect(await newer).toMatchObject({ reason: 'introspection_inactive' })
  waiting[0]?.(say(good()))
  expect(await older).toMatchObject({ sub: 'alice' })
  // Longer than an inactive answer is kept, and not as long as an active one.
  for (passed of [0, 4_999]) expect(await ask(false)).toMatchObject({ reason: 'introspection_inactive' })
  passed = 5_000
  const again = ask(false)
  await turn()
  expect(waiting).toHaveLength(3)
  waiting[2]?.(say({ active: false }))
  expect(await again).toMatchObject({ reason: 'introspection_inactive' })
})
