import type { AdminView } from '../../contracts/admin.ts'
import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { X509Trust } from '../../contracts/spiffe.ts'
import type { Config } from '../config.ts'
import type { Compile } from '../gather/compile.ts'
import type { FetchVersion } from '../gather/jwks.ts'
import type { CertificateMaker } from '../inject/certificates.ts'
import type { Facts } from '../inject/sidecar.ts'
import { type Events, openEvents } from '../kube/events.ts'
import type { Leadership } from '../kube/leadership.ts'
import { PRESENCE_TIMES, type PresenceOptions } from '../kube/presence.ts'
import { type KubePorts, openTransport, type Transport } from '../kube/transport.ts'
import { TRUST_BUNDLE_NAME } from '../ledger/facts.ts'
import { type OpenLedger, openLedger } from '../ledger/ledger.ts'
import { createSegmentStore, type OpenLogStore } from '../ledger/log-store.ts'
import { type MeshIdentity, pemOf } from '../mesh/identity.ts'
import { createLive, type Live, type Source } from '../mesh/live.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Metrics } from '../record/metrics.ts'
import type { Appending } from './appending.ts'
import { type ClusterWatch, openClusterWatch } from './cluster-watch.ts'
import { LEADING, POD_IP } from './fleet-link.ts'
import type { HookNeeds } from './hooks.ts'
import type { KeyKeeping } from './keys.ts'
import { createSharedLog } from './redis.ts'
import { FLEET_SEQUENCE, TRUST_SEQUENCE } from './verifying.ts'
import { createViews, type Views } from './view.ts'

export interface ControlPorts extends KubePorts {
  readonly fetch: FetchVersion
  readonly compile: Compile
  readonly maker: CertificateMaker
  readonly record: Metrics
}

/** Names the group of presence leases of the replicas. */
export const PRESENCE = 'portcullis-presence'

/** What this replica does now that others ask for: set while it runs. */
export interface Desk {
  leadership: Leadership | undefined
  publisher: Publisher | undefined
  keys: KeyKeeping | undefined
  appending: Appending | undefined
  /** Our own SVID. */
  identity: Live<MeshIdentity> | undefined
}

export interface Ground {
  readonly config: Config
  readonly transport: Transport
  readonly ledger: OpenLedger
  readonly logs: OpenLogStore
  /** Keeps up with the log where it lies in Redis, until the signal aborts. */
  readonly keepUp: (signal: AbortSignal) => Promise<void>
  /** Why the revocation log cannot be read from there now; empty when it can. */
  readonly logProblem: () => string
  readonly watch: ClusterWatch
  readonly events: Events
  readonly views: Views
  readonly trust: Source<X509Trust>
  readonly desk: Desk
  /** What keeps this replica from being ready, by subject. */
  readonly causes: Map<string, () => string | undefined>
  leads(): boolean
  facts(): Facts
}

export async function openGround(
  config: Config,
  ports: ControlPorts,
  stack: AsyncDisposableStack,
): Promise<Ground> {
  const { namespace, trustDomain, pod } = config
  const transport = stack.use(await openTransport(config.kubeconfig, ports))
  const ledger = stack.use(await openLedger(transport, namespace, ports))
  const watch = stack.use(await openClusterWatch(transport, ports))
  const about = { controller: 'portcullis.dev/control', instance: pod.name, namespace }
  const events = stack.use(await openEvents(transport, about, ports))
  const desk: Desk = {
    leadership: undefined,
    publisher: undefined,
    keys: undefined,
    appending: undefined,
    identity: undefined,
  }
  const shared =
    config.redis &&
    createSharedLog(config.redis, { ...ports, ledger, trustDomain, identity: () => desk.identity?.current() })
  const logs = shared?.logs ?? createSegmentStore(ledger)
  const views = createViews({ watch, ledger, logs, report: ports.report })
  const causes = new Map<string, () => string | undefined>([
    ['mirrors', () => 'the mirrors of the API server are not complete yet'],
    ['trust', () => `there is no trust bundle yet (ConfigMap ${TRUST_BUNDLE_NAME}, written by the issuer)`],
    ['identity', () => 'the issuer has not issued our identity yet'],
  ])
  return {
    config,
    transport,
    ledger,
    logs,
    keepUp: async (signal) => shared?.run(signal),
    logProblem: () => shared?.logs.problem() ?? '',
    watch,
    events,
    views,
    desk,
    causes,
    trust: createLive<X509Trust>({ trustDomain, roots: [] }),
    leads: () => desk.leadership?.term() !== undefined,
    facts: () => ({
      systemNamespace: namespace,
      trustDomain,
      trustAnchors: (views.current().trustBundle?.x509Roots ?? []).map(pemOf),
    }),
  }
}

export function hookNeeds(
  config: Config,
  ports: ControlPorts,
  { transport, watch, facts, leads }: Ground,
): HookNeeds {
  return {
    transport,
    watch,
    ports,
    facts,
    leads,
    namespace: config.namespace,
    port: config.ports.webhook,
    profile: config.profile,
    maker: ports.maker,
    observe: (path, status, seconds) => {
      ports.record.add('controller_runtime_webhook_requests_total', { webhook: path, code: String(status) })
      ports.record.observe('controller_runtime_webhook_latency_seconds', { webhook: path }, seconds)
    },
    notAfter: (seconds) => ports.record.set('portcullis_webhook_cert_not_after_seconds', {}, seconds),
  }
}

export function adminView(
  { causes, ledger, desk, leads, logProblem }: Ground,
  { record }: ControlPorts,
): AdminView {
  return {
    notReadyBecause: () => [...causes.values()].flatMap((cause) => cause() ?? []),
    remarks: () => [
      ...[logProblem()].filter((problem) => problem !== ''),
      ...[...ledger.problems()].map(([name, problem]) => `${name}: ${problem}`),
      ...(desk.publisher?.status().unserved ?? []).map(
        (key) => `projection ${key}: its newest content is not served here`,
      ),
    ],
    facts: () => {
      const { unserved = [], ...counts } = desk.publisher?.status() ?? {}
      return { ...counts, unserved: unserved.length, leading: Number(leads()) }
    },
    metrics: () => record.text(),
    metricsType: record.contentType,
  }
}

export function presenceOf({ namespace, pod }: Config, { leads, views, desk }: Ground): PresenceOptions {
  return {
    ...PRESENCE_TIMES,
    namespace,
    prefix: PRESENCE,
    pod: pod.name,
    identity: `${pod.name}_${pod.uid}`,
    annotations: () => ({
      [POD_IP]: pod.ip,
      [LEADING]: String(leads()),
      [TRUST_SEQUENCE]: String(views.current().trustBundle?.sequence ?? 0),
      [FLEET_SEQUENCE]: String(
        Math.max(0, ...(desk.publisher?.states() ?? []).map((one) => one.trustSequence)),
      ),
    }),
  }
}

/** Calls back with every trust bundle that the ledger holds from now on, the present one first. */
export function follow(ledger: OpenLedger, take: (bundle: TrustBundle) => void): void {
  let seen = 0
  const look = (): void => {
    const bundle = ledger.facts('trust-bundle').get(TRUST_BUNDLE_NAME)?.bundle
    if (!bundle || bundle.sequence <= seen) return
    seen = bundle.sequence
    take(bundle)
  }
  ledger.subscribe((kind) => {
    if (kind === 'trust-bundle') look()
  })
  look()
}

export async function untilTrusted(
  trust: { current(): X509Trust },
  { sleep }: ControlPorts,
  signal: AbortSignal,
): Promise<void> {
  while (trust.current().roots.length === 0) await sleep(100, signal)
}
