import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import type { Revocation } from '../../contracts/crd/revocation.ts'
import type { SidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import type { TokenIssuer } from '../../contracts/crd/token-issuer.ts'

/** Everything that projections are made of, as last observed. Immutable. */
export interface Cluster {
  /** By UID. */
  readonly pods: ReadonlyMap<string, Pod>
  /** By `namespace/name`, as all below. */
  readonly accessPolicies: ReadonlyMap<string, AccessPolicy>
  readonly tokenIssuers: ReadonlyMap<string, TokenIssuer>
  readonly revocations: ReadonlyMap<string, Revocation>
  /** By name. */
  readonly profiles: ReadonlyMap<string, SidecarProfile>
  /** Last good key set, by TokenIssuer. */
  readonly keySets: ReadonlyMap<string, KeyDocument>
  /** What is in force of each PolicyBundle. */
  readonly bundles: ReadonlyMap<string, StoredBundle>
}

/** What of a pod matters to us. */
export interface Pod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly serviceAccount: string
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
  /** Has a deletion timestamp. It may go on serving until its containers have ended. */
  readonly deleting: boolean
  readonly node: string
  readonly ips: readonly string[]
  /** Has our sidecar among its containers. */
  readonly sidecar: boolean
  /** SidecarProfile that it was injected from; empty when it is not known. */
  readonly profile: string
}

/** JWK Set as last fetched for a TokenIssuer. */
export interface KeyDocument {
  readonly jwks: Buffer
  /** Hex. */
  readonly sha256: string
  /** Milliseconds since the epoch after which these keys may no longer be used; 0 for keys given by configuration. */
  readonly notAfterMs: number
}

/** A compiled and signed bundle, without its contents. */
export interface StoredBundle {
  readonly revision: string
  readonly files: readonly { readonly path: string; readonly sha256: Buffer; readonly size: number }[]
  readonly signature: { readonly keyId: string; readonly value: Buffer }
}

export const EMPTY_CLUSTER: Cluster = {
  pods: new Map(),
  accessPolicies: new Map(),
  tokenIssuers: new Map(),
  revocations: new Map(),
  profiles: new Map(),
  keySets: new Map(),
  bundles: new Map(),
}

/** Whether the pod can still hold beliefs that must be kept right: it has a sidecar, and its containers have not all ended. */
export function lives(pod: Pod): boolean {
  return pod.sidecar && pod.phase !== 'Succeeded' && pod.phase !== 'Failed'
}
