import { AppendOutcome } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { Config } from '../config.ts'
import { openPresences, type Presences } from '../kube/presence.ts'
import { type MeshServer, openMeshServer } from '../mesh/server.ts'
import { createPublisher, type Publisher } from '../publish/publisher.ts'
import type { RefreshKeys } from '../publish/refresh.ts'
import { PUBLISHER_DEFAULTS } from '../publish/settings.ts'
import { createBell } from './bell.ts'
import { createFleetLink, type FleetLink } from './fleet-link.ts'
import { type ControlPorts, type Ground, PRESENCE } from './ground.ts'
import type { Issuing } from './issuing.ts'
import { createRecalling } from './recalling.ts'
import { createRelearning } from './relearning.ts'
import type { Views } from './view.ts'
import { createVouching } from './vouching.ts'

const REFRESH_MS = 1_000
const GATHER_MS = 5

const MESH_LIMITS = {
  connections: 8_000,
  streams: 64,
  requestBytes: 4 * 1024 * 1024,
  // The largest snapshot that a projection may come to, with room.
  responseBytes: 12 * 1024 * 1024,
  connectionAgeMs: 60 * 60_000,
  connectionGraceMs: 60_000,
}

/** Everything that is served over the mesh. */
export interface Air {
  readonly publisher: Publisher
  readonly link: FleetLink
  readonly mesh: MeshServer
  readonly presences: Presences
  /** Looks at everything again and publishes it. */
  refresh(): void
}

interface AirNeeds {
  readonly ground: Ground
  readonly issuing: Issuing
  readonly stack: AsyncDisposableStack
  readonly signal: AbortSignal
}

export async function openAir(
  config: Config,
  ports: ControlPorts,
  { ground, issuing, stack, signal }: AirNeeds,
): Promise<Air> {
  const { transport, views, desk, trust, leads } = ground
  const { identity } = issuing
  const presences = stack.use(
    await openPresences(transport, { namespace: config.namespace, prefix: PRESENCE }, ports),
  )
  const vouching = createVouching(views, ground.logs.limits, ports.monotonic)
  const fetchKeys: RefreshKeys = (key, _kid, one) =>
    desk.keys?.refresh(key, one) ?? Promise.resolve({ fetched: false, sha256: '' })
  const link = stack.use(
    createFleetLink({
      config,
      ports,
      identity,
      trust,
      presences,
      leads,
      fetchKeys,
      append: async (request, one) =>
        (await desk.appending?.append(request, one)) ?? {
          outcome: AppendOutcome.APPEND_OUTCOME_UNAVAILABLE,
          why: 'this replica does not lead',
        },
      publisher: () => publisher,
    }),
  )
  const merge = createRecalling({ ...ground, ports, signal, update: () => refresh() })
  const relearning = createRelearning({
    views,
    merge,
    pod: config.pod,
    namespace: config.namespace,
    report: ports.report,
  })
  let behind = false
  const refresh = (): void => {
    relearning.look(ports.now())
    const { world } = views.current()
    // Refused: older than what was published. The view has noticed that, too, and is told when it was taken back.
    behind = world !== undefined && !publisher.update(world)
  }
  const publisher: Publisher = createPublisher(
    { ...PUBLISHER_DEFAULTS, trustDomain: config.trustDomain },
    {
      ...ports,
      mayVouch: () => !behind && !relearning.owing() && vouching.may(ports.now()) && !link.fleet.behind(),
      refreshKeys: link.fleet.refreshKeys,
      recalled: relearning.recalled,
      doubted: relearning.doubted,
      append: link.fleet.append,
      propagated: (seconds) => ports.record.observe('revocation_propagation_seconds', {}, seconds),
    },
  )
  desk.publisher = publisher
  refresh()
  const mesh = stack.use(
    await openMeshServer({
      listen: { host: '0.0.0.0', port: config.ports.feed },
      services: (peerOf) => [publisher.service(peerOf), link.fleet.service(peerOf)],
      identity,
      trust,
      clientCertificate: 'required',
      limits: MESH_LIMITS,
      now: ports.now,
      sleep: ports.sleep,
      refused: (why) =>
        ports.record.add('portcullis_mesh_refused_total', { why: why.split(':', 1)[0] ?? '' }),
    }),
  )
  return { publisher, link, mesh, presences, refresh }
}

interface Gathering {
  ring(): void
  run(): Promise<void>
}

/** What changes together is looked at once: a moment after the first change, which no revocation notices. */
export function createGathering(
  refresh: () => void,
  { sleep }: ControlPorts,
  signal: AbortSignal,
): Gathering {
  const bell = createBell(sleep)
  return {
    ring: bell.ring,
    async run() {
      while (!signal.aborted) {
        await bell.rung(REFRESH_MS, signal)
        if (signal.aborted) return
        await sleep(GATHER_MS, signal).catch(() => undefined)
        refresh()
      }
    },
  }
}

interface Measured {
  readonly publisher: Publisher
  readonly views: Views
  readonly ports: ControlPorts
  readonly signal: AbortSignal
}

export async function measure({ publisher, views, ports, signal }: Measured): Promise<void> {
  while (!signal.aborted) {
    const { streams, revocationHead, generation, recalling } = publisher.status()
    const { record } = ports
    record.set('portcullis_streams', {}, streams)
    record.set('portcullis_revocation_head', {}, revocationHead)
    record.set('portcullis_trust_generation', {}, generation)
    record.set('portcullis_recalling', {}, recalling)
    record.set(
      'portcullis_nacks',
      {},
      publisher.states().filter(({ problems }) => problems.length > 0).length,
    )
    const { cluster } = views.current()
    for (const [issuer, { notAfterMs }] of cluster.keySets) {
      if (notAfterMs > 0) record.set('portcullis_jwks_not_after_seconds', { issuer }, notAfterMs / 1000)
    }
    for (const [name, profile] of cluster.profiles) {
      record.set('portcullis_sidecars_missing', { profile: name }, profile.status?.pods?.missing ?? 0)
    }
    await ports.sleep(REFRESH_MS, signal).catch(() => undefined)
  }
}
