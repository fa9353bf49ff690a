import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { GenerationTable } from '../state/generations.ts'
import type { Projection } from '../state/project.ts'
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
  /** Content by SHA-256, hex. */
  readonly blob: (sha256: string) => Buffer | undefined
}

export interface ServedPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** Key of its projection. */
  readonly projection: string
}
