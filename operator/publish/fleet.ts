import {
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import {
  AppendOutcome,
  type AppendRequest,
  type AppendResponse,
  FleetService,
  type RefreshKeysRequest,
  type RefreshKeysResponse,
  type ReportShardRequest,
  type ReportShardResponse,
  type SidecarState,
} from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { Clocks, Report } from '../ports.ts'
import { joinStates } from './aggregate.ts'
import { isOperator, type PeerOf } from './peer.ts'
import type { RefreshKeys } from './refresh.ts'
import type { AppendRevocations } from './revokes.ts'

/** How far a replica's knowledge reaches. */
export interface Position {
  readonly revocationHead: number
  readonly generation: number
}

/** A unary method as the generated code describes it. */
export interface Method<Q, A> {
  readonly path: string
  readonly requestSerialize: (request: Q) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => A
}

export interface FleetPorts extends Pick<Clocks, 'monotonic' | 'sleep'> {
  readonly report: Report
  readonly leads: () => boolean
  /** Calls the replica that leads now. Rejects when there is none, or with its refusal. */
  readonly callLeader: <Q, A>(method: Method<Q, A>, request: Q, signal: AbortSignal) => Promise<A>
  /** On the leader: fetches the keys of a TokenIssuer itself. */
  readonly fetchKeys: RefreshKeys
  /** On the leader: appends to the log itself. */
  readonly append: AppendRevocations
  /** What this replica's own sidecars have acknowledged, and a number that grows with it. */
  readonly own: () => readonly SidecarState[]
  readonly revision: () => number
  readonly position: () => Position
}

export interface Fleet {
  /** Of `portcullis.fleet.v1.Fleet`; for replicas of `control` only. */
  service(peerOf: PeerOf): {
    readonly definition: ServiceDefinition
    readonly implementation: UntypedServiceImplementation
  }
  /** Reports to whoever leads, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** What all replicas know of the fleet, by UID. Complete on the leader only. */
  states(): ReadonlyMap<string, SidecarState>
  /** Whether another replica knows of later revocations. Then this one may not vouch. */
  behind(): boolean
  readonly refreshKeys: RefreshKeys
  readonly append: AppendRevocations
}

const TICK_MS = 250
const REPORT_MS = 5_000
/** A replica that was silent for so long has nothing to say about the present. */
const FRESH_MS = 15_000
const FORGOTTEN_MS = 10 * 60_000
const REPLICAS = 64
const SIDECARS = 10_000

interface Shard extends Position {
  readonly sidecars: readonly SidecarState[]
  readonly at: number
}

export function createFleet(trustDomain: string, replica: string, ports: FleetPorts): Fleet {
  const shards = new Map<string, Shard>()
  let leader: (Position & { readonly at: number }) | undefined

  const refreshKeys: RefreshKeys = (issuer, kid, signal) =>
    ports.leads()
      ? ports.fetchKeys(issuer, kid, signal)
      : ports.callLeader(FleetService.refreshKeys, { issuer, kid }, signal)

  return {
    refreshKeys,
    append: (request, signal) =>
      ports.leads() ? ports.append(request, signal) : ports.callLeader(FleetService.append, request, signal),
    service: (peerOf) => ({
      definition: FleetService as unknown as ServiceDefinition,
      implementation: services({ trustDomain, peerOf, ports, shards }),
    }),
    states: () => joinStates([ports.own(), ...[...shards.values()].map(({ sidecars }) => sidecars)]),
    behind() {
      const at = ports.monotonic()
      const others = [...shards.values(), ...(leader ? [leader] : [])]
      const { revocationHead } = ports.position()
      return others.some((one) => at - one.at < FRESH_MS && one.revocationHead > revocationHead)
    },
    async run(signal) {
      let reported = { revision: -1, at: Number.NEGATIVE_INFINITY }
      while (!signal.aborted) {
        await ports.sleep(TICK_MS, signal).catch(() => undefined)
        const at = ports.monotonic()
        const revision = ports.revision()
        const due = revision !== reported.revision || at - reported.at >= REPORT_MS
        if (signal.aborted || ports.leads() || !due) continue
        // Before the call: what changes meanwhile is reported next, and a leader that is away is not asked four times a second.
        reported = { revision, at }
        const request = { replica, sidecars: [...ports.own().slice(0, SIDECARS)], ...ports.position() }
        await ports.callLeader(FleetService.reportShard, request, signal).then(
          (position) => {
            leader = { ...position, at }
          },
          (cause) => {
            if (!signal.aborted) ports.report('shard_not_reported', { problem: messageOf(cause) })
          },
        )
      }
    },
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : 'unknown'
}

interface Serving {
  readonly trustDomain: string
  readonly peerOf: PeerOf
  readonly ports: FleetPorts
  readonly shards: Map<string, Shard>
}

function services({ trustDomain, peerOf, ports, shards }: Serving): UntypedServiceImplementation {
  /** Identity of the replica that calls, or its refusal. */
  const caller = (
    call: Parameters<PeerOf>[0],
  ): string | { readonly code: status; readonly details: string } => {
    const peer = peerOf(call)
    if (!peer || !isOperator(peer.id, trustDomain))
      return { code: status.PERMISSION_DENIED, details: 'not a replica of the operator' }
    if (!ports.leads()) return { code: status.FAILED_PRECONDITION, details: 'this replica does not lead' }
    return peer.id.uri
  }
  return {
    reportShard(
      call: ServerUnaryCall<ReportShardRequest, ReportShardResponse>,
      reply: sendUnaryData<ReportShardResponse>,
    ) {
      const id = caller(call)
      if (typeof id !== 'string') return reply(id)
      const { sidecars, revocationHead, generation } = call.request
      const at = ports.monotonic()
      for (const [name, shard] of shards) if (at - shard.at > FORGOTTEN_MS) shards.delete(name)
      if (sidecars.length > SIDECARS || (!shards.has(id) && shards.size >= REPLICAS))
        return reply({ code: status.RESOURCE_EXHAUSTED, details: 'more than the leader keeps' })
      shards.set(id, { sidecars, revocationHead, generation, at })
      reply(null, ports.position())
    },
    refreshKeys(
      call: ServerUnaryCall<RefreshKeysRequest, RefreshKeysResponse>,
      reply: sendUnaryData<RefreshKeysResponse>,
    ) {
      const id = caller(call)
      if (typeof id !== 'string') return reply(id)
      const { issuer, kid } = call.request
      const cancelled = new AbortController()
      call.on('cancelled', () => cancelled.abort())
      ports.fetchKeys(issuer, kid.slice(0, 256), cancelled.signal).then(
        (refreshed) => reply(null, refreshed),
        () => reply(null, { fetched: false, sha256: '' }),
      )
    },
    append(call: ServerUnaryCall<AppendRequest, AppendResponse>, reply: sendUnaryData<AppendResponse>) {
      const id = caller(call)
      if (typeof id !== 'string') return reply(id)
      const cancelled = new AbortController()
      call.on('cancelled', () => cancelled.abort())
      ports.append(call.request, cancelled.signal).then(
        (answer) => reply(null, answer),
        () => reply(null, { outcome: AppendOutcome.APPEND_OUTCOME_UNAVAILABLE, why: 'it broke' }),
      )
    },
  }
}
