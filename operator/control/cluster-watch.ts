import { type AccessPolicy, parseAccessPolicy } from '../../contracts/crd/access-policy.ts'
import { type KeyRotation, parseKeyRotation } from '../../contracts/crd/key-rotation.ts'
import { type PolicyBundle, parsePolicyBundle } from '../../contracts/crd/policy-bundle.ts'
import { parseRevocation, type Revocation } from '../../contracts/crd/revocation.ts'
import { parseSidecarProfile, type SidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import { parseTokenIssuer, type TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import { parseTrustDomain, type TrustDomain } from '../../contracts/crd/trust-domain.ts'
import { parseWorkloadIdentity, type WorkloadIdentity } from '../../contracts/crd/workload-identity.ts'
import type { Kind } from '../../contracts/crd.ts'
import type { KubeObject, Resource } from '../kube/resource.ts'
import { NAMESPACES, PODS } from '../kube/resources.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import { openWatch, type Watched } from '../kube/watch.ts'
import type { Outcome } from '../ports.ts'
import { type PodSeen, podSeen } from './pods.ts'
import { resourceOf } from './resources.ts'

/** Everything of the cluster that the operator mirrors. */
export interface ClusterWatch extends AsyncDisposable {
  readonly pods: Watched<PodSeen>
  readonly namespaces: Watched<KubeObject>
  readonly kinds: KindWatches
  whenSynced(signal: AbortSignal): Promise<void>
  /** Called with the name of what changed (a kind, `Pod`, `Namespace`) and the object's key. */
  subscribe(changed: (what: Changed, key: string) => void): () => void
}
export type Changed = Kind | 'Pod' | 'Namespace'

/** Objects of our kinds, parsed; those that do not parse are left out and reported. */
export interface KindWatches {
  readonly TokenIssuer: Watched<Parsed<TokenIssuer>>
  readonly PolicyBundle: Watched<Parsed<PolicyBundle>>
  readonly AccessPolicy: Watched<Parsed<AccessPolicy>>
  readonly Revocation: Watched<Parsed<Revocation>>
  readonly KeyRotation: Watched<Parsed<KeyRotation>>
  readonly TrustDomain: Watched<Parsed<TrustDomain>>
  readonly WorkloadIdentity: Watched<Parsed<WorkloadIdentity>>
  readonly SidecarProfile: Watched<Parsed<SidecarProfile>>
}

/** An object of the API server with its parsed form. */
export interface Parsed<T> extends KubeObject {
  readonly parsed: T
}

const PARSERS = {
  TokenIssuer: parseTokenIssuer,
  PolicyBundle: parsePolicyBundle,
  AccessPolicy: parseAccessPolicy,
  Revocation: parseRevocation,
  KeyRotation: parseKeyRotation,
  TrustDomain: parseTrustDomain,
  WorkloadIdentity: parseWorkloadIdentity,
  SidecarProfile: parseSidecarProfile,
} as const satisfies Readonly<Record<Kind, (object: unknown) => Outcome<unknown>>>

/** Starts to mirror; returns at once. */
export async function openClusterWatch(transport: Transport, ports: KubePorts): Promise<ClusterWatch> {
  const plain = (resource: Resource) =>
    openWatch<KubeObject>(
      transport,
      { place: { resource }, metadataOnly: true, transform: (object) => object },
      ports,
    )
  const of = <T>(kind: Kind, parse: (object: unknown) => Outcome<T>) =>
    openKind(kind, parse, transport, ports)
  const kinds: KindWatches = {
    TokenIssuer: await of('TokenIssuer', PARSERS.TokenIssuer),
    PolicyBundle: await of('PolicyBundle', PARSERS.PolicyBundle),
    AccessPolicy: await of('AccessPolicy', PARSERS.AccessPolicy),
    Revocation: await of('Revocation', PARSERS.Revocation),
    KeyRotation: await of('KeyRotation', PARSERS.KeyRotation),
    TrustDomain: await of('TrustDomain', PARSERS.TrustDomain),
    WorkloadIdentity: await of('WorkloadIdentity', PARSERS.WorkloadIdentity),
    SidecarProfile: await of('SidecarProfile', PARSERS.SidecarProfile),
  }
  const pods = await openWatch<PodSeen>(transport, { place: { resource: PODS }, transform: podSeen }, ports)
  const namespaces = await plain(NAMESPACES)
  const named: readonly (readonly [Changed, Watched<KubeObject>])[] = [
    ...(Object.entries(kinds) as [Kind, Watched<KubeObject>][]),
    ['Pod', pods],
    ['Namespace', namespaces],
  ]
  return {
    pods,
    namespaces,
    kinds,
    whenSynced: async (signal) => {
      await Promise.all(named.map(([, watched]) => watched.whenSynced(signal)))
    },
    subscribe(changed) {
      const stops = named.map(([what, watched]) => watched.subscribe((_type, key) => changed(what, key)))
      return () => {
        for (const stop of stops) stop()
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(named.map(([, watched]) => watched[Symbol.asyncDispose]()))
    },
  }
}

/** Starts to mirror one of our kinds, parsed. */
export function openKind<T>(
  kind: Kind,
  parse: (object: unknown) => Outcome<T>,
  transport: Transport,
  ports: KubePorts,
): Promise<Watched<Parsed<T>>> {
  const transform = (object: KubeObject) => parsed(kind, parse, object, ports)
  return openWatch<Parsed<T>>(transport, { place: { resource: resourceOf(kind) }, transform }, ports)
}

// Admission keeps such objects out; one that got in (an older CRD, a direct write) must not stop the others.
function parsed<T>(
  kind: Kind,
  parse: (object: unknown) => Outcome<T>,
  object: KubeObject,
  { report }: KubePorts,
): Parsed<T> | undefined {
  const outcome = parse({ ...object, apiVersion: 'portcullis.dev/v1alpha1', kind })
  if (outcome.ok) return { metadata: object.metadata, parsed: outcome.value }
  const { namespace = '', name } = object.metadata
  report('object_unreadable', {
    kind,
    object: `${namespace}/${name}`,
    problems: outcome.problems.slice(0, 5),
  })
  return undefined
}
