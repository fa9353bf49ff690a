import type {
  Issuer as IssuerMessage,
  Profile as ProfileMessage,
} from '../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Algorithm } from '../contracts/jwks.ts'

/** Limits of what can be believed; configuration and snapshots have the same. Characters, entries, seconds. */
export const SNAPSHOT_LIMITS = {
  text: 512,
  issuers: 32,
  tenants: 10_000,
  clients: 1_000,
  skewS: 300,
  lifetimeS: [60, 86_400],
} as const

/** What a workload may ask of tokens. Entries, characters, seconds. */
export const TOKEN_RULE_LIMITS = {
  hops: 16,
  deniedAudiences: 64,
  firstPartyScopes: 64,
  acrValues: 16,
  acr: 256,
  ageS: 31_622_400,
} as const

/** A value of acr. It goes into a challenge as it is, so nothing in it may end its quotes (RFC 9470 section 3). */
export const ACR_VALUE = new RegExp(`^[\\x21\\x23-\\x5b\\x5d-\\x7e]{1,${TOKEN_RULE_LIMITS.acr}}$`)

/** The action under which routes may ask more of a token that is to be exchanged: all but `sharedReplay`, as no proof comes with it. */
export const EXCHANGE_ACTION = 'token:exchange'

/** What may be said of an endpoint of an authorization server. Characters, bytes, milliseconds. */
export const ENDPOINT_LIMITS = {
  url: 2048,
  clientId: 512,
  caBytes: 64 * 1024,
  timeoutMs: [50, 10_000],
  cacheMs: 30_000,
} as const

/** Routes of a profile. Milliseconds, entries, characters of an action or prefix. */
export const TIER_LIMITS = {
  leaseMs: [1_000, 900_000],
  routes: 64,
  actions: 64,
  action: 256,
} as const

/** Beliefs that a configuration file states, as opposed to an operator. */
export interface StandaloneConfig {
  readonly audience: string
  readonly exclusiveAudience: boolean
  readonly maxTokenLifetimeS: number
  readonly issuers: readonly StandaloneIssuer[]
  readonly policyPath: string
  /** In the form the feed carries. */
  readonly routes: ProfileMessage['routes']
  readonly tokens: ProfileMessage['tokens']
  /** How long fetched keys may be used without a successful refresh, milliseconds. */
  readonly jwksStaleMs: number
  /** `undefined`: no endpoint can be asked that wants to know who asks. */
  readonly client: ClientFiles | undefined
}

export interface StandaloneIssuer extends JwksSourceConfig {
  readonly skewS: number
  readonly tenant: TenantBinding
  readonly terms: IssuerTerms
}

/** What is believed of an issuer beyond its keys and tenants, in the form the feed carries. */
export type IssuerTerms = Pick<
  IssuerMessage,
  'legacyTypUntilMs' | 'firstPartyClients' | 'introspection' | 'exchange' | 'client'
>

/** Which tenants an issuer may speak for, in the form the feed carries. */
export type TenantBinding = NonNullable<IssuerMessage['tenant']>

export interface JwksSourceConfig {
  /** Exact value of `iss`. */
  readonly issuer: string
  readonly algorithms: ReadonlySet<Algorithm>
  readonly location: JwksLocation
  readonly insecureLoopback: boolean
  readonly privateAddresses: boolean
  /** Milliseconds between scheduled fetches. */
  readonly refreshMs: number
}

/** Where the keys of one issuer come from. */
export type JwksLocation =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'uri'; readonly uri: string }
  | { readonly kind: 'discovery'; readonly uri: string }

/** Where a standalone sidecar finds the certificate and key by which it says who it is, PEM. */
export interface ClientFiles {
  readonly certificate: string
  readonly key: string
}

/** A host name or address, and a port. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** What an injected sidecar was told about itself and about where its identity comes from. */
export interface IdentitySettings {
  readonly trustDomain: string
  /** The one audience of the token in `tokenFile`; another token is never sent anywhere. */
  readonly audience: string
  readonly issuer: Endpoint
  readonly feed: Endpoint
  /** Roots that are believed until a newer trust bundle has come, DER. */
  readonly anchors: readonly Uint8Array[]
  /** Where the roots of the newest trust bundle are kept for the next start of this container; they go before `anchors`. */
  readonly anchorsFile: string
  /** Projected service account token; the kubelet replaces it, so it is read anew for each call. */
  readonly tokenFile: string
  readonly pod: Pod
}

export interface Pod {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly serviceAccount: string
}
