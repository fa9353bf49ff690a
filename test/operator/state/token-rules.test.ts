// What AccessPolicy and TokenIssuer say of tokens, as sidecars are sent it, and that sidecars believe it.
import { expect, test } from 'vitest'
import {
  CertificateHeader,
  ClientAuthentication,
  ClientKind,
  SenderConstraint,
  Staleness,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { projectAll } from '../../../operator/state/projections.ts'
import { parseSnapshot } from '../../../sidecar/trust/snapshot.ts'
import { accessPolicy, type Observed, put, shop, tokenIssuer } from './objects.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
const HOPS = ['spiffe://cluster.example/ns/edge/sa/b', 'spiffe://cluster.example/ns/edge/sa/a']
const FULL = {
  tokens: {
    externalBaseURL: 'https://api.example/billing',
    strippedPrefix: '/billing',
    trustedHops: HOPS,
    certificateHeader: 'ClientCert',
    ownId: 'spiffe://cluster.example/ns/shop/sa/front',
    deniedAudiences: ['z', 'a'],
    firstPartyScopes: ['z:*', 'a'],
    requirements: { clientKind: 'User' },
  },
  routes: [
    {
      actions: ['pay'],
      staleness: 'Strict',
      requirements: {
        senderConstraints: ['MTLS', 'DPoP'],
        introspect: 'Always',
        sharedReplay: 'Required',
        acrValues: ['silver', 'gold'],
        maxAuthAge: '1500ms',
        maxTokenAge: '5m',
        clientKind: 'Machine',
      },
    },
    { actions: ['read'] },
  ],
}
const TERMS = {
  legacyTyp: { until: '2027-01-31T00:00:00Z' },
  firstPartyClients: ['web', 'ops'],
  introspection: {
    endpoint: 'https://idp.example/introspect',
    opaque: 'Refused',
    cache: '30s',
    authentication: 'PrivateKeyJWT',
    clientId: 'shop',
    timeout: '500ms',
    caBundle: PEM,
    addresses: 'Private',
  },
  exchange: { endpoint: 'https://idp.example/token' },
}
const front = (...changes: readonly Observed[]) =>
  projectAll(shop(['a'], ...changes)).byKey.get('shop/front')?.snapshot
const policied = (spec: object) =>
  front(put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', spec)))
const issued = (spec: object) => front(put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp', spec)))

test('what is asked of tokens is sent, lists in one order', () => {
  expect(policied(FULL)?.profile).toMatchObject({
    tokens: {
      externalBaseUrl: 'https://api.example/billing',
      strippedPrefix: '/billing',
      trustedHops: HOPS.toSorted(),
      certificateHeader: CertificateHeader.CERTIFICATE_HEADER_CLIENT_CERT,
      ownId: 'spiffe://cluster.example/ns/shop/sa/front',
      deniedAudiences: ['a', 'z'],
      firstPartyScopes: ['a', 'z:*'],
      requirements: { clientKind: ClientKind.CLIENT_KIND_USER, senderConstraints: [], introspect: false },
    },
    routes: [
      {
        actions: ['pay'],
        staleness: Staleness.STALENESS_STRICT,
        requirements: {
          senderConstraints: [
            SenderConstraint.SENDER_CONSTRAINT_DPOP,
            SenderConstraint.SENDER_CONSTRAINT_MTLS,
          ],
          introspect: true,
          sharedReplay: true,
          acrValues: ['silver', 'gold'],
          maxAuthAgeS: 1,
          maxTokenAgeS: 300,
          clientKind: ClientKind.CLIENT_KIND_MACHINE,
        },
      },
      { actions: ['read'], staleness: Staleness.STALENESS_STANDARD, requirements: undefined },
    ],
  })
})

test.each([
  ['1s', 1],
  ['1001ms', 1],
  ['1999ms', 1],
  ['2000ms', 2],
])(
  'an age of %s is %i whole seconds on the wire: never more than was asked, and never 0, which asks nothing',
  (age, want) => {
    const requirements = { maxAuthAge: age, maxTokenAge: age }
    const asked = { maxAuthAgeS: want, maxTokenAgeS: want }
    const profile = policied({
      tokens: { requirements },
      routes: [{ actions: ['pay'], requirements }],
    })?.profile
    expect(profile).toMatchObject({ tokens: { requirements: asked }, routes: [{ requirements: asked }] })
  },
)

test('neither is a token allowed to live longer, nor a clock to differ more', () => {
  expect(policied({ maxTokenLifetime: '61999ms' })?.profile?.maxTokenLifetimeS).toBe(61)
  expect(issued({ clockSkew: '1999ms' })?.issuers[0]?.skewS).toBe(1)
})

test('an AccessPolicy that asks nothing sends nothing', () => {
  expect(policied({})?.profile).toMatchObject({ tokens: undefined, routes: [] })
})

test('the terms of an issuer are sent, and never that plain http will do', () => {
  expect(issued(TERMS)?.issuers).toMatchObject([
    {
      legacyTypUntilMs: Date.UTC(2027, 0, 31),
      firstPartyClients: ['ops', 'web'],
      introspection: {
        endpoint: {
          url: 'https://idp.example/introspect',
          authentication: ClientAuthentication.CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT,
          clientId: 'shop',
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
          timeoutMs: 1_000,
          insecureLoopback: false,
          privateAddresses: false,
        },
      },
      client: false,
    },
  ])
  expect(issued({ signs: 'Assertions' })?.issuers).toMatchObject([{ client: true }])
})

test.each([
  ['everything', FULL, TERMS],
  ['requirements that ask nothing', { tokens: { requirements: {} } }, {}],
  [
    'the longest',
    {
      routes: [
        {
          actions: ['a'],
          requirements: {
            acrValues: Array.from({ length: 16 }, (_, n) => `${n}`.padEnd(256, '~')),
            maxAuthAge: '8760h',
            maxTokenAge: '24h',
          },
        },
      ],
      tokens: { deniedAudiences: Array.from({ length: 64 }, (_, n) => `${n}`.padEnd(512, 'x')) },
    },
    {
      firstPartyClients: Array.from({ length: 1000 }, (_, n) => `${n}`.padEnd(256, 'x')),
      introspection: { endpoint: 'https://idp.example/i', cache: '0s', timeout: '10s' },
    },
  ],
])('what the schemas let through, a sidecar believes: %s', (_what, spec, terms) => {
  const message = front(
    put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', spec)),
    put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp', terms)),
  )
  expect(message && parseSnapshot({ ...message, generation: 1 }, new Map())).toHaveProperty('tokens.edge')
})

test('each member that is asked changes the digest, so that two policies that differ in it conflict', () => {
  const digestOf = (spec: object) =>
    projectAll(
      shop(['a'], put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', spec))),
    ).byKey.get('shop/front')?.digest
  const specs = [
    {},
    { tokens: {} },
    ...Object.entries(FULL.tokens).flatMap(([name, value]) =>
      name === 'certificateHeader' ? [] : [{ tokens: { [name]: value } }],
    ),
    { tokens: { trustedHops: HOPS, certificateHeader: 'XFCC' } },
    ...Object.entries(FULL.routes[0]?.requirements ?? {}).map(([name, value]) => ({
      routes: [{ actions: ['pay'], requirements: { [name]: value } }],
    })),
  ]
  expect(new Set(specs.map(digestOf)).size).toBe(specs.length)
})
