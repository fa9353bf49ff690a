import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Cluster } from '../state/cluster.ts'
import type { GenerationTable } from '../state/generations.ts'
import type { Projection } from '../state/project.ts'
import type { Projections } from '../state/projections.ts'
import type { RevocationLog } from '../state/revocation-log.ts'

/** Everything that is published, as it is stored: nothing may be in here that the database does not hold yet. */
export interface World {
  /** Living pods with a sidecar, by UID. */
  readonly pods: ReadonlyMap<string, ServedPod>
  readonly trustBundle: TrustBundle | undefined
  readonly log: RevocationLog
  readonly table: GenerationTable
  /** By key. */
  readonly projections: ReadonlyMap<string, Projection>
  /** Content by SHA-256, hex. Another function whenever there is other content. */
  readonly blob: (sha256: string) => Buffer | undefined
}

export interface ServedPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** Key of its projection. */
  readonly projection: string
}

/** What is stored about it, besides the objects of the cluster. */
export type Stored = Pick<World, 'trustBundle' | 'log' | 'table' | 'blob'>

/** Only once every watch is in sync: a TokenIssuer that was not read yet looks like one that is not there. */
export function worldOf(cluster: Cluster, { byKey, byPod }: Projections, stored: Stored): World {
  const pods = new Map<string, ServedPod>()
  for (const [uid, projection] of byPod) {
    const pod = cluster.pods.get(uid)
    if (pod) pods.set(uid, { uid, namespace: pod.namespace, name: pod.name, projection })
  }
  return { pods, projections: byKey, ...stored }
}
