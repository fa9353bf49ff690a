import { ACCESS_POLICY, parseAccessPolicy } from '../../../../contracts/crd/access-policy.ts'
import type { Rows } from './row.ts'

const HOP = 'spiffe://cluster.example/ns/edge/sa/proxy'
const ASKED = {
  senderConstraints: ['DPoP', 'MTLS'],
  introspect: 'Always',
  sharedReplay: 'Required',
  acrValues: ['urn:mace:silver', 'gold'],
  maxAuthAge: '8760h',
  maxTokenAge: '24h',
  clientKind: 'Machine',
}
const asked = (change: object) => ({ routes: [{ actions: ['a'], requirements: change }] })
const base = { audience: 'https://orders.example', bundle: { name: 'rules' } }

export const ACCESS_POLICY_ROWS: Rows = {
  definition: ACCESS_POLICY,
  parse: parseAccessPolicy,
  sample: { ...base, issuers: [{ name: 'idp' }] },
  defaulted: {
    ...base,
    selector: { matchLabels: {} },
    exclusiveAudience: 'Optional',
    maxTokenLifetime: '1h',
    issuers: [{ name: 'idp', namespace: '' }],
  },
  accepted: [
    { name: 'some pods', change: { 'selector.matchLabels': { app: 'orders', 'example.com/tier': '' } } },
    { name: 'an issuer of another namespace', change: { issuers: [{ name: 'idp', namespace: 'identity' }] } },
    {
      name: 'one name in two namespaces',
      change: { issuers: [{ name: 'idp' }, { name: 'idp', namespace: 'identity' }] },
    },
    { name: 'no other audience', change: { exclusiveAudience: 'Required' } },
    { name: 'the longest token life', change: { maxTokenLifetime: '24h' } },
    { name: 'a strict route', change: { routes: [{ actions: ['invoice.pay'], staleness: 'Strict' }] } },
    {
      name: 'routes by prefix',
      change: { routes: [{ actions: ['invoice.*', '*'], staleness: 'ReadDegraded' }] },
    },
    {
      name: 'everything that can be asked of tokens',
      change: {
        tokens: {
          externalBaseURL: 'https://api.example/billing',
          strippedPrefix: '/billing',
          trustedHops: [HOP],
          certificateHeader: 'XFCC',
          ownId: 'spiffe://cluster.example/ns/shop/sa/orders',
          deniedAudiences: ['https://old.example'],
          firstPartyScopes: ['admin:*', 'users:delete', '*'],
          requirements: { clientKind: 'User' },
        },
        routes: [{ actions: ['pay'], requirements: ASKED }],
      },
    },
    {
      name: 'as many requirements as there may be',
      change: {
        routes: Array.from({ length: 64 }, (_, n) => ({
          actions: [`a${n}`],
          requirements: { acrValues: Array.from({ length: 16 }, (_one, m) => `${m}`.padEnd(256, 'x')) },
        })),
      },
    },
    { name: 'requirements that ask nothing', change: { tokens: { requirements: {} } } },
    { name: 'a route that says no tier', change: { routes: [{ actions: ['a'] }] } },
    {
      name: 'what is asked of a token that is exchanged',
      change: {
        routes: [{ actions: ['token:exchange'], requirements: { ...ASKED, sharedReplay: 'Optional' } }],
      },
    },
    {
      name: 'an exchange without requirements of its own',
      change: { routes: [{ actions: ['token:exchange'] }] },
    },
  ],
  refused: [
    {
      name: 'a base URL with a query',
      change: { tokens: { externalBaseURL: 'https://api.example/?a' } },
      field: 'spec.tokens.externalBaseURL',
      says: 'must be an https URL without user, query or fragment',
    },
    {
      name: 'a prefix with a slash at its end',
      change: { tokens: { strippedPrefix: '/billing/' } },
      field: 'spec.tokens.strippedPrefix',
      says: 'must be a path such as /billing',
    },
    {
      name: 'a hop by address',
      change: { tokens: { trustedHops: ['10.0.0.1'] } },
      field: 'spec.tokens.trustedHops[0]',
      says: 'must be a SPIFFE ID',
    },
    {
      name: 'a header that nobody is believed with',
      change: { tokens: { certificateHeader: 'ClientCert' } },
      field: 'spec.tokens.certificateHeader',
      says: 'needs trustedHops: from anybody else the header is not believed',
    },
    {
      name: 'a scope with a star in the middle',
      change: { tokens: { firstPartyScopes: ['ad*min'] } },
      field: 'spec.tokens.firstPartyScopes[0]',
      says: 'must be the exact name of a scope, or a prefix',
    },
    {
      name: 'a proof that is fresh everywhere, of a token that comes without one',
      change: { routes: [{ actions: ['a', 'token:exchange'], requirements: { sharedReplay: 'Required' } }] },
      field: 'spec.routes[0].requirements',
      says: 'sharedReplay must not be Required where token:exchange is named',
    },
    {
      name: 'an unknown sender constraint',
      change: asked({ senderConstraints: ['Bearer'] }),
      field: 'spec.routes[0].requirements.senderConstraints[0]',
      says: 'must be one of DPoP, MTLS',
      server: 'supported values: "DPoP", "MTLS"',
    },
    {
      name: 'no sender constraint among none',
      change: asked({ senderConstraints: [] }),
      field: 'spec.routes[0].requirements.senderConstraints',
      says: 'at least 1 entries',
      server: 'should have at least 1 items',
    },
    {
      name: 'an acr with a blank',
      change: asked({ acrValues: ['a b'] }),
      field: 'spec.routes[0].requirements.acrValues[0]',
      says: 'ASCII without blanks, quotes and backslashes',
    },
    {
      name: 'an authentication of more than a year ago',
      change: asked({ maxAuthAge: '8761h' }),
      field: 'spec.routes[0].requirements.maxAuthAge',
      says: 'must be a duration from 1s to 8760h',
    },
    {
      name: 'a token of no age',
      change: asked({ maxTokenAge: '0s' }),
      field: 'spec.routes[0].requirements.maxTokenAge',
      says: 'must be a duration from 1s to 24h',
    },
    {
      name: 'a client of another kind',
      change: { tokens: { requirements: { clientKind: 'Robot' } } },
      field: 'spec.tokens.requirements.clientKind',
      says: 'must be one of Any, Machine, User',
      server: 'supported values: "Any", "Machine", "User"',
    },
    {
      name: 'no audience',
      change: { audience: undefined },
      field: 'spec.audience',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'an empty audience',
      change: { audience: '' },
      field: 'spec.audience',
      says: 'at least 1 characters',
      server: 'should be at least 1 chars long',
    },
    {
      name: 'an audience too long',
      change: { audience: 'a'.repeat(513) },
      field: 'spec.audience',
      says: 'at most 512 characters',
      server: 'may not be more than 512 bytes',
    },
    {
      name: 'no issuer',
      change: { issuers: [] },
      field: 'spec.issuers',
      says: 'at least 1 entries',
      server: 'should have at least 1 items',
    },
    {
      name: 'an issuer twice, once by default',
      change: { issuers: [{ name: 'idp' }, { name: 'idp', namespace: '' }] },
      field: 'spec.issuers',
      says: 'has two entries with the same name and namespace; merge them',
      server: 'Duplicate value',
    },
    {
      name: 'an issuer by URL',
      change: { issuers: [{ name: 'https://idp.example' }] },
      field: 'spec.issuers[0].name',
      says: 'must be the name of an object',
    },
    {
      name: 'an issuer in every namespace',
      change: { issuers: [{ name: 'idp', namespace: '*' }] },
      field: 'spec.issuers[0].namespace',
      says: 'must be the name of a namespace, or empty',
    },
    {
      name: 'tokens that live for a week',
      change: { maxTokenLifetime: '168h' },
      field: 'spec.maxTokenLifetime',
      says: 'must be a duration from 60s to 24h, written such as 1h: a stolen token',
    },
    {
      name: 'a fraction of an hour',
      change: { maxTokenLifetime: '1.5h' },
      field: 'spec.maxTokenLifetime',
      says: 'must be a duration from 60s to 24h',
    },
    {
      name: 'no rules',
      change: { bundle: undefined },
      field: 'spec.bundle',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'an unknown tier',
      change: { routes: [{ actions: ['a'], staleness: 'None' }] },
      field: 'spec.routes[0].staleness',
      says: 'must be one of Strict, Standard, ReadDegraded',
      server: 'supported values: "Strict", "Standard", "ReadDegraded"',
    },
    {
      name: 'a star in the middle',
      change: { routes: [{ actions: ['invoice.*.read'] }] },
      field: 'spec.routes[0].actions[0]',
      says: 'exact name of an action, or a prefix of names with one "*" at its end',
    },
    {
      name: 'a blank that is not ASCII',
      change: { routes: [{ actions: ['invoice\u00a0read'] }] },
      field: 'spec.routes[0].actions[0]',
      says: 'ASCII without blanks',
    },
    {
      name: 'a route without actions',
      change: { routes: [{ actions: [] }] },
      field: 'spec.routes[0].actions',
      says: 'at least 1 entries',
      server: 'should have at least 1 items',
    },
    {
      name: '17 labels',
      change: {
        'selector.matchLabels': Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`l${n}`, 'v'])),
      },
      field: 'spec.selector.matchLabels',
      says: 'must have at most 16 labels; drop the others',
      server: 'must have at most 16 items',
    },
    {
      name: 'an action of two tiers',
      change: { routes: [{ actions: ['a'] }, { actions: ['a'], staleness: 'Strict' }] },
      field: 'spec.routes',
      says: 'must not name an action in two routes: keep it in the one',
      admissionOnly: true,
    },
  ],
  frozen: [],
  status: {
    advisories: [{ code: 'SharedAudience', message: 'spec.audience: also that of shop/back' }],
    workloads: { pods: 3 },
    programmed: '3/3 at sha256:1',
    conflictsWith: ['other'],
  },
  columns: ['NAME', 'READY', 'AUDIENCE', 'BUNDLE', 'PODS', 'PROGRAMMED', 'AGE'],
}
