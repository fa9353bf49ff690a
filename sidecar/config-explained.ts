import {
  CertificateHeader,
  ClientAuthentication,
  ClientKind,
  type Endpoint,
  type Requirements,
  SenderConstraint,
} from '../contracts/gen/portcullis/feed/v1/feed.ts'
import { formatTime } from '../contracts/time.ts'
import type { StandaloneConfig, StandaloneIssuer } from './settings.ts'

/** What was said of an issuer beyond its keys, in lines for people. */
export function explainTerms({ terms }: StandaloneIssuer): readonly string[] {
  const { legacyTypUntilMs, firstPartyClients, introspection, exchange, client } = terms
  return [
    client && 'a client: it signs assertions and requests about itself, and no tokens',
    legacyTypUntilMs > 0 &&
      `tokens typed JWT or not at all are accepted until ${formatTime(legacyTypUntilMs)}`,
    firstPartyClients.length > 0 && `${firstPartyClients.length} first-party client(s)`,
    introspection &&
      `asked about ${introspection.opaque ? 'opaque tokens and where a route wants it' : 'tokens where a route wants it'}: ${whereTo(introspection.endpoint)}; answers used for at most ${introspection.cacheMs} ms`,
    exchange && `tokens are exchanged at ${whereTo(exchange.endpoint)}`,
  ].filter((line) => typeof line === 'string')
}

function whereTo(endpoint: Endpoint | undefined): string {
  if (!endpoint) return 'nowhere'
  const mtls = endpoint.authentication === ClientAuthentication.CLIENT_AUTHENTICATION_MTLS
  const who = endpoint.clientId || 'the SPIFFE ID of the workload'
  return `${endpoint.url} as ${who}, by ${mtls ? 'its certificate' : 'a signed assertion'}, within ${endpoint.timeoutMs} ms`
}

/** What is asked of tokens, and what of it cannot be met by any. */
export function explainTokens({ tokens, routes, issuers }: StandaloneConfig): readonly string[] {
  const asked = [
    { where: 'other actions', requirements: tokens?.requirements },
    ...routes.map(({ actions, requirements }) => ({ where: actions.join(', '), requirements })),
  ]
  const lines = asked.flatMap(({ where, requirements }) =>
    requirements ? [`${where}: ${wordsFor(requirements)}`] : [],
  )
  if (tokens?.externalBaseUrl) lines.push(`callers find this workload at ${tokens.externalBaseUrl}`)
  if (tokens && tokens.certificateHeader !== CertificateHeader.CERTIFICATE_HEADER_UNSPECIFIED)
    lines.push(`client certificates are believed from ${tokens.trustedHops.join(', ')}`)
  const wants = (proof: SenderConstraint) =>
    asked.some(({ requirements }) => requirements?.senderConstraints.includes(proof))
  if (!tokens?.externalBaseUrl && wants(SenderConstraint.SENDER_CONSTRAINT_DPOP))
    lines.push('note: DPoP proofs cannot be checked without tokens.externalBaseURL; such requests are denied')
  if (asked.some(({ requirements }) => requirements?.introspect))
    for (const { issuer, terms } of issuers)
      if (!terms.introspection)
        lines.push(`note: a route wants introspection, and ${issuer} has none; its tokens are denied there`)
  return lines
}

/** What this process alone remembers, where a second replica would have to know of it. */
export function explainSharing({ tokens }: StandaloneConfig, shared: boolean): string | undefined {
  return !shared && tokens?.externalBaseUrl
    ? 'used DPoP proofs are known to this process alone: two replicas would each take a proof once. Run one, or configure redis'
    : undefined
}

const PROOFS: Readonly<Record<number, string>> = {
  [SenderConstraint.SENDER_CONSTRAINT_DPOP]: 'DPoP',
  [SenderConstraint.SENDER_CONSTRAINT_MTLS]: 'mTLS',
}
const KINDS: Readonly<Record<number, string>> = {
  [ClientKind.CLIENT_KIND_MACHINE]: 'clients that act for themselves only',
  [ClientKind.CLIENT_KIND_USER]: 'users only',
}

function wordsFor(asked: Requirements): string {
  const words = [
    asked.senderConstraints.length > 0 &&
      `bound by ${asked.senderConstraints.map((one) => PROOFS[one]).join(' or ')}`,
    asked.introspect && 'introspected each time',
    asked.sharedReplay && 'proofs unseen by every replica',
    asked.acrValues.length > 0 && `acr one of ${asked.acrValues.join(' ')}`,
    asked.maxAuthAgeS > 0 && `authenticated within ${asked.maxAuthAgeS} s`,
    asked.maxTokenAgeS > 0 && `issued within ${asked.maxTokenAgeS} s`,
    KINDS[asked.clientKind],
  ].filter((word) => typeof word === 'string')
  return words.length > 0 ? words.join('; ') : 'nothing more'
}
