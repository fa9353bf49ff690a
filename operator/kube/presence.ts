import { formatMicroTime } from '../../contracts/time.ts'
import { Fault } from '../ports.ts'
import { apply } from './apply.ts'
import { type LeaseRecord, parseLease } from './lease-object.ts'
import { type KubeObject, keyOf, type OwnerReference } from './resource.ts'
import { LEASES } from './resources.ts'
import type { KubePorts, Transport } from './transport.ts'
import { remove } from './verbs.ts'
import { openWatch } from './watch.ts'

/** Names the group of presences, as a label on their leases. */
export const PRESENCE_LABEL = 'portcullis.dev/presence'
/** Names the pod, as an annotation. */
const POD_ANNOTATION = 'portcullis.dev/pod'
const MANAGER = 'portcullis-presence'

/** Milliseconds. A presence lives three renewals long. */
export const PRESENCE_TIMES = { renewMs: 5_000, durationMs: 15_000 } as const
export interface PresenceTimes {
  readonly renewMs: number
  readonly durationMs: number
}

export interface PresenceOptions extends PresenceTimes {
  readonly namespace: string
  /** The lease is called `<prefix>-<pod>`. */
  readonly prefix: string
  readonly pod: string
  /** Differs between two processes of one pod. */
  readonly identity: string
  /** What this replica tells the others, asked for at every renewal. Values of a few hundred bytes. */
  readonly annotations: () => Readonly<Record<string, string>>
  /** The pod: whoever deletes it deletes the lease. */
  readonly owner?: OwnerReference
}

export interface OwnPresence extends AsyncDisposable {
  /** Tells the others now instead of at the next renewal. */
  renew(): void
}

/** Says every few seconds that this replica is there, and what it has to say. Disposing says that it is gone. */
export async function openPresence(
  transport: Transport,
  options: PresenceOptions,
  ports: KubePorts,
): Promise<OwnPresence> {
  const closing = new AbortController()
  const since = ports.now()
  let next = new AbortController()
  const run = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      next = new AbortController()
      try {
        const applied = await apply(transport, intentOf(options, since, ports.now()), closing.signal)
        if (!applied.ok) throw new Fault('api', `${applied.refused.status} ${applied.refused.message}`)
      } catch (cause) {
        if (!closing.signal.aborted)
          ports.report('presence_failed', { pod: options.pod, detail: Fault.from(cause).message })
      }
      const woken = AbortSignal.any([closing.signal, next.signal])
      await ports.sleep(options.renewMs * (1 - ports.random() / 10), woken).catch(() => undefined)
    }
  }
  const running = run()
  return {
    renew: () => next.abort(),
    async [Symbol.asyncDispose]() {
      closing.abort()
      await running
      const { namespace } = options
      const place = { resource: LEASES, namespace, name: leaseName(options) }
      await remove(transport, place, {}, AbortSignal.timeout(options.renewMs)).catch((cause: unknown) =>
        ports.report('presence_failed', { pod: options.pod, detail: Fault.from(cause).message }),
      )
    },
  }
}

function leaseName({ prefix, pod }: Pick<PresenceOptions, 'prefix' | 'pod'>): string {
  return `${prefix}-${pod}`
}

function intentOf(options: PresenceOptions, since: number, now: number) {
  const { namespace, prefix, pod, identity, durationMs, owner, annotations } = options
  return {
    resource: LEASES,
    metadata: {
      name: leaseName(options),
      namespace,
      labels: { [PRESENCE_LABEL]: prefix },
      annotations: { ...annotations(), [POD_ANNOTATION]: pod },
      ...(owner ? { ownerReferences: [owner] } : {}),
    },
    fields: {
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(durationMs / 1_000),
        acquireTime: formatMicroTime(since),
        renewTime: formatMicroTime(now),
      },
    },
    manager: MANAGER,
    // The lease carries our name; nobody else has a say in it.
    force: true,
  }
}

/** A replica that was heard of lately. */
export interface Presence {
  readonly pod: string
  readonly identity: string
  readonly annotations: Readonly<Record<string, string>>
}

export interface Presences extends AsyncDisposable {
  /** Who lives now, ourselves included. */
  live(): readonly Presence[]
  whenSynced(signal: AbortSignal): Promise<void>
  /** Called when a replica appears, says something else, or goes. Not called when one falls silent: ask `live`. */
  subscribe(changed: () => void): () => void
}

/** A lease that was renewed longer ago than this plus its duration, by two clocks that need not agree, is a dead one at first sight. */
const SKEW_MS = 60_000

/**
 * Watches who is there. A replica lives until its lease has not changed for its duration by our own monotonic clock, however wrong
 * its wall clock is.
 */
export async function openPresences(
  transport: Transport,
  { namespace, prefix }: Pick<PresenceOptions, 'namespace' | 'prefix'>,
  ports: KubePorts,
): Promise<Presences> {
  const heardAt = new Map<string, number>()
  const watched = await openWatch<Heard>(
    transport,
    {
      place: { resource: LEASES, namespace },
      labelSelector: `${PRESENCE_LABEL}=${prefix}`,
      transform: (object) => ({ metadata: object.metadata, lease: parseLease(object) }),
    },
    ports,
  )
  watched.subscribe((type, key, { lease }, old) => {
    if (type === 'removed') heardAt.delete(key)
    else if (old ? old.lease.renewTime !== lease.renewTime : isFresh(lease, ports.now()))
      heardAt.set(key, ports.monotonic())
  })
  const isLive = ({ metadata, lease }: Heard): boolean => {
    const at = heardAt.get(keyOf({ metadata }))
    return at !== undefined && ports.monotonic() < at + lease.durationMs
  }
  return {
    live: () => watched.store.list().filter(isLive).map(presenceOf),
    whenSynced: watched.whenSynced,
    subscribe: (changed) =>
      watched.subscribe((type, _, now, old) => {
        if (type !== 'changed' || !old || saysElse(now, old)) changed()
      }),
    [Symbol.asyncDispose]: () => watched[Symbol.asyncDispose](),
  }
}

interface Heard extends KubeObject {
  readonly lease: LeaseRecord
}

function isFresh({ renewedAt, durationMs }: LeaseRecord, now: number): boolean {
  return renewedAt !== undefined && now - renewedAt < durationMs + SKEW_MS
}

function presenceOf({ lease, metadata }: Heard): Presence {
  const { [POD_ANNOTATION]: pod = '', ...annotations } = metadata.annotations ?? {}
  return { pod, identity: lease.holder, annotations }
}

function saysElse(now: Heard, old: Heard): boolean {
  return (
    now.lease.holder !== old.lease.holder ||
    JSON.stringify(now.metadata.annotations) !== JSON.stringify(old.metadata.annotations)
  )
}
