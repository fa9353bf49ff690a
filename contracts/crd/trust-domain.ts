import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { DURATION, parseDuration } from './duration.ts'
import { observed } from './forms.ts'
import { choice, duration, formed, immutable, listMap, moment, object, ruled, text, whole } from './schema.ts'

/** A leaf may live a sixth of its authority's life, or a rotation could not finish before the old one ends. */
const SVID_SHARE = 6

const x509 = ruled(
  object('X.509-SVIDs.', {
    rootTTL: duration('Life of the root. A new one is prepared long before its end.', {
      from: '24h',
      to: '87600h',
      such: '8760h',
    }).default('8760h'),
    svidTTL: duration('Life of a certificate; renewed at half of it.', {
      from: '5m',
      to: '24h',
      such: '1h',
      why: 'a stolen key is good for as long as its certificate',
    }).default('1h'),
  }),
  {
    says: 'must be at most a sixth of rootTTL, or certificates would outlive a rotation of the root: shorten svidTTL or lengthen rootTTL',
    cel: `!self.svidTTL.matches(r'${DURATION}') || !self.rootTTL.matches(r'${DURATION}') || duration(self.svidTTL).getSeconds() * ${SVID_SHARE} <= duration(self.rootTTL).getSeconds()`,
    holds: ({ svidTTL, rootTTL }) =>
      (parseDuration(svidTTL) ?? 0) * SVID_SHARE <= (parseDuration(rootTTL) ?? Number.POSITIVE_INFINITY),
    at: 'svidTTL',
  },
)

const spec = object('Who workloads are, and for how long a proof of it lasts.', {
  name: ruled(
    formed('Name of the trust domain, as in spiffe://NAME (SPIFFE-ID section 2.1). Immutable.', {
      max: 255,
      pattern: '^[a-z0-9._-]+$',
      says: 'must be a SPIFFE trust domain name: lower case letters, digits, ".", "-" and "_", without spiffe:// and port',
    }),
    immutable('name', 'every identity begins with it; install another trust domain and move workloads to it'),
  ),
  x509: x509.prefault({}),
  jwt: object('JWT-SVIDs.', {
    svidTTL: duration('Life of a JWT-SVID.', {
      from: '1m',
      to: '15m',
      such: '5m',
      why: 'it can be replayed as long as it lives',
    }).default('5m'),
  }).prefault({}),
  bundle: object('The trust bundle.', {
    refreshHint: duration('How soon a reader of the bundle should ask for it again.', {
      from: '10s',
      to: '1h',
      such: '5m',
    }).default('5m'),
  }).prefault({}),
})

const KEY_STATES = ['Prepared', 'Published', 'Active', 'Retiring', 'Retired', 'Revoked'] as const

function keys(description: string) {
  return listMap(
    description,
    object('A key.', {
      id: text('Its id.', { max: 128 }),
      notAfter: moment('Until when it is valid.'),
      state: choice('Where it is on its way.', KEY_STATES),
    }),
    { keys: ['id'], max: 8 },
  ).exactOptional()
}

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.TrustDomain),
  sequence: whole('Sequence of the trust bundle; it only grows.').exactOptional(),
  roots: keys('X.509 authorities in the bundle.'),
  jwtKeys: keys('Keys of JWT-SVIDs in the bundle.'),
  bundleKeys: keys('Keys that sign policy bundles.'),
})

export const TRUST_DOMAIN = {
  resource: RESOURCES.TrustDomain,
  about:
    'Who workloads are: the SPIFFE trust domain that this installation issues identities in. Only the one that the installation names is served; another one gets Ready=False.',
  spec,
  status,
  columns: [
    { name: 'Domain', jsonPath: '.spec.name', description: 'The trust domain.' },
    { name: 'Sequence', jsonPath: '.status.sequence', description: 'Of its bundle.', type: 'integer' },
    { name: 'SVID-TTL', jsonPath: '.spec.x509.svidTTL', description: 'Life of a certificate.', wide: true },
  ],
} as const satisfies Definition

export type TrustDomain = Of<typeof TRUST_DOMAIN>
export type TrustDomainStatus = NonNullable<TrustDomain['status']>

const parse = parserOf(TRUST_DOMAIN)
export function parseTrustDomain(object: unknown): Outcome<TrustDomain> {
  return parse(object)
}
