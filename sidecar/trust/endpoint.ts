import {
  ClientAuthentication,
  type Endpoint as EndpointMessage,
  type Exchange as ExchangeMessage,
  type Introspection as IntrospectionMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { ENDPOINT_LIMITS } from '../settings.ts'

/** An endpoint of an authorization server that wants to know who asks (feed.proto, Endpoint). */
export interface Endpoint {
  readonly url: string
  readonly authentication: 'mtls' | 'private_key_jwt'
  /** `client_id` there; empty: the workload's SPIFFE ID. */
  readonly clientId: string
  readonly timeoutMs: number
  /** PEM; empty: the well-known authorities. */
  readonly ca: string
  readonly insecureLoopback: boolean
  readonly privateAddresses: boolean
}

/** How an issuer is asked about a token (RFC 7662). */
export interface Introspection {
  readonly endpoint: Endpoint
  /** Whether tokens that are no JWT are asked about. */
  readonly opaque: boolean
  /** How long an active answer may be used, at most 30,000. */
  readonly cacheMs: number
}

/** Where a token is exchanged for a narrower one (RFC 8693). */
export interface Exchange {
  readonly endpoint: Endpoint
}

export function parseIntrospection(
  message: IntrospectionMessage | undefined,
  problems: string[],
): Introspection | undefined {
  if (!message) return undefined
  const endpoint = parseEndpoint(message.endpoint, 'introspection.endpoint', problems)
  if (message.cacheMs > ENDPOINT_LIMITS.cacheMs)
    problems.push(`introspection.cache_ms: must be at most ${ENDPOINT_LIMITS.cacheMs}`)
  return endpoint && { endpoint, opaque: message.opaque, cacheMs: message.cacheMs }
}

export function parseExchange(
  message: ExchangeMessage | undefined,
  problems: string[],
): Exchange | undefined {
  if (!message) return undefined
  const endpoint = parseEndpoint(message.endpoint, 'exchange.endpoint', problems)
  return endpoint && { endpoint }
}

const AUTHENTICATION: Readonly<Record<number, Endpoint['authentication']>> = {
  [ClientAuthentication.CLIENT_AUTHENTICATION_MTLS]: 'mtls',
  [ClientAuthentication.CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT]: 'private_key_jwt',
}

function parseEndpoint(
  message: EndpointMessage | undefined,
  path: string,
  problems: string[],
): Endpoint | undefined {
  const before = problems.length
  const { url = '', clientId = '', timeoutMs = 0, ca = '' } = message ?? {}
  if (!URL.canParse(url) || url.length > ENDPOINT_LIMITS.url) problems.push(`${path}.url: must be a URL`)
  if (clientId.length > ENDPOINT_LIMITS.clientId)
    problems.push(`${path}.client_id: must be at most ${ENDPOINT_LIMITS.clientId} characters`)
  const [shortest, longest] = ENDPOINT_LIMITS.timeoutMs
  if (timeoutMs < shortest || timeoutMs > longest)
    problems.push(`${path}.timeout_ms: must be ${shortest} to ${longest}`)
  if (ca.length > ENDPOINT_LIMITS.caBytes)
    problems.push(`${path}.ca: must be at most ${ENDPOINT_LIMITS.caBytes} bytes`)
  const authentication = AUTHENTICATION[message?.authentication ?? 0]
  if (!authentication) problems.push(`${path}.authentication: unset or unknown`)
  if (!message || !authentication || problems.length > before) return undefined
  const { insecureLoopback, privateAddresses } = message
  return { url, authentication, clientId, timeoutMs, ca, insecureLoopback, privateAddresses }
}

/** One question to such an endpoint. */
export interface EndpointQuestion {
  readonly endpoint: Endpoint
  /** The authorization server that the endpoint belongs to: the audience of what proves who asks. */
  readonly issuer: string
  readonly form: Readonly<Record<string, string>>
  /** Caused by something that nobody has vouched for yet: waits behind everything else, and takes no more than its share. */
  readonly unproven: boolean
}

/** Asks as the workload; never rejects. Waits at most `endpoint.timeoutMs`, and not longer than the signal lets it. */
export type AskEndpoint = (question: EndpointQuestion, signal: AbortSignal) => Promise<EndpointAnswer>

export type EndpointAnswer =
  /** `body` is the JSON text, or `undefined` where the answer is no JSON or too large to be read. */
  | { readonly kind: 'answered'; readonly status: number; readonly body: Buffer | undefined }
  /** Nobody answered in time, or we do not ask now, or cannot say who we are. */
  | { readonly kind: 'unavailable' }
