import {
  CertificateHeader,
  ClientKind,
  type Profile,
  type Requirements as RequirementsMessage,
  SenderConstraint,
  type TokenRules as TokenRulesMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { ACR_VALUE, SNAPSHOT_LIMITS, TOKEN_RULE_LIMITS } from '../settings.ts'
import { createRouteMatch } from './route-match.ts'

/** What a workload asks of tokens beyond their audience (feed.proto, TokenRules). */
export interface TokenRules {
  readonly edge: Edge
  readonly deniedAudiences: ReadonlySet<string>
  /** Whether only first-party clients may use this scope. */
  readonly firstPartyOnly: (scope: string) => boolean
  /** What a token must bring for this action, before any rule is asked. */
  readonly requirements: (action: string) => Requirements
}

/** How requests reach this workload. */
export interface Edge {
  /** URL under which callers find it, without a query or fragment; `undefined`: no DPoP proof can be checked. */
  readonly baseUrl: URL | undefined
  /** Path prefix that callers see and the application does not; empty for none. */
  readonly strippedPrefix: string
  /** SPIFFE IDs of proxies whose word on their client's certificate counts. */
  readonly trustedHops: ReadonlySet<string>
  readonly certificateHeader: 'none' | 'xfcc' | 'client-cert'
  /** SPIFFE ID that a trusted hop saw of us; empty: not stated. */
  readonly ownId: string
}

export type SenderProof = 'dpop' | 'mtls'

export interface Requirements {
  /** Ways of being bound of which one is needed; empty: none is. */
  readonly senderConstraints: ReadonlySet<SenderProof>
  readonly introspect: boolean
  readonly sharedReplay: boolean
  readonly acrValues: readonly string[]
  /** Seconds; 0 for any. */
  readonly maxAuthAgeS: number
  readonly maxTokenAgeS: number
  readonly clientKind: 'any' | 'machine' | 'user'
}

export const NO_REQUIREMENTS: Requirements = Object.freeze({
  senderConstraints: new Set<SenderProof>(),
  introspect: false,
  sharedReplay: false,
  acrValues: Object.freeze([]),
  maxAuthAgeS: 0,
  maxTokenAgeS: 0,
  clientKind: 'any',
})

/** Reads what a profile asks of tokens: the rules, or every problem with its path. */
export function parseTokenRules(profile: Profile | undefined): TokenRules | readonly string[] {
  const message = profile?.tokens
  const problems: string[] = []
  const edge = parseEdge(message, problems)
  const listed = (name: string, values: readonly string[], most: number): ReadonlySet<string> => {
    if (values.length > most || values.some((one) => one === '' || one.length > SNAPSHOT_LIMITS.text))
      problems.push(
        `profile.tokens.${name}: must be at most ${most} of 1 to ${SNAPSHOT_LIMITS.text} characters`,
      )
    return new Set(values)
  }
  const deniedAudiences = listed(
    'denied_audiences',
    message?.deniedAudiences ?? [],
    TOKEN_RULE_LIMITS.deniedAudiences,
  )
  const scopes = listed(
    'first_party_scopes',
    message?.firstPartyScopes ?? [],
    TOKEN_RULE_LIMITS.firstPartyScopes,
  )
  const fallback = parseRequirements(message?.requirements, 'profile.tokens.requirements', problems)
  const byPattern = new Map<string, Requirements>()
  for (const [index, { actions, requirements }] of (profile?.routes ?? []).entries()) {
    const stated = requirements
      ? parseRequirements(requirements, `profile.routes[${index}].requirements`, problems)
      : fallback
    for (const action of actions) byPattern.set(action, stated)
  }
  if (problems.length > 0) return problems
  return {
    edge,
    deniedAudiences,
    firstPartyOnly: createRouteMatch(new Map([...scopes].map((scope) => [scope, true])), false),
    requirements: createRouteMatch(byPattern, fallback),
  }
}

const CERTIFICATE_HEADERS: Readonly<Record<number, Edge['certificateHeader']>> = {
  [CertificateHeader.CERTIFICATE_HEADER_UNSPECIFIED]: 'none',
  [CertificateHeader.CERTIFICATE_HEADER_XFCC]: 'xfcc',
  [CertificateHeader.CERTIFICATE_HEADER_CLIENT_CERT]: 'client-cert',
}

function parseEdge(message: TokenRulesMessage | undefined, problems: string[]): Edge {
  const { externalBaseUrl = '', strippedPrefix = '', trustedHops = [], ownId = '' } = message ?? {}
  const baseUrl = externalBaseUrl === '' ? undefined : parseBaseUrl(externalBaseUrl)
  if (externalBaseUrl !== '' && !baseUrl)
    problems.push(
      'profile.tokens.external_base_url: must be an absolute http(s) URL without user, query or fragment',
    )
  if (strippedPrefix !== '' && !/^(?:\/[A-Za-z0-9._~%-]+)+$/.test(strippedPrefix))
    problems.push('profile.tokens.stripped_prefix: must be a path such as /api, without a slash at its end')
  if (trustedHops.length > TOKEN_RULE_LIMITS.hops || !trustedHops.every((one) => one.startsWith('spiffe://')))
    problems.push(`profile.tokens.trusted_hops: must be at most ${TOKEN_RULE_LIMITS.hops} SPIFFE IDs`)
  const certificateHeader = CERTIFICATE_HEADERS[message?.certificateHeader ?? 0]
  if (!certificateHeader) problems.push('profile.tokens.certificate_header: unknown')
  if (certificateHeader && certificateHeader !== 'none' && trustedHops.length === 0)
    problems.push('profile.tokens.certificate_header: needs trusted_hops')
  return {
    baseUrl,
    strippedPrefix,
    trustedHops: new Set(trustedHops),
    certificateHeader: certificateHeader ?? 'none',
    ownId,
  }
}

function parseBaseUrl(text: string): URL | undefined {
  if (text.length > SNAPSHOT_LIMITS.text || !URL.canParse(text)) return undefined
  const url = new URL(text)
  const plain = !url.username && !url.password && !text.includes('?') && !text.includes('#')
  return plain && (url.protocol === 'https:' || url.protocol === 'http:') ? url : undefined
}

const SENDER_PROOFS: Readonly<Record<number, SenderProof>> = {
  [SenderConstraint.SENDER_CONSTRAINT_DPOP]: 'dpop',
  [SenderConstraint.SENDER_CONSTRAINT_MTLS]: 'mtls',
}
const CLIENT_KINDS: Readonly<Record<number, Requirements['clientKind']>> = {
  [ClientKind.CLIENT_KIND_UNSPECIFIED]: 'any',
  [ClientKind.CLIENT_KIND_MACHINE]: 'machine',
  [ClientKind.CLIENT_KIND_USER]: 'user',
}

// Unknown members of a closed list are problems, never ignored: a requirement that is not understood must not vanish.
function parseRequirements(
  message: RequirementsMessage | undefined,
  path: string,
  problems: string[],
): Requirements {
  if (!message) return NO_REQUIREMENTS
  const proofs = message.senderConstraints.map((one) => SENDER_PROOFS[one])
  if (proofs.includes(undefined)) problems.push(`${path}.sender_constraints: unset or unknown`)
  const clientKind = CLIENT_KINDS[message.clientKind]
  if (!clientKind) problems.push(`${path}.client_kind: unknown`)
  const { acrValues, maxAuthAgeS, maxTokenAgeS } = message
  if (acrValues.length > TOKEN_RULE_LIMITS.acrValues || !acrValues.every((one) => ACR_VALUE.test(one)))
    problems.push(
      `${path}.acr_values: must be at most ${TOKEN_RULE_LIMITS.acrValues} words without blanks or quotes`,
    )
  if (maxAuthAgeS > TOKEN_RULE_LIMITS.ageS || maxTokenAgeS > TOKEN_RULE_LIMITS.ageS)
    problems.push(`${path}: ages must be at most ${TOKEN_RULE_LIMITS.ageS} seconds`)
  return Object.freeze({
    senderConstraints: new Set(proofs.filter((one) => one !== undefined)),
    introspect: message.introspect,
    sharedReplay: message.sharedReplay,
    acrValues: Object.freeze([...acrValues]),
    maxAuthAgeS,
    maxTokenAgeS,
    clientKind: clientKind ?? 'any',
  })
}
