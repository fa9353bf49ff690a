// Advice: what works and should be better, under codes that do not change, and never in the way of Ready.
import { describe, expect, test } from 'vitest'
import type { MetadataFacts } from '../../../operator/gather/metadata.ts'
import { planAccessPolicy } from '../../../operator/reconcile/access-policy.ts'
import {
  adviseOnIssuer,
  adviseOnPolicy,
  demandsOf,
  type IssuerKnown,
} from '../../../operator/reconcile/advice.ts'
import { type KeysSeen, planTokenIssuer } from '../../../operator/reconcile/token-issuer.ts'
import { accessPolicy, tokenIssuer } from '../state/objects.ts'

const AT = Date.UTC(2026, 0, 1)
const DAY = 86_400_000
const moment = (daysAgo: number) => new Date(AT - daysAgo * DAY).toISOString()

const FACTS: MetadataFacts = {
  uri: 'https://idp.example/.well-known/openid-configuration',
  exact: true,
  challengeMethods: ['S256'],
  responseTypes: ['code'],
  grantTypes: ['authorization_code', 'refresh_token'],
  algorithms: ['RS256'],
  proofAlgorithms: ['ES256'],
  certificateBound: true,
  pushed: true,
  acrValues: ['gold'],
}
const key = (kid: string, firstSeenDays: number, lastSeenDays = 0) => ({
  kid,
  algorithm: 'RS256',
  firstSeen: moment(firstSeenDays),
  lastSeen: moment(lastSeenDays),
  revoked: false,
})
const KNOWN: IssuerKnown = {
  metadata: { facts: FACTS },
  kids: [key('b', 5), key('a', 40)],
  published: new Set(['a', 'b']),
  demands: { constraints: [], acrValues: new Set() },
}
const issuer = tokenIssuer('shop', 'idp')
const codes = (known: Partial<IssuerKnown>, spec: object = {}) =>
  adviseOnIssuer(tokenIssuer('shop', 'idp', spec), { ...KNOWN, ...known }, AT).map(({ code }) => code)
const told = (facts: Partial<MetadataFacts>, demands: Partial<IssuerKnown['demands']> = {}) =>
  codes({ metadata: { facts: { ...FACTS, ...facts } }, demands: { ...KNOWN.demands, ...demands } })

test('an issuer that does everything well is given no advice', () => {
  expect(codes({})).toEqual([])
  expect(told({}, { constraints: [['DPoP'], ['MTLS']], acrValues: new Set(['gold']) })).toEqual([])
})

test('an issuer that nobody has asked yet is given none about its metadata', () => {
  expect(codes({ metadata: undefined })).toEqual([])
})

test('one that cannot be read is told so, with why', () => {
  const metadata = { facts: undefined, problem: 'https://idp.example/x: answered 404' }
  expect(adviseOnIssuer(issuer, { ...KNOWN, metadata }, AT)).toEqual([
    { code: 'MetadataUnreadable', message: expect.stringContaining('answered 404') },
  ])
})

describe('O2, O3: what an authorization server should not offer, and what it should', () => {
  test.each<readonly [Partial<MetadataFacts>, readonly string[]]>([
    [{ exact: false }, ['IssuerNotExact']],
    [{ challengeMethods: [] }, ['PkceS256NotOffered']],
    [{ challengeMethods: ['plain'] }, ['PkcePlainOffered', 'PkceS256NotOffered']],
    [{ challengeMethods: ['s256'] }, ['PkceS256NotOffered']],
    [{ challengeMethods: ['S256', 'plain'] }, ['PkcePlainOffered']],
    [{ responseTypes: ['code', 'token'] }, ['ImplicitOffered']],
    [{ responseTypes: ['code id_token token'] }, ['ImplicitOffered']],
    [{ responseTypes: ['code', 'code id_token', 'id_token'] }, []],
    [{ grantTypes: ['authorization_code', 'implicit'] }, ['ImplicitOffered']],
    [{ grantTypes: ['password'] }, ['PasswordGrantOffered']],
    [{ algorithms: ['RS256', 'none'] }, ['NoneOffered']],
    [{ algorithms: ['nOnE'] }, ['NoneOffered']],
  ])('%j: %j', (facts, want) => {
    expect(told(facts)).toEqual(want)
  })
})

describe('003-15: what routes demand, and whether the issuer can give it', () => {
  type C = IssuerKnown['demands']['constraints']
  const NONE = { proofAlgorithms: [], certificateBound: false }
  test.each<readonly [Partial<MetadataFacts>, C, readonly string[]]>([
    [NONE, [], []],
    [NONE, [['DPoP']], ['SenderConstraintNotOffered']],
    [NONE, [['DPoP', 'MTLS']], ['SenderConstraintNotOffered']],
    [{ proofAlgorithms: [] }, [['DPoP']], ['SenderConstraintNotOffered']],
    [{ proofAlgorithms: [] }, [['DPoP', 'MTLS']], []],
    [{ certificateBound: false }, [['DPoP', 'MTLS']], []],
    [{ certificateBound: false }, [['DPoP', 'MTLS'], ['MTLS']], ['SenderConstraintNotOffered']],
    [{ pushed: false }, [], []],
    [{ pushed: false }, [['DPoP']], ['ParNotOffered']],
  ])('%j for %j: %j', (facts, constraints, want) => {
    expect(told(facts, { constraints })).toEqual(want)
  })

  test.each([
    [['gold'], [], []],
    [['gold'], ['gold'], []],
    [['silver'], ['gold'], ['AcrNotOffered']],
    [[], ['gold'], []],
  ])('it says %j, routes ask for %j: %j', (acrValues, asked, want) => {
    expect(told({ acrValues }, { acrValues: new Set(asked) })).toEqual(want)
  })

  test('demands are those of the profile and of its routes', () => {
    const spec = {
      tokens: { requirements: { acrValues: ['a'] } },
      routes: [
        { actions: ['x'], requirements: { senderConstraints: ['DPoP'], acrValues: ['b'] } },
        { actions: ['y'] },
      ],
    }
    expect(demandsOf([accessPolicy('shop', 'front', spec), accessPolicy('shop', 'back')])).toEqual({
      constraints: [['DPoP']],
      acrValues: new Set(['a', 'b']),
    })
  })
})

describe('004-37: keys that are too few or too old', () => {
  const one = new Set(['a'])
  test.each<readonly [string, Partial<IssuerKnown>, readonly string[]]>([
    ['one key', { kids: [key('a', 1)], published: one }, ['FewerThanTwoKeys']],
    ['two keys', {}, []],
    [
      'one key beside one that left',
      { kids: [key('a', 40), key('b', 60, 20)], published: one },
      ['FewerThanTwoKeys'],
    ],
    ['a key of 179 days', { kids: [key('a', 179.9), key('b', 1)] }, []],
    ['a key of 180 days', { kids: [key('a', 180), key('b', 1)] }, ['OldKey']],
    ['an old key that left', { kids: [key('a', 20), key('b', 1), key('c', 400, 10)] }, []],
    ['no key at all, which JwksFresh tells', { kids: [], published: new Set() }, []],
  ])('%s', (_what, known, want) => {
    expect(codes(known)).toEqual(want)
  })

  test('the keys of a client are given no such advice', () => {
    expect(
      codes({ kids: [key('a', 500)], published: one, metadata: undefined }, { signs: 'Assertions' }),
    ).toEqual([])
  })
})

describe('001-19: a key is published before it is used', () => {
  const both = new Set(['b', 'c'])
  test.each<readonly [string, IssuerKnown['kids'], readonly string[]]>([
    ['an overlap of two days', [key('b', 3), key('c', 1), key('a', 90, 1)], []],
    ['no overlap', [key('b', 1), key('c', 1), key('a', 90, 1.01)], ['KeysReplacedAtOnce']],
    ['no overlap, but long ago', [key('b', 31), key('c', 31), key('a', 90, 32)], []],
    ['one of two overlapped', [key('b', 5), key('c', 1), key('a', 90, 2)], []],
    ['the first keys ever', [key('b', 0), key('c', 0)], []],
  ])('%s', (_what, kids, want) => {
    expect(codes({ kids, published: both })).toEqual(want)
  })
})

describe('legacy types', () => {
  const until = (days: number) => ({ legacyTyp: { until: new Date(AT + days * DAY).toISOString() } })
  test.each<readonly [number, readonly string[]]>([
    [400, []],
    [400.1, ['LegacyTypTooLong']],
    [1, []],
    [0, ['LegacyTypOver']],
    [-1, ['LegacyTypOver']],
  ])('until in %d days: %j', (days, want) => {
    expect(codes({}, until(days))).toEqual(want)
  })
})

describe('AccessPolicy', () => {
  const NOBODY = { sameAudience: [], notAsked: [] }
  const policyCodes = (spec: object, known: Partial<typeof NOBODY & object> = {}) =>
    adviseOnPolicy(accessPolicy('shop', 'front', spec), { ...NOBODY, ...known }).map(({ code }) => code)
  const route = (requirements: object) => ({ routes: [{ actions: ['a'], requirements }] })

  test('000-30: an audience that another one has, too', () => {
    expect(policyCodes({})).toEqual([])
    const [advisory] = adviseOnPolicy(accessPolicy('shop', 'front'), {
      ...NOBODY,
      sameAudience: ['bank/a', 'bank/b', 'bank/c', 'bank/d'],
    })
    expect(advisory?.code).toBe('SharedAudience')
    expect(advisory?.message).toMatch(
      /also that of bank\/a, bank\/b, bank\/c and more: .*audience of its own/,
    )
  })

  test.each<readonly [string, boolean]>([
    ['https://api.example', true],
    ['https://api.example/a?b', true],
    ['urn:example:api', true],
    ['orders', false],
    ['/orders', false],
    ['https://api.example/#', false],
    ['https://api.example/#a', false],
  ])('R1: the audience %s can be asked for as a resource: %s', (audience, can) => {
    expect(policyCodes({ audience })).toEqual(can ? [] : ['AudienceNotResource'])
  })

  test('003-01: proofs that are asked for and cannot be checked', () => {
    expect(policyCodes(route({ senderConstraints: ['DPoP'] }))).toEqual(['ProofsNotCheckable'])
    expect(policyCodes(route({ senderConstraints: ['MTLS'] }))).toEqual([])
    const tokens = { externalBaseURL: 'https://api.example' }
    expect(policyCodes({ ...route({ senderConstraints: ['DPoP'] }), tokens })).toEqual([])
  })

  test('an issuer that is to be asked and cannot be', () => {
    const notAsked = ['shop/idp'] as never[]
    expect(policyCodes(route({ introspect: 'Always' }), { notAsked })).toEqual(['IssuerNotAsked'])
    expect(policyCodes(route({}), { notAsked })).toEqual([])
    expect(policyCodes(route({ introspect: 'Always' }))).toEqual([])
  })
})

describe('in status', () => {
  const rollout = { acknowledged: 1, total: 1, text: '1/1 at x', refused: [], silent: [] }
  const seen: KeysSeen = {
    sha256: 'a'.repeat(64),
    etag: '',
    fetchedAtMs: AT,
    notAfterMs: AT + 600_000,
    kids: [{ kid: 'only', algorithm: 'RS256' }],
    problem: '',
    refreshedNow: '',
    metadata: { facts: { ...FACTS, challengeMethods: [], exact: false } },
  }
  const ready = (conditions: readonly { readonly type: string; readonly status: string }[] | undefined) =>
    conditions?.find(({ type }) => type === 'Ready')?.status

  test('004-37: the advice is there, and the issuer is Ready', () => {
    const demands = { constraints: [], acrValues: new Set<string>() }
    const status = planTokenIssuer(issuer, { keys: seen, demands }, rollout, AT)
    expect(status.advisories?.map(({ code }) => code)).toEqual([
      'FewerThanTwoKeys',
      'IssuerNotExact',
      'PkceS256NotOffered',
    ])
    expect(ready(status.conditions)).toBe('True')
  })

  test('000-30: the warning is there, and the AccessPolicy is Ready', () => {
    const served = { problems: [], conflictsWith: [], pods: 1, sameAudience: ['shop/back'], notAsked: [] }
    const status = planAccessPolicy(accessPolicy('shop', 'front'), served, rollout, AT)
    expect(status.advisories).toMatchObject([{ code: 'SharedAudience' }])
    expect(ready(status.conditions)).toBe('True')
  })

  test('what is said is bounded, whatever the issuer says of itself', () => {
    const metadata = { facts: undefined, problem: 'x'.repeat(10_000) }
    const [advisory] = adviseOnIssuer(issuer, { ...KNOWN, metadata }, AT)
    expect(advisory?.message.length).toBe(512)
  })
})
