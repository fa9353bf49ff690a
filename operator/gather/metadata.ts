import type { FetchRules } from '../../contracts/fetch.ts'
import type { FetchVersion } from './jwks.ts'

/** What an authorization server says of itself (OpenID Connect Discovery, RFC 8414), as far as advice is given about it. */
export interface MetadataFacts {
  /** URL of the document. */
  readonly uri: string
  /** Whether `issuer` is, byte for byte, the one that was asked for. */
  readonly exact: boolean
  readonly challengeMethods: readonly string[]
  readonly responseTypes: readonly string[]
  readonly grantTypes: readonly string[]
  /** JWS algorithms of everything that it signs or lets be signed. */
  readonly algorithms: readonly string[]
  /** Algorithms of DPoP proofs (RFC 9449 section 5.1); empty: none. */
  readonly proofAlgorithms: readonly string[]
  /** Whether tokens can be bound to a certificate (RFC 8705 section 3.3). */
  readonly certificateBound: boolean
  /** Whether requests can be pushed (RFC 9126 section 5). */
  readonly pushed: boolean
  /** Empty: it does not say. */
  readonly acrValues: readonly string[]
}

/** `undefined` facts: neither document could be read, for this reason. */
export type Metadata =
  | { readonly facts: MetadataFacts }
  | { readonly facts: undefined; readonly problem: string }

export interface MetadataWanted {
  readonly issuer: string
  readonly ca: string | undefined
  readonly privateAddresses: boolean
}

const MAX_BYTES = 65_536
const ENTRIES = 64
const LENGTH = 256

/** Reads the first of the two documents that is there. For advice only: nothing that is believed depends on it. */
export async function readMetadata(
  { issuer, ca, privateAddresses }: MetadataWanted,
  fetch: FetchVersion,
  signal: AbortSignal,
): Promise<Metadata> {
  const rules: FetchRules = {
    insecureLoopback: false,
    privateAddresses,
    maxBytes: MAX_BYTES,
    ...(ca === undefined ? {} : { ca }),
  }
  let problem = ''
  for (const uri of placesOf(issuer)) {
    try {
      const fetched = await fetch(uri, rules, signal)
      const facts = fetched.changed ? factsIn(uri, issuer, fetched.body) : undefined
      if (facts) return { facts }
      problem ||= `${uri}: not a JSON object`
    } catch (cause) {
      signal.throwIfAborted()
      problem ||= cause instanceof Error ? cause.message : 'unknown'
    }
  }
  return { facts: undefined, problem }
}

/** OpenID Connect Discovery section 4 appends; RFC 8414 section 3 puts the well-known part before the path. */
function placesOf(issuer: string): readonly string[] {
  const plain = issuer.replace(/\/$/, '')
  const { origin } = new URL(issuer)
  return [
    `${plain}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${plain.slice(origin.length)}`,
  ]
}

const SIGNED = [
  'id_token_signing_alg_values_supported',
  'userinfo_signing_alg_values_supported',
  'request_object_signing_alg_values_supported',
  'token_endpoint_auth_signing_alg_values_supported',
] as const

function factsIn(uri: string, issuer: string, body: Buffer): MetadataFacts | undefined {
  const document = objectIn(body)
  if (!document) return undefined
  const texts = (name: string) => textsIn(document[name])
  return {
    uri,
    exact: document['issuer'] === issuer,
    challengeMethods: texts('code_challenge_methods_supported'),
    responseTypes: texts('response_types_supported'),
    // RFC 8414 section 2: what is left out stands for these two.
    grantTypes:
      document['grant_types_supported'] === undefined
        ? ['authorization_code', 'implicit']
        : texts('grant_types_supported'),
    algorithms: SIGNED.flatMap(texts),
    proofAlgorithms: texts('dpop_signing_alg_values_supported'),
    certificateBound: document['tls_client_certificate_bound_access_tokens'] === true,
    pushed: typeof document['pushed_authorization_request_endpoint'] === 'string',
    acrValues: texts('acr_values_supported'),
  }
}

function textsIn(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return []
  return value.filter((one) => typeof one === 'string' && one.length <= LENGTH).slice(0, ENTRIES)
}

function objectIn(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}
