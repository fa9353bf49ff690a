import { type ServiceDefinition, status, type UntypedServiceImplementation } from '@grpc/grpc-js'
import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { createAcks } from './acks.ts'
import { type Attached, admit, type Call, type Floor } from './admission.ts'
import { createBroadcast } from './broadcast.ts'
import { createCanaryWatch } from './canary-watch.ts'
import type { PeerOf } from './peer.ts'
import { sourcesOf } from './recall.ts'
import { createRefresher } from './refresh.ts'
import type { PublisherConfig, PublisherPorts } from './settings.ts'
import { encode, RAW_FEED } from './wire.ts'
import type { World } from './world.ts'

export interface Publisher {
  /** What is true from now on. A world older than the present one is not taken: false, and the database was rolled back. */
  update(world: World): boolean
  service(peerOf: PeerOf): {
    readonly definition: ServiceDefinition
    readonly implementation: UntypedServiceImplementation
  }
  /** Heartbeats, debouncing, time limits. Resolves when the signal aborts and every stream was told to go elsewhere. */
  run(signal: AbortSignal): Promise<void>
  /** What the sidecars of this replica have acknowledged. */
  states(): readonly SidecarState[]
  /** Grows whenever `states` has news. */
  revision(): number
  status(): PublisherStatus
}

export interface PublisherStatus {
  readonly streams: number
  /** Sidecars that are being asked what the operator forgot. Who believes one of their issuers is not vouched for meanwhile. */
  readonly recalling: number
  readonly revocationHead: number
  readonly generation: number
  /** Keys of projections whose newest content this replica cannot serve: not numbered, or files missing. Lasting, a fault. */
  readonly unserved: readonly string[]
}

const TICK_MS = 50
const BATCH = 200

/** Serves `portcullis.feed.v1.Feed` from the world it is told. Opens nothing; `run` keeps its time. */
export function createPublisher(config: PublisherConfig, ports: PublisherPorts): Publisher {
  const acks = createAcks()
  const broadcast = createBroadcast(config.debounceMs, ports.monotonic)
  const closing = new AbortController()
  const floor: Floor = {
    config,
    ports,
    acks,
    broadcast,
    canary: createCanaryWatch(ports.now, ports.propagated),
    sessions: new Map(),
    recalling: new Set(),
    askedAt: new Map(),
    open: new Map(),
    ask: createRefresher(ports.refreshKeys, closing.signal),
    closing: closing.signal,
  }
  return {
    update(world) {
      if (!broadcast.take(world)) return false
      acks.settle(world.pods)
      floor.canary.published(world.log, floor.sessions.keys())
      for (const [uid, { session }] of floor.sessions) {
        if (!world.pods.has(uid)) session.end(status.PERMISSION_DENIED, 'this pod is no more')
      }
      for (const uid of floor.askedAt.keys()) if (!world.pods.has(uid)) floor.askedAt.delete(uid)
      return true
    },
    service: (peerOf) => ({
      definition: RAW_FEED,
      implementation: { subscribe: (call: Call) => admit(floor, call, peerOf) },
    }),
    async run(signal) {
      await keepTime(floor, signal)
      closing.abort()
      for (const { session } of [...floor.sessions.values()]) {
        session.end(status.UNAVAILABLE, 'this replica is going; connect again')
      }
    },
    states: acks.states,
    revision: acks.revision,
    status: () => ({
      streams: floor.sessions.size,
      recalling: floor.recalling.size,
      revocationHead: broadcast.world()?.log.head ?? 0,
      generation: broadcast.world()?.table.counter ?? 0,
      unserved: broadcast.unserved(),
    }),
  }
}

/** The one loop: rings at once when something changed, ticks otherwise. */
async function keepTime(floor: Floor, signal: AbortSignal): Promise<void> {
  const { broadcast, ports } = floor
  while (!signal.aborted) {
    await Promise.race([broadcast.rung(), ports.sleep(TICK_MS, signal)]).catch(() => undefined)
    if (!signal.aborted && broadcast.freshen()) await wakeAll(floor, signal)
    if (!signal.aborted) beatDue(floor)
  }
}

/**
 * Wakes every stream, some at a time: thousands of them must not keep the process from hearing anybody, nor delay a heartbeat. What
 * changes meanwhile (a revocation during a large change of policy) begins another round where this one stands, so that it waits for
 * nobody and everybody is reached.
 */
async function wakeAll(floor: Floor, signal: AbortSignal): Promise<void> {
  const all = [...floor.sessions.values()]
  let left = all.length
  for (let next = 0; left > 0 && !signal.aborted; left--, next++) {
    all[next % all.length]?.session.wake()
    if (next % BATCH !== BATCH - 1) continue
    await floor.ports.sleep(0, signal).catch(() => undefined)
    beatDue(floor)
    if (floor.broadcast.freshen()) left = all.length + 1
  }
}

function beatDue(floor: Floor): void {
  const at = floor.ports.monotonic()
  const due = [...floor.sessions.values()].filter(({ beatAt }) => beatAt <= at)
  const beat = due.length > 0 && vouches(floor) ? heartbeat(floor) : undefined
  const doubts = beat ? doubted(floor) : NONE
  for (const attached of due) {
    // From beat to beat, so that ticks do not stretch the period; anew when this process was late.
    const next = attached.beatAt + floor.config.heartbeatMs
    attached.beatAt = next > at ? next : at + floor.config.heartbeatMs
    attached.session.check()
    if (beat && (doubts.size === 0 || unconcerned(floor, attached, doubts))) attached.session.beat(beat)
  }
}

function vouches({ ports, broadcast }: Floor): boolean {
  return broadcast.world() !== undefined && ports.mayVouch()
}

const NONE: ReadonlySet<string> = new Set()

/** TokenIssuers about which we may have forgotten something: all that those who are asked, or whose answer is not stored, may speak of. */
function doubted({ recalling, ports, broadcast }: Floor): ReadonlySet<string> {
  if (recalling.size === 0) return ports.doubted()
  const asked = [...recalling].flatMap((uid) => sourcesOf(broadcast.world(), uid))
  return new Set([...ports.doubted(), ...asked])
}

/** Whether a sidecar believes none of them, now and once it has what it is to have; one of which that is not known may. */
function unconcerned({ broadcast }: Floor, { uid, session }: Attached, doubts: ReadonlySet<string>): boolean {
  const believed = session.believes()
  return (
    believed !== undefined &&
    doubts.isDisjointFrom(new Set([uid, ...believed, ...sourcesOf(broadcast.world(), uid)]))
  )
}

function heartbeat({ broadcast, ports }: Floor): Buffer {
  const revocationHead = broadcast.world()?.log.head ?? 0
  return encode({ $case: 'heartbeat', heartbeat: { revocationHead, atMs: ports.now() } })
}
