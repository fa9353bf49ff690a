import { API_VERSION } from '../../contracts/crd.ts'
import { applyStatus } from '../kube/apply.ts'
import { setCondition } from '../kube/conditions.ts'
import type { Events } from '../kube/events.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LogStore } from '../ledger/log-store.ts'
import { Fault } from '../ports.ts'
import type { PublisherPorts, Recollection, Unkept } from '../publish/settings.ts'
import { ROLLED_BACK, TOLD_EVERY_MS } from '../reconcile/rollback.ts'
import type { ClusterWatch } from './cluster-watch.ts'
import { createNumbering } from './numbering.ts'
import { resourceOf } from './resources.ts'
import { createRevoking } from './revoking.ts'
import type { Views } from './view.ts'

export interface RecallingNeeds {
  readonly transport: Transport
  readonly ledger: Ledger
  readonly logs: LogStore
  readonly views: Views
  readonly watch: ClusterWatch
  readonly events: Events
  readonly ports: KubePorts
  /** Gives what was stored to the publisher. */
  readonly update: () => void
  readonly signal: AbortSignal
}

const TRIES = 10
const RETRY_MS = 100
/** Of the condition alone: others write the rest of the status. */
export const ROLLBACK_MANAGER = 'portcullis-rollback'

/**
 * The fleet remembers what the database has forgotten: merged, stored and published before anything else is served. Any replica may do
 * so, for every write names the version that it replaces. Resolves with why it could not be done.
 */
export function createRecalling(needs: RecallingNeeds): PublisherPorts['recalled'] {
  const { ledger, views, ports, signal } = needs
  const revoking = createRevoking({
    ...needs,
    random: ports.random,
    kindExists: async () => 'there',
    stands: async () => false,
  })
  const numbering = createNumbering(ledger, views, ports.random)
  let tail: Promise<unknown> = Promise.resolve()
  let told = Number.NEGATIVE_INFINITY

  const merge = async ({
    entries,
    revocationHead,
    generation,
    pod,
    own,
  }: Recollection): Promise<Unkept | undefined> => {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const stored = await revoking.recall(entries, revocationHead, signal, own)
      if (typeof stored === 'object') return stored
      const raised = stored && (await numbering.raiseAbove(generation, signal))
      if (raised) {
        needs.update()
        // A fleet that relearns tells the same thousands of times.
        if (ports.monotonic() - told < TOLD_EVERY_MS) return undefined
        told = ports.monotonic()
        tell(needs, `${pod.namespace}/${pod.name}`, generation)
        return undefined
      }
      await ports.sleep(RETRY_MS * (1 + ports.random()), signal)
    }
    return { why: 'other replicas were always faster', full: false }
  }
  return (what) => {
    // One after the other: each begins from what the one before has stored.
    const mine = tail
      .then(() => merge(what))
      .catch((cause: unknown): Unkept => ({ why: Fault.from(cause).message, full: false }))
    tail = mine
    return mine
  }
}

/** On every TrustDomain, with a field manager of its own, so that people see it; an Event keeps the moment. */
function tell(
  { watch, events, ports, transport, signal }: RecallingNeeds,
  pod: string,
  generation: number,
): void {
  const message = `the fleet knew more than the database (first told by ${pod}, generation ${generation}): it was restored to an older state; what sidecars held was taken back`
  for (const { parsed } of watch.kinds.TrustDomain.store.list()) {
    const { name, uid, generation: observed } = parsed.metadata
    const condition = {
      type: ROLLED_BACK,
      status: 'True' as const,
      reason: 'Relearned',
      message,
      observedGeneration: observed,
    }
    const conditions = setCondition([], condition, ports.now())
    const intent = {
      resource: resourceOf('TrustDomain'),
      metadata: { name, uid },
      fields: { status: { conditions } },
      manager: ROLLBACK_MANAGER,
      force: true,
    }
    applyStatus(transport, intent, signal).catch((cause: unknown) =>
      ports.report('status_not_written', {
        kind: 'TrustDomain',
        object: name,
        problem: Fault.from(cause).message,
      }),
    )
    events.tell({
      regarding: { apiVersion: API_VERSION, kind: 'TrustDomain', name, uid },
      type: 'Warning',
      reason: ROLLED_BACK,
      action: 'Relearn',
      note: message,
    })
  }
  ports.report('state_rolled_back', { pod, generation })
}
