import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import type { TokenIssuer, TokenIssuerStatus } from '../../contracts/crd/token-issuer.ts'
import { parseTime } from '../../contracts/time.ts'
import type { Metadata, MetadataFacts } from '../gather/metadata.ts'

/** Something that works and should be better. Advice never keeps anything from being Ready. */
export interface Advisory {
  /** CamelCase, stable: alerts and scripts may name it. */
  readonly code: string
  /** What, where and what to do. */
  readonly message: string
}

const MESSAGE = 512
const MOST = 16

function bounded(advisories: readonly Advisory[]): Advisory[] {
  return advisories
    .toSorted((one, other) => (one.code < other.code ? -1 : 1))
    .slice(0, MOST)
    .map(({ code, message }) => ({ code, message: message.slice(0, MESSAGE) }))
}

type Constraint = 'DPoP' | 'MTLS'

/** What the AccessPolicies that believe an issuer ask of its tokens. */
export interface Demands {
  /** Each a choice of which the issuer must offer one. */
  readonly constraints: readonly (readonly Constraint[])[]
  readonly acrValues: ReadonlySet<string>
}

export function demandsOf(policies: Iterable<AccessPolicy>): Demands {
  const asked = [...policies].flatMap(({ spec }) => [
    spec.tokens?.requirements,
    ...(spec.routes ?? []).map(({ requirements }) => requirements),
  ])
  return {
    constraints: asked.flatMap((one) => (one?.senderConstraints ? [one.senderConstraints] : [])),
    acrValues: new Set(asked.flatMap((one) => one?.acrValues ?? [])),
  }
}

type Kids = NonNullable<NonNullable<TokenIssuerStatus['jwks']>['kids']>

export interface IssuerKnown {
  readonly metadata: Metadata | undefined
  /** Of the keys that are published now, and of those that were. */
  readonly kids: Kids
  readonly published: ReadonlySet<string>
  readonly demands: Demands
}

/** What should be better about an issuer, as far as its metadata, its keys and our own object tell. */
export function adviseOnIssuer({ spec }: TokenIssuer, known: IssuerKnown, at: number): Advisory[] {
  return bounded([
    ...ofMetadata(spec, known),
    ...(known.published.size === 0 || spec.signs === 'Assertions' ? [] : ofKeys(known, at)),
    ...ofLegacy(spec.legacyTyp?.until, at),
  ])
}

function ofMetadata(spec: TokenIssuer['spec'], { metadata, demands }: IssuerKnown): readonly Advisory[] {
  if (!metadata) return []
  if (!metadata.facts)
    return [
      {
        code: 'MetadataUnreadable',
        message: `spec.issuer: says nothing of itself that could be read, so no advice can be given about it; ${metadata.problem}`,
      },
    ]
  const { facts } = metadata
  const { uri } = facts
  const found = METADATA.flatMap(({ code, broken, says }) => {
    const what = broken({ facts, demands })
    return what === false ? [] : [{ code, message: `${uri}: ${says(what)}` }]
  })
  const exact = facts.exact
    ? []
    : [
        {
          code: 'IssuerNotExact',
          message: `${uri}: its "issuer" is not exactly ${spec.issuer} (RFC 8414 section 3.3): a look-alike, or a slash too many; correct one of the two`,
        },
      ]
  return [...exact, ...found]
}

interface Row {
  readonly code: string
  /** false, or what it is about. */
  readonly broken: (known: { readonly facts: MetadataFacts; readonly demands: Demands }) => false | string
  readonly says: (what: string) => string
}

const METADATA: readonly Row[] = [
  {
    code: 'PkceS256NotOffered',
    broken: ({ facts }) => !facts.challengeMethods.includes('S256') && 'S256',
    says: () =>
      'code_challenge_methods_supported does not name S256: a stolen authorization code can be redeemed by the thief (RFC 7636, RFC 9700 section 2.1.1); switch PKCE on',
  },
  {
    code: 'PkcePlainOffered',
    broken: ({ facts }) => facts.challengeMethods.includes('plain') && 'plain',
    says: () =>
      'code_challenge_methods_supported names plain, which shows the secret to whoever sees the request (RFC 9700 section 2.1.1); leave S256 alone',
  },
  {
    code: 'ImplicitOffered',
    broken: ({ facts }) =>
      (facts.grantTypes.includes('implicit') ||
        facts.responseTypes.some((one) => /\btoken\b/.test(one.replace('id_token', '')))) &&
      'implicit',
    says: () =>
      'the implicit grant is offered (or grant_types_supported is left out, which says so): access tokens in URLs leak (RFC 9700 section 2.1.2); switch it off',
  },
  {
    code: 'PasswordGrantOffered',
    broken: ({ facts }) => facts.grantTypes.includes('password') && 'password',
    says: () =>
      'grant_types_supported names password: clients get to see the passwords of users (RFC 9700 section 2.4); switch it off',
  },
  {
    code: 'NoneOffered',
    broken: ({ facts }) => facts.algorithms.some((one) => one.toLowerCase() === 'none') && 'none',
    says: () =>
      'an algorithm "none" is offered: what is not signed proves nothing (RFC 8725 section 3.1); switch it off',
  },
  {
    code: 'SenderConstraintNotOffered',
    broken: ({ facts, demands }) => {
      const unmet = demands.constraints.find((choice) => !choice.some((one) => offers(facts, one)))
      return unmet ? unmet.join(' or ') : false
    },
    says: (what) =>
      `an AccessPolicy asks for tokens bound by ${what}, which is not offered (dpop_signing_alg_values_supported, tls_client_certificate_bound_access_tokens): no token can meet it; switch it on, or change senderConstraints`,
  },
  {
    code: 'ParNotOffered',
    broken: ({ facts, demands }) => demands.constraints.length > 0 && !facts.pushed && 'PAR',
    says: () =>
      'an AccessPolicy asks for bound tokens, and pushed_authorization_request_endpoint is missing: what is asked for can still be changed in the browser (RFC 9126, FAPI 2.0 section 5.3.2.2); switch it on',
  },
  {
    code: 'AcrNotOffered',
    broken: ({ facts, demands }) => {
      const unknown = [...demands.acrValues].find((one) => !facts.acrValues.includes(one))
      return facts.acrValues.length > 0 && unknown !== undefined && unknown
    },
    says: (what) =>
      `an AccessPolicy asks for acr ${what}, which acr_values_supported does not name: users may never reach it; correct acrValues, or teach it to the issuer`,
  },
]

function offers({ proofAlgorithms, certificateBound }: MetadataFacts, one: Constraint): boolean {
  return one === 'DPoP' ? proofAlgorithms.length > 0 : certificateBound
}

const DAY_MS = 86_400_000
const OLD_KEY_DAYS = 180
const REMEMBERED_DAYS = 30

function ofKeys({ kids, published }: IssuerKnown, at: number): readonly Advisory[] {
  const current = kids.filter(({ kid }) => published.has(kid))
  const gone = kids.filter(({ kid }) => !published.has(kid))
  const seen = (text: string) => parseTime(text) ?? at
  const oldest = current.toSorted((one, other) => seen(one.firstSeen) - seen(other.firstSeen))[0]
  const days = oldest ? Math.floor((at - seen(oldest.firstSeen)) / DAY_MS) : 0
  const lastGone = Math.max(...gone.map(({ lastSeen }) => seen(lastSeen)))
  const since = oldest ? seen(oldest.firstSeen) : 0
  const overlapped = gone.length === 0 || since <= lastGone || at - since > REMEMBERED_DAYS * DAY_MS
  return [
    ...(published.size < 2
      ? [
          {
            code: 'FewerThanTwoKeys',
            message:
              'spec.jwks: one key is published: when it must be withdrawn, every token is refused until sidecars know the next one; publish that one beforehand',
          },
        ]
      : []),
    ...(oldest && days >= OLD_KEY_DAYS
      ? [
          {
            code: 'OldKey',
            message: `spec.jwks: the key ${oldest.kid} has been published for ${days} days or longer: whoever copied it at any time can sign until it is withdrawn; rotate it`,
          },
        ]
      : []),
    ...(overlapped
      ? []
      : [
          {
            code: 'KeysReplacedAtOnce',
            message: `spec.jwks: no key outlived the last rotation: ${oldest?.kid} was first seen when the earlier ones were gone, so tokens were refused meanwhile; publish a key 24 to 48 hours before it signs, and leave the earlier one until its last token has expired`,
          },
        ]),
  ]
}

const LEGACY_DAYS = 400

function ofLegacy(until: string | undefined, at: number): readonly Advisory[] {
  const end = until === undefined ? undefined : parseTime(until)
  if (end === undefined) return []
  if (end - at > LEGACY_DAYS * DAY_MS)
    return [
      {
        code: 'LegacyTypTooLong',
        message: `spec.legacyTyp.until: more than ${LEGACY_DAYS} days ahead: until then an ID token is told from an access token by its claims alone; give an earlier moment`,
      },
    ]
  return end <= at
    ? [{ code: 'LegacyTypOver', message: 'spec.legacyTyp.until: has passed; take spec.legacyTyp out' }]
    : []
}

export interface PolicyKnown {
  /** Keys (`namespace/name`) of other AccessPolicies with the same audience. */
  readonly sameAudience: readonly string[]
  /** Keys of the TokenIssuers that it believes and that cannot be asked about a token. */
  readonly notAsked: readonly string[]
}

/** What should be better about an AccessPolicy. */
export function adviseOnPolicy({ spec }: AccessPolicy, { sameAudience, notAsked }: PolicyKnown): Advisory[] {
  const asked = [spec.tokens?.requirements, ...(spec.routes ?? []).map(({ requirements }) => requirements)]
  const proofs = asked.some((one) => one?.senderConstraints?.includes('DPoP'))
  const introspected = asked.some((one) => one?.introspect === 'Always')
  return bounded([
    ...(sameAudience.length > 0
      ? [
          {
            code: 'SharedAudience',
            message: `spec.audience: also that of ${sameAudience.slice(0, 3).join(', ')}${sameAudience.length > 3 ? ' and more' : ''}: each of these workloads can replay at the others the tokens that it receives; give each workload an audience of its own`,
          },
        ]
      : []),
    ...(isResource(spec.audience)
      ? []
      : [
          {
            code: 'AudienceNotResource',
            message:
              'spec.audience: is no absolute URI without fragment, so no client can ask for it with a resource indicator (RFC 8707 section 2); take the URL of the service',
          },
        ]),
    ...(proofs && spec.tokens?.externalBaseURL === undefined
      ? [
          {
            code: 'ProofsNotCheckable',
            message:
              'spec.tokens.externalBaseURL: is missing, so no DPoP proof can be checked and such requests are denied; give the URL that callers use',
          },
        ]
      : []),
    ...(introspected && notAsked.length > 0
      ? [
          {
            code: 'IssuerNotAsked',
            message: `spec.routes: some want introspect: Always, and ${notAsked.slice(0, 3).join(', ')} has no spec.introspection: its tokens are denied there; add it`,
          },
        ]
      : []),
  ])
}

function isResource(audience: string): boolean {
  return URL.canParse(audience) && !audience.includes('#')
}
