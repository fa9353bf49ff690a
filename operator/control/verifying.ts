import { durationMs } from '../../contracts/crd/duration.ts'
import type { KeyRotation } from '../../contracts/crd/key-rotation.ts'
import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { formatTime } from '../../contracts/time.ts'
import { faultOf } from '../kube/answer.ts'
import { applyStatus } from '../kube/apply.ts'
import type { Presence } from '../kube/presence.ts'
import type { Transport } from '../kube/transport.ts'
import type { Monotonic, Now } from '../ports.ts'
import { verifiersOf } from '../publish/aggregate.ts'
import { lives } from '../state/cluster.ts'
import type { ClusterWatch } from './cluster-watch.ts'
import { resourceOf } from './resources.ts'
import type { Views } from './view.ts'

/** Counts who knows the present trust bundle, for every KeyRotation under way. */
export interface Verifying {
  write(transport: Transport, signal: AbortSignal): Promise<void>
}

export interface VerifyingNeeds {
  readonly watch: ClusterWatch
  readonly views: Views
  readonly states: () => ReadonlyMap<string, SidecarState>
  readonly presences: () => readonly Presence[]
  readonly now: Now
  readonly monotonic: Monotonic
}

/** Annotation of a replica's presence: sequence of the trust bundle that it verifies with. */
export const TRUST_SEQUENCE = 'portcullis.dev/trust-sequence'

/** Annotation of a replica's presence: highest sequence that any sidecar it serves has. */
export const FLEET_SEQUENCE = 'portcullis.dev/fleet-sequence'

const MANAGER = 'portcullis-verifiers'
const OVER = new Set(['Complete', 'Revoked', 'Failed'])
const LONGEST_MS = 15 * 60_000
const REWRITE_MS = 10_000

export function createVerifying(needs: VerifyingNeeds): Verifying {
  const since = needs.now()
  const written = new Map<string, { readonly text: string; readonly at: number }>()
  return {
    async write(transport, signal) {
      for (const { parsed } of needs.watch.kinds.KeyRotation.store.list()) {
        if (OVER.has(parsed.status?.phase ?? '')) continue
        const counted = count(needs, since)
        const text = JSON.stringify(counted)
        const before = written.get(parsed.metadata.uid)
        const at = needs.monotonic()
        if (before?.text === text && at - before.at < REWRITE_MS) continue
        await store(parsed, { ...counted, observedAt: formatTime(needs.now()) }, transport, signal)
        written.set(parsed.metadata.uid, { text, at })
      }
    },
  }
}

function count({ watch, views, states, presences, now }: VerifyingNeeds, since: number) {
  const { cluster, trustBundle } = views.current()
  const sequence = trustBundle?.sequence ?? 0
  const leases = watch.kinds.SidecarProfile.store
    .list()
    .map(({ parsed }) => durationMs(parsed.spec.leases.readDegraded))
  const clock = { at: now(), since, longestLeaseMs: Math.max(0, ...leases) || LONGEST_MS }
  const pods = [...cluster.pods.values()].filter((pod) => lives(pod))
  const sidecars = verifiersOf(pods, states(), sequence, clock)
  // Replicas of the operator verify each other and every sidecar: they have to know the new key, too.
  const replicas = presences()
  const late = replicas.filter(({ annotations }) => Number(annotations[TRUST_SEQUENCE] ?? 0) < sequence)
  return {
    sequence,
    total: sidecars.total + replicas.length,
    acknowledged: sidecars.acknowledged + replicas.length - late.length,
    lapsed: sidecars.lapsed,
    stragglers: [...late.map(({ pod }) => `operator/${pod}`), ...sidecars.stragglers].slice(0, 20),
  }
}

async function store(
  { metadata }: KeyRotation,
  verifiers: object,
  transport: Transport,
  signal: AbortSignal,
): Promise<void> {
  const { name, uid } = metadata
  const intent = {
    resource: resourceOf('KeyRotation'),
    metadata: { name, uid },
    fields: { status: { verifiers } },
    manager: MANAGER,
    force: true,
  }
  const applied = await applyStatus(transport, intent, signal)
  if (!applied.ok && applied.refused.status !== 404)
    throw faultOf(applied.refused, `status of KeyRotation ${name}`)
}
