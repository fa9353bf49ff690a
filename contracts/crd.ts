/** What our custom resources are called, and the vocabulary their status shares. No schema here: see `crd/`, one file a kind. */

export const GROUP = 'portcullis.dev'
export const VERSION = 'v1alpha1'
export const API_VERSION = `${GROUP}/${VERSION}` as const
export const CATEGORY = 'portcullis'

export interface Resource {
  readonly kind: string
  readonly plural: string
  readonly singular: string
  readonly shortName: string
  readonly scope: 'Namespaced' | 'Cluster'
}

export const RESOURCES = {
  TokenIssuer: resource('TokenIssuer', 'tokenissuers', 'tiss', 'Namespaced'),
  PolicyBundle: resource('PolicyBundle', 'policybundles', 'pbun', 'Namespaced'),
  AccessPolicy: resource('AccessPolicy', 'accesspolicies', 'acp', 'Namespaced'),
  Revocation: resource('Revocation', 'revocations', 'rvk', 'Namespaced'),
  KeyRotation: resource('KeyRotation', 'keyrotations', 'krot', 'Cluster'),
  TrustDomain: resource('TrustDomain', 'trustdomains', 'td', 'Cluster'),
  WorkloadIdentity: resource('WorkloadIdentity', 'workloadidentities', 'wid', 'Namespaced'),
  SidecarProfile: resource('SidecarProfile', 'sidecarprofiles', 'scp', 'Cluster'),
} as const satisfies Readonly<Record<string, Resource>>

export type Kind = keyof typeof RESOURCES

/** Condition types that each kind reports; `Ready` sums them up and is always there. */
export const CONDITIONS = {
  TokenIssuer: ['JwksFresh', 'Programmed', 'Ready'],
  PolicyBundle: ['Compiled', 'TestsPassed', 'Signed', 'Programmed', 'Ready'],
  AccessPolicy: ['Accepted', 'ResolvedRefs', 'Conflict', 'Programmed', 'Ready'],
  Revocation: ['Programmed', 'Expired', 'Ready'],
  KeyRotation: ['Progressing', 'Acknowledged', 'Ready'],
  TrustDomain: ['Issuing', 'Ready'],
  WorkloadIdentity: ['Accepted', 'Ready'],
  SidecarProfile: ['Ready'],
} as const satisfies Readonly<Record<Kind, readonly string[]>>

/** `metav1.Condition`. `reason` is CamelCase, `lastTransitionTime` RFC 3339, and moves only when `status` does. */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
  readonly lastTransitionTime: string
  readonly observedGeneration: number
}

/** Longest texts of a condition, in characters; whoever writes one cuts it. */
export const CONDITION_LIMITS = { type: 64, reason: 128, message: 4096 } as const

/** On a TokenIssuer: any new value makes the operator fetch the key set at once; served values show in `status.jwks.refreshedNow`. */
export const REFRESH_NOW = `${GROUP}/refresh-now` as const
/** On every CustomResourceDefinition: which schema is installed, compared with `SCHEMA_HASHES` by the operator when it starts. */
export const SCHEMA_HASH = `${GROUP}/schema-hash` as const

function resource<K extends string, S extends Resource['scope']>(
  kind: K,
  plural: string,
  shortName: string,
  scope: S,
): Resource & { readonly kind: K; readonly scope: S } {
  return { kind, plural, singular: kind.toLowerCase(), shortName, scope }
}
