import { CONDITIONS, RESOURCES } from '../crd.ts'
import { ALGORITHMS, type Algorithm, isKid } from '../jwks.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { exchange, introspection } from './endpoints.ts'
import {
  addresses,
  advisories,
  caBundle,
  httpsUrl,
  isRecord,
  jsonText,
  observed,
  programmed,
  sha256,
} from './forms.ts'
import {
  choice,
  duration,
  flag,
  formed,
  immutable,
  listMap,
  memberPerType,
  moment,
  object,
  ruled,
  set,
  text,
  whole,
} from './schema.ts'

/** Names of JWS algorithms as an issuer may be given them; EdDSA is the older name of Ed25519 (RFC 9864 section 2.2). */
const ALGORITHM_NAMES = ['EdDSA', ...(Object.keys(ALGORITHMS) as Algorithm[])] as const

const kid = (description: string) =>
  ruled(text(description, { max: 128 }), {
    says: 'must be a key id as tokens carry it: at most 128 of A-Z a-z 0-9 . _ ~ : / + = @ # , ! { } - and no ".."',
    cel: "self.matches(r'^[A-Za-z0-9._~:/+=@#,!{}-]{1,128}$') && !self.contains('..')",
    holds: isKid,
  })

const jwks = ruled(
  object('Where the public keys of the issuer come from: exactly one of uri, discovery and inline.', {
    uri: httpsUrl('URL of the JWK Set (RFC 7517).', 2048).exactOptional(),
    discovery: object(
      'The JWK Set is found through the issuer URL followed by /.well-known/openid-configuration, whose issuer must be exactly spec.issuer.',
      {},
    ).exactOptional(),
    inline: jsonText('The JWK Set itself, as JSON text. Public keys only.', {
      max: 262_144,
      says: 'must be a JWK Set as JSON text, such as {"keys": [...]}',
      fits: (value) => isRecord(value) && Array.isArray(value['keys']),
    }).exactOptional(),
    refreshInterval: duration('How often the operator fetches the key set, once for the whole cluster.', {
      from: '10s',
      to: '30s',
      such: '15s',
      why: 'a key that its issuer withdraws is believed for this long, and a shorter wait is a burden on the issuer',
    }).default('15s'),
    maxStale: duration(
      'How long keys are believed after the last successful fetch. Then tokens of this issuer are denied (jwks_unavailable).',
      {
        from: '1m',
        to: '1h',
        such: '15m',
        why: 'whoever stole a key and keeps the issuer unreachable would be believed that long; the limit is 1h',
      },
    ).default('15m'),
    caBundle: caBundle(
      'PEM certificates that sign the server of the key set, instead of the well-known authorities.',
    ).exactOptional(),
    addresses: addresses(),
  }),
  {
    says: 'must have exactly one of uri, discovery and inline: keep the one that you mean',
    cel: '[has(self.uri), has(self.discovery), has(self.inline)].filter(given, given).size() == 1',
    holds: ({ uri, discovery, inline }) =>
      [uri, discovery, inline].filter((given) => given !== undefined).length === 1,
  },
)

const claim = object('The tenant is read from a claim.', {
  name: text('Name of the claim.', { max: 256 }),
  allowed: set(
    'Tenants that this issuer may speak for. A token that names any other is denied.',
    text('A tenant.', { max: 256 }),
    { min: 1, max: 1000 },
  ),
})

const tenant = ruled(
  object('Which tenant the tokens of this issuer speak for.', {
    type: choice('Fixed: always the same tenant. Claim: the token says which.', ['Fixed', 'Claim']),
    fixed: text('The one tenant, with type Fixed.', { max: 256 }).exactOptional(),
    claim: claim.exactOptional(),
  }),
  ...memberPerType<{ readonly fixed?: unknown; readonly claim?: unknown }>({
    Fixed: 'fixed',
    Claim: 'claim',
  }),
)

const spec = object('Whose tokens are believed, and with which keys.', {
  issuer: ruled(
    httpsUrl('The exact value of the iss claim. Immutable.', 512),
    immutable(
      'issuer',
      'create another TokenIssuer for the other issuer, move AccessPolicies to it, delete this one',
    ),
  ),
  jwks,
  algorithms: set(
    'Signature algorithms that are accepted, and no other (RFC 8725 section 3.1). No HMAC and no "none".',
    choice('A JWS algorithm.', ALGORITHM_NAMES),
    { min: 1, max: 8 },
  ),
  clockSkew: duration(
    'How far the clocks of issuer and sidecar may differ when exp, nbf and iat are judged. In whole seconds: a fraction is dropped.',
    {
      from: '0s',
      to: '60s',
      such: '30s',
      why: 'an expired token would live on for longer',
    },
  ).default('30s'),
  tenant,
  revokedKids: set(
    'Ids of keys that are no longer believed, whatever the key set says. Effective on every sidecar at once.',
    kid('A key id.'),
    { max: 64 },
  ).exactOptional(),
  allowedNamespaces: set(
    'Namespaces whose AccessPolicies may name this issuer; "*" is every namespace. Absent: its own namespace only.',
    formed('A namespace, or "*".', {
      max: 63,
      pattern: '^([*]|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$',
      says: 'must be the name of a namespace, or "*" for all of them',
    }),
    { max: 64 },
  ).exactOptional(),
  legacyTyp: object('Tokens typed JWT, or without a type, are accepted for a while.', {
    until: ruled(moment('Until when. Then only at+jwt is an access token (RFC 9068 section 4).'), {
      // CEL has no clock.
      says: 'must be at most 400 days ahead: an ID token that somebody presents as an access token is told from it by its type alone',
    }),
  }).exactOptional(),
  firstPartyClients: set(
    'Values of client_id that may use spec.tokens.firstPartyScopes of AccessPolicies.',
    text('A client_id.', { max: 256 }),
    { min: 1, max: 1000 },
  ).exactOptional(),
  introspection: introspection().exactOptional(),
  exchange: exchange().exactOptional(),
  logout: object('Logout tokens of this issuer are accepted (OpenID Connect Back-Channel Logout 1.0).', {
    clientIds: set(
      'Values of client_id under which its clients are registered for them: one must be in aud.',
      text('A client_id.', { max: 256 }),
      { min: 1, max: 16 },
    ),
  }).exactOptional(),
  signs: choice(
    'Tokens: this is an authorization server. Assertions: spec.issuer is the client_id of an OAuth client, which signs assertions (RFC 7523) and request objects (RFC 9101) about itself; no token of it is believed.',
    ['Tokens', 'Assertions'],
  ).default('Tokens'),
})

const knownKey = object('A key that the issuer publishes or published.', {
  kid: text('Its id.', { max: 128 }),
  algorithm: text('The one algorithm it is bound to.', { max: 16 }),
  firstSeen: moment('When a fetch first showed it.'),
  lastSeen: moment('When a fetch last showed it.'),
  revoked: flag('Whether spec.revokedKids names it.'),
})

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.TokenIssuer),
  jwks: object('The key set as last fetched.', {
    keys: whole('Usable keys.'),
    fetchedAt: moment('Last successful fetch.').exactOptional(),
    sha256: sha256('SHA-256 of the document.').exactOptional(),
    etag: text('Its ETag.', { max: 256 }).exactOptional(),
    lastError: text('What the last fetch failed with; empty when it succeeded.', {
      max: 1024,
      min: 0,
    }).exactOptional(),
    refreshedNow: text('Last value of the annotation portcullis.dev/refresh-now that was served.', {
      max: 256,
      min: 0,
    }).exactOptional(),
    kids: listMap('Keys seen, the newest first.', knownKey, { keys: ['kid'], max: 64 }).exactOptional(),
  }).exactOptional(),
  advisories: advisories(),
  programmed: programmed(),
})

export const TOKEN_ISSUER = {
  resource: RESOURCES.TokenIssuer,
  about:
    'Whose tokens we believe: issuer URL, key set, pinned algorithms and tenant binding. Set the annotation portcullis.dev/refresh-now to a new value (such as the time) to fetch the key set at once.',
  spec,
  status,
  columns: [
    { name: 'Issuer', jsonPath: '.spec.issuer', description: 'The iss claim.' },
    { name: 'Keys', jsonPath: '.status.jwks.keys', description: 'Usable keys.', type: 'integer' },
    { name: 'Programmed', jsonPath: '.status.programmed', description: 'Sidecars that run it.' },
    {
      name: 'Fetched',
      jsonPath: '.status.jwks.fetchedAt',
      description: 'Last successful fetch.',
      type: 'date',
      wide: true,
    },
  ],
} as const satisfies Definition

export type TokenIssuer = Of<typeof TOKEN_ISSUER>
export type TokenIssuerStatus = NonNullable<TokenIssuer['status']>

const parse = parserOf(TOKEN_ISSUER)
export function parseTokenIssuer(object: unknown): Outcome<TokenIssuer> {
  return parse(object)
}
