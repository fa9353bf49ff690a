// What is asked of tokens, as a configuration says it: the messages an operator would send, or every problem with what to do.
import { expect, test } from 'vitest'
import {
  CertificateHeader,
  ClientAuthentication,
  ClientKind,
  SenderConstraint,
  Staleness,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { explainTerms, explainTokens } from '../../sidecar/config-explained.ts'
import { parseExchange, parseIntrospection } from '../../sidecar/trust/endpoint.ts'
import { parseTokenRules } from '../../sidecar/trust/token-rules.ts'
import { configOf, GOOD, ISSUER, parse, problemsOf, type Tree } from './configs.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
const HOP = 'spiffe://cluster.example/ns/edge/sa/proxy'
const FULL_REQUIREMENTS: Tree = {
  senderConstraints: ['DPoP', 'MTLS'],
  introspect: 'Always',
  sharedReplay: 'Required',
  acrValues: ['urn:mace:silver', 'gold'],
  maxAuthAgeSeconds: 300,
  maxTokenAgeSeconds: 60,
  clientKind: 'Machine',
}
const FULL_TOKENS: Tree = {
  externalBaseURL: 'https://api.example/billing',
  strippedPrefix: '/billing',
  trustedHops: [HOP],
  certificateHeader: 'XFCC',
  ownId: 'spiffe://cluster.example/ns/shop/sa/web',
  deniedAudiences: ['https://old.example'],
  firstPartyScopes: ['admin:*', 'users:delete'],
  requirements: { clientKind: 'User' },
}
const INTROSPECTION: Tree = {
  endpoint: 'https://idp.example/introspect',
  opaque: 'Refused',
  cacheSeconds: 30,
  authentication: 'PrivateKeyJWT',
  clientId: 'billing',
  timeoutMs: 500,
  ca: PEM,
  allowPrivateAddresses: true,
}
const tokens = (change: Tree): Tree => ({ tokens: change })
const asked = (change: Tree): Tree => ({ routes: [{ actions: ['a'], requirements: change }] })
const issuer = (change: Tree): Tree => ({ issuers: [{ ...ISSUER, ...change }] })
const asks = (change: Tree): Tree => issuer({ introspection: { ...INTROSPECTION, ...change } })

test('what is asked of tokens becomes the message of an operator', () => {
  const { trust } = configOf({
    tokens: FULL_TOKENS,
    routes: [{ actions: ['payment:*', 'refund'], requirements: FULL_REQUIREMENTS }],
  })
  expect(trust.tokens).toMatchObject({
    externalBaseUrl: 'https://api.example/billing',
    strippedPrefix: '/billing',
    trustedHops: [HOP],
    certificateHeader: CertificateHeader.CERTIFICATE_HEADER_XFCC,
    ownId: 'spiffe://cluster.example/ns/shop/sa/web',
    deniedAudiences: ['https://old.example'],
    firstPartyScopes: ['admin:*', 'users:delete'],
    requirements: { clientKind: ClientKind.CLIENT_KIND_USER, senderConstraints: [], introspect: false },
  })
  expect(trust.routes).toEqual([
    {
      actions: ['payment:*', 'refund'],
      staleness: Staleness.STALENESS_STANDARD,
      requirements: {
        senderConstraints: [SenderConstraint.SENDER_CONSTRAINT_DPOP, SenderConstraint.SENDER_CONSTRAINT_MTLS],
        introspect: true,
        sharedReplay: true,
        acrValues: ['urn:mace:silver', 'gold'],
        maxAuthAgeS: 300,
        maxTokenAgeS: 60,
        clientKind: ClientKind.CLIENT_KIND_MACHINE,
      },
    },
  ])
})

test('the terms of an issuer become the message of an operator', () => {
  const change = {
    legacyTypUntil: '2027-01-31T00:00:00Z',
    firstPartyClients: ['web', 'ops'],
    introspection: INTROSPECTION,
    exchange: { endpoint: 'https://idp.example/token' },
    client: true,
  }
  expect(configOf(issuer(change)).trust.issuers[0]?.terms).toEqual({
    legacyTypUntilMs: Date.UTC(2027, 0, 31),
    client: true,
    firstPartyClients: ['web', 'ops'],
    introspection: {
      endpoint: {
        url: 'https://idp.example/introspect',
        authentication: ClientAuthentication.CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT,
        clientId: 'billing',
        timeoutMs: 500,
        ca: PEM,
        insecureLoopback: false,
        privateAddresses: true,
      },
      opaque: false,
      cacheMs: 30_000,
    },
    exchange: {
      endpoint: {
        url: 'https://idp.example/token',
        authentication: ClientAuthentication.CLIENT_AUTHENTICATION_MTLS,
        clientId: '',
        timeoutMs: 1_000,
        ca: '',
        insecureLoopback: false,
        privateAddresses: false,
      },
    },
  })
})

const URL_FORM = 'must be a URL without user, query or fragment'
const DATE = 'must be a date and time with zone'
const WORDS = 'each must be one of the '

test.each<readonly [change: Tree, path: string, what: string]>([
  [{ tokens: [] }, 'tokens', 'expected a mapping'],
  [tokens({ externalBaseUrl: 'x' }), 'tokens.externalBaseUrl', 'unknown; did you mean "externalBaseURL"?'],
  [tokens({ externalBaseURL: 7 }), 'tokens.externalBaseURL', 'must be text'],
  [tokens({ externalBaseURL: 'api.example' }), 'tokens.externalBaseURL', URL_FORM],
  [tokens({ externalBaseURL: 'ftp://api.example' }), 'tokens.externalBaseURL', URL_FORM],
  [tokens({ externalBaseURL: 'https://u@api.example' }), 'tokens.externalBaseURL', URL_FORM],
  [tokens({ externalBaseURL: 'https://api.example/?' }), 'tokens.externalBaseURL', URL_FORM],
  [tokens({ externalBaseURL: 'https://api.example/#' }), 'tokens.externalBaseURL', URL_FORM],
  [tokens({ strippedPrefix: 'billing' }), 'tokens.strippedPrefix', 'must be a path such as /billing'],
  [tokens({ strippedPrefix: '/billing/' }), 'tokens.strippedPrefix', 'must be a path such as /billing'],
  [tokens({ trustedHops: ['10.0.0.1'] }), 'tokens.trustedHops', WORDS],
  [tokens({ trustedHops: Array(17).fill(HOP) }), 'tokens.trustedHops', 'required: a list of 1 to 16 '],
  [tokens({ certificateHeader: 'XFCC' }), 'tokens.certificateHeader', 'needs trustedHops'],
  [
    tokens({ trustedHops: [HOP], certificateHeader: 'xfcc' }),
    'tokens.certificateHeader',
    'must be one of: XFCC, ClientCert',
  ],
  [tokens({ ownId: 'web' }), 'tokens.ownId', 'must be the SPIFFE ID'],
  [tokens({ deniedAudiences: [''] }), 'tokens.deniedAudiences', WORDS],
  [tokens({ deniedAudiences: ['a', 'a'] }), 'tokens.deniedAudiences', 'has a value twice'],
  [tokens({ firstPartyScopes: ['ad*min'] }), 'tokens.firstPartyScopes', WORDS],
  [tokens({ requirements: { acr: [] } }), 'tokens.requirements.acr', 'unknown'],
  [{ routes: {} }, 'routes', 'required: a list of 1 to 64 '],
  [{ routes: [{ requirements: {} }] }, 'routes[0].actions', 'required: names of actions'],
  [{ routes: [{ actions: ['a'] }] }, 'routes[0].requirements', 'required: '],
  [{ routes: [{ actions: ['a*b'], requirements: {} }] }, 'routes[0].actions', WORDS],
  [
    { routes: [{ actions: ['a'.repeat(257)], requirements: {} }] },
    'routes[0].actions',
    'longer than 256 characters',
  ],
  [
    {
      routes: [
        { actions: ['a'], requirements: {} },
        { actions: ['b', 'a'], requirements: {} },
      ],
    },
    'routes[1].actions',
    'a is also in routes[0]; keep one',
  ],
  [{ routes: [{ actions: ['a'], requirements: {}, staleness: 'Strict' }] }, 'routes[0].staleness', 'unknown'],
  [asked({ senderConstraints: ['dpop'] }), 'routes[0].requirements.senderConstraints', WORDS],
  [asked({ senderConstraints: [] }), 'routes[0].requirements.senderConstraints', 'required: a list'],
  [asked({ introspect: true }), 'routes[0].requirements.introspect', 'must be one of: Always, WhenOpaque'],
  [
    asked({ sharedReplay: 'yes' }),
    'routes[0].requirements.sharedReplay',
    'must be one of: Required, Optional',
  ],
  [
    { routes: [{ actions: ['a', 'token:exchange'], requirements: { sharedReplay: 'Required' } }] },
    'routes[0].requirements.sharedReplay',
    'no proof comes with a token that is exchanged; leave it out where token:exchange is named',
  ],
  [asked({ acrValues: ['a b'] }), 'routes[0].requirements.acrValues', WORDS],
  [asked({ acrValues: ['a"b'] }), 'routes[0].requirements.acrValues', WORDS],
  [asked({ acrValues: ['a'.repeat(257)] }), 'routes[0].requirements.acrValues', WORDS],
  [asked({ maxAuthAgeSeconds: 31_622_401 }), 'routes[0].requirements.maxAuthAgeSeconds', 'must be a whole'],
  [asked({ maxTokenAgeSeconds: -1 }), 'routes[0].requirements.maxTokenAgeSeconds', 'must be a whole'],
  [asked({ clientKind: 'Robot' }), 'routes[0].requirements.clientKind', 'must be one of: Any, Machine, User'],
  [asked({ clientKind: 'constructor' }), 'routes[0].requirements.clientKind', 'must be one of: Any'],
  [issuer({ legacyTypUntil: true }), 'issuers[0].legacyTypUntil', DATE],
  [issuer({ legacyTypUntil: '2027-01-31' }), 'issuers[0].legacyTypUntil', DATE],
  [issuer({ legacyTypUntil: 'always' }), 'issuers[0].legacyTypUntil', DATE],
  [issuer({ firstPartyClients: [7] }), 'issuers[0].firstPartyClients', WORDS],
  [issuer({ introspection: true }), 'issuers[0].introspection', 'expected a mapping'],
  [asks({ endpoint: undefined }), 'issuers[0].introspection.endpoint', 'required: '],
  [asks({ endpoint: 'introspect' }), 'issuers[0].introspection.endpoint', 'must be a URL'],
  [asks({ endpoint: 'http://127.0.0.1/i' }), 'issuers[0].introspection.endpoint', 'must use https'],
  [asks({ endpoint: 'https://u:p@idp.example/i' }), 'issuers[0].introspection.endpoint', 'must not hold'],
  [
    asks({ cacheSeconds: 31 }),
    'issuers[0].introspection.cacheSeconds',
    'must be a whole number from 0 to 30',
  ],
  [asks({ opaque: true }), 'issuers[0].introspection.opaque', 'must be one of: Accepted, Refused'],
  [asks({ authentication: 'Basic' }), 'issuers[0].introspection.authentication', 'must be one of: MTLS'],
  [asks({ clientSecret: 'x' }), 'issuers[0].introspection.clientSecret', 'unknown'],
  [asks({ timeoutMs: 49 }), 'issuers[0].introspection.timeoutMs', 'must be a whole number from 50 to 10000'],
  [asks({ ca: 'x' }), 'issuers[0].introspection.ca', 'must be certificates in PEM'],
  [asks({ ca: `${PEM}-----BEGIN PRIVATE KEY-----` }), 'issuers[0].introspection.ca', 'holds a private key'],
  [issuer({ client: 'yes' }), 'issuers[0].client', 'must be true or false'],
  [issuer({ exchange: { opaque: 'Refused' } }), 'issuers[0].exchange.opaque', 'unknown'],
])('%j is told at %s: %s', (change, path, what) => {
  const problems = problemsOf(parse({ ...GOOD, ...change }))
  expect(
    problems.filter((one) => one.startsWith(`${path}: ${what}`)),
    problems.join('\n'),
  ).toHaveLength(1)
  expect(problems.join()).not.toContain('BEGIN PRIVATE')
})

// Otherwise --check would call a file good that trust then refuses for ever.
test.each<readonly [what: string, change: Tree]>([
  ['everything', { tokens: FULL_TOKENS, routes: [{ actions: ['*'], requirements: FULL_REQUIREMENTS }] }],
  ['empty requirements', { tokens: { requirements: {} }, routes: [{ actions: ['a'], requirements: {} }] }],
  ['the longest', tokens({ deniedAudiences: Array.from({ length: 64 }, (_, n) => `${n}`.padEnd(512, 'x')) })],
  ['the oldest', asked({ maxAuthAgeSeconds: 31_622_400, maxTokenAgeSeconds: 31_622_400 })],
  ['all acr values', asked({ acrValues: Array.from({ length: 16 }, (_, n) => `${n}`.padEnd(256, 'x')) })],
])('what a configuration may say, trust believes: %s', (_what, change) => {
  const { tokens: rules, routes } = configOf(change).trust
  const profile = {
    audience: 'a',
    exclusiveAudience: false,
    maxTokenLifetimeS: 60,
    leases: undefined,
    routes: [...routes],
    tokens: rules,
  }
  expect(parseTokenRules(profile)).toHaveProperty('edge')
})

test.each([{}, { cacheSeconds: 0, timeoutMs: 50 }, { cacheSeconds: 30, timeoutMs: 10_000 }])(
  'what a configuration may say of an endpoint, trust believes: %j',
  (change) => {
    const { introspection, exchange } =
      configOf(
        issuer({
          introspection: { ...INTROSPECTION, ...change },
          exchange: { endpoint: 'http://[::1]:9/token', allowInsecureLoopback: true },
        }),
      ).trust.issuers[0]?.terms ?? {}
    const problems: string[] = []
    expect(parseIntrospection(introspection, problems)).toBeDefined()
    expect(parseExchange(exchange, problems)).toBeDefined()
    expect(problems).toEqual([])
  },
)

test('--check says what is asked, and what of it nobody can meet', () => {
  const bare = configOf(asked({ senderConstraints: ['DPoP'], introspect: 'Always' })).trust
  expect(explainTokens(bare)).toEqual([
    'a: bound by DPoP; introspected each time',
    expect.stringMatching(/^note: DPoP proofs cannot be checked without tokens.externalBaseURL/),
    'note: a route wants introspection, and https://idp.example has none; its tokens are denied there',
  ])
  const full = configOf({
    ...issuer({ introspection: INTROSPECTION, legacyTypUntil: '2027-01-31T00:00:00+01:00' }),
    tokens: FULL_TOKENS,
    routes: [{ actions: ['payment:*', 'refund'], requirements: FULL_REQUIREMENTS }],
  }).trust
  expect(explainTokens(full)).toEqual([
    'other actions: users only',
    'payment:*, refund: bound by DPoP or mTLS; introspected each time; proofs unseen by every replica; acr one of urn:mace:silver gold; authenticated within 300 s; issued within 60 s; clients that act for themselves only',
    'callers find this workload at https://api.example/billing',
    `client certificates are believed from ${HOP}`,
  ])
  expect(full.issuers.flatMap(explainTerms)).toEqual([
    'tokens typed JWT or not at all are accepted until 2027-01-30T23:00:00Z',
    'asked about tokens where a route wants it: https://idp.example/introspect as billing, by a signed assertion, within 500 ms; answers used for at most 30000 ms',
  ])
})
