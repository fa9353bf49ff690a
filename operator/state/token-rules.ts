import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import { durationMs } from '../../contracts/crd/duration.ts'
import type { TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import {
  CertificateHeader,
  ClientAuthentication,
  ClientKind,
  type Endpoint,
  type Issuer,
  type Requirements,
  SenderConstraint,
  type TokenRules,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { parseTime } from '../../contracts/time.ts'

type Spec = AccessPolicy['spec']
type Asked = NonNullable<NonNullable<Spec['routes']>[number]['requirements']>

/** What is asked of tokens, as sidecars read it. Lists are sorted: their order means nothing, and must not look like a change. */
export function tokenRulesOf(tokens: Spec['tokens']): TokenRules | undefined {
  if (!tokens) return undefined
  return {
    externalBaseUrl: tokens.externalBaseURL ?? '',
    strippedPrefix: tokens.strippedPrefix ?? '',
    trustedHops: [...(tokens.trustedHops ?? [])].sort(),
    certificateHeader: HEADERS[tokens.certificateHeader],
    ownId: tokens.ownId ?? '',
    deniedAudiences: [...(tokens.deniedAudiences ?? [])].sort(),
    firstPartyScopes: [...(tokens.firstPartyScopes ?? [])].sort(),
    requirements: requirementsOf(tokens.requirements),
  }
}

export function requirementsOf(asked: Asked | undefined): Requirements | undefined {
  if (!asked) return undefined
  // Whole ones go over the wire, and more than was asked is never allowed; the schema begins at 1 s, so that none becomes 0, which asks nothing.
  const seconds = (text: string | undefined) => (text === undefined ? 0 : Math.floor(durationMs(text) / 1000))
  return {
    senderConstraints: (asked.senderConstraints ?? []).map((one) => PROOFS[one]).sort((a, b) => a - b),
    introspect: asked.introspect === 'Always',
    sharedReplay: asked.sharedReplay === 'Required',
    // In the order given: the first is the one that is liked best (RFC 9470 section 3).
    acrValues: [...(asked.acrValues ?? [])],
    maxAuthAgeS: seconds(asked.maxAuthAge),
    maxTokenAgeS: seconds(asked.maxTokenAge),
    clientKind: KINDS[asked.clientKind],
  }
}

type Terms = Pick<Issuer, 'legacyTypUntilMs' | 'firstPartyClients' | 'introspection' | 'exchange' | 'client'>

/** What is believed of an issuer beyond its keys and tenants. */
export function termsOf(spec: TokenIssuer['spec']): Terms {
  const { introspection, exchange } = spec
  return {
    legacyTypUntilMs: Math.max(0, parseTime(spec.legacyTyp?.until) ?? 0),
    firstPartyClients: [...(spec.firstPartyClients ?? [])].sort(),
    introspection: introspection && {
      endpoint: endpointOf(introspection),
      opaque: introspection.opaque === 'Accepted',
      cacheMs: durationMs(introspection.cache),
    },
    exchange: exchange && { endpoint: endpointOf(exchange) },
    client: spec.signs === 'Assertions',
  }
}

function endpointOf(one: NonNullable<TokenIssuer['spec']['exchange']>): Endpoint {
  return {
    url: one.endpoint,
    authentication: AUTHENTICATION[one.authentication],
    clientId: one.clientId ?? '',
    timeoutMs: durationMs(one.timeout),
    ca: one.caBundle ?? '',
    insecureLoopback: false,
    privateAddresses: one.addresses === 'Private',
  }
}

const HEADERS = {
  None: CertificateHeader.CERTIFICATE_HEADER_UNSPECIFIED,
  XFCC: CertificateHeader.CERTIFICATE_HEADER_XFCC,
  ClientCert: CertificateHeader.CERTIFICATE_HEADER_CLIENT_CERT,
} as const
const PROOFS = {
  DPoP: SenderConstraint.SENDER_CONSTRAINT_DPOP,
  MTLS: SenderConstraint.SENDER_CONSTRAINT_MTLS,
} as const
const KINDS = {
  Any: ClientKind.CLIENT_KIND_UNSPECIFIED,
  Machine: ClientKind.CLIENT_KIND_MACHINE,
  User: ClientKind.CLIENT_KIND_USER,
} as const
const AUTHENTICATION = {
  MTLS: ClientAuthentication.CLIENT_AUTHENTICATION_MTLS,
  PrivateKeyJWT: ClientAuthentication.CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT,
} as const
