import { parseTime } from '../../contracts/time.ts'
import { recordOf, textOf } from './answer.ts'
import type { KubeObject, ObjectMeta } from './resource.ts'

/** coordination.k8s.io/v1 Lease, as far as it is read here. */
export interface LeaseRecord {
  readonly metadata: ObjectMeta
  /** `''`: nobody. */
  readonly holder: string
  readonly durationMs: number
  readonly transitions: number
  readonly acquireTime: string
  /** As text: it is compared, never trusted as a time, because it comes from another clock. */
  readonly renewTime: string
  /** Milliseconds since the epoch by the holder's clock. */
  readonly renewedAt: number | undefined
}

export function parseLease(object: KubeObject): LeaseRecord {
  const spec = recordOf(object.spec)
  const renewTime = textOf(spec['renewTime'])
  return {
    metadata: object.metadata,
    holder: textOf(spec['holderIdentity']),
    durationMs: numberOf(spec['leaseDurationSeconds']) * 1_000,
    transitions: numberOf(spec['leaseTransitions']),
    acquireTime: textOf(spec['acquireTime']),
    renewTime,
    renewedAt: parseTime(renewTime),
  }
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}
