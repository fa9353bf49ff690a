import { proveCsr } from '../../contracts/csr.ts'
import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { X509Trust } from '../../contracts/spiffe.ts'
import { createBuckets } from '../buckets.ts'
import { fenced, LEASE_TIMES, openLeadership, type Term } from '../kube/leadership.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import { createLive, type Live } from '../mesh/live.ts'
import { openOwnSvid } from '../mesh/own-svid.ts'
import { type MeshLimits, openMeshServer } from '../mesh/server.ts'
import { Fault } from '../ports.ts'
import { type Authority, createAuthority, type KeyReading } from './authority.ts'
import type { BundleRules } from './bundle.ts'
import { type DueRotation, dueRotations } from './expiry.ts'
import { createIssue, type IssueNeeds, type Lifetimes } from './issue.ts'
import { type KeeperNeeds, keepKeys, readKeys } from './key-keeper.ts'
import type { KeyRules } from './keys.ts'
import { kubeCabinet } from './kube-cabinet.ts'
import { kubeRegistry } from './kube-registry.ts'
import { collectPins } from './pin.ts'
import type { Entropy, Pod } from './ports.ts'
import { type IssueRecord, issuerServices } from './service.ts'

export interface IssuerOptions {
  readonly trustDomain: string
  /** Of projected tokens: `portcullis.dev/<trust domain>`. */
  readonly audience: string
  readonly systemNamespace: string
  readonly replica: {
    readonly pod: string
    readonly podUid: string /** Of this process. */
    readonly identity: string
  }
  readonly listen: { readonly host: string; readonly port: number }
  readonly limits: MeshLimits
  /** From the TrustDomain, as it is now. */
  readonly rules: () => KeyRules & BundleRules & Lifetimes
  readonly sidecarOf: (pod: Pod) => string | undefined
  readonly grants: IssueNeeds['grants']
  /** What the leader works on, and where it says how far it is. */
  readonly rotation: Pick<KeeperNeeds, 'rotations' | 'verifiers' | 'fleetSequence' | 'record'> & {
    /** Creates the KeyRotation of this name unless it is there: a key nears its end. */
    readonly request?: (due: DueRotation, signal: AbortSignal) => Promise<void>
  }
  readonly record: IssueRecord & { refused(why: string): void; pinsCollected(count: number): void }
}

export interface RunningIssuer extends AsyncDisposable {
  readonly port: number
  /** The bundle that is stored, as this replica last read it. */
  readonly bundle: Live<TrustBundle>
  /** The keys were read recently enough to sign. */
  ready(): boolean
  leading(): boolean
  drain(graceMs: number, signal: AbortSignal): Promise<void>
}

const LEASE = 'portcullis-issuer'
/** How often each replica reads the keys: within it a revoked key stops signing everywhere. */
const READ_MS = 5_000
const KEEP_MS = 2_000
const COLLECT_MS = 60_000
const PER_POD = { burst: 40, perSecond: 2 }
const PER_NODE = { burst: 300, perSecond: 50 }

/** Everything of one issuer replica: reads keys, leads if elected, has an SVID of its own, and serves. Rejects when it cannot begin. */
export async function runIssuer(
  options: IssuerOptions,
  transport: Transport,
  ports: KubePorts & { readonly entropy: Entropy },
  signal: AbortSignal,
): Promise<RunningIssuer> {
  await using stack = new AsyncDisposableStack()
  const closing = new AbortController()
  const running = AbortSignal.any([signal, closing.signal])
  const leadership = stack.use(
    await openLeadership(
      transport,
      { namespace: options.systemNamespace, name: LEASE, identity: options.replica.identity, ...LEASE_TIMES },
      (term) => lead(options, transport, ports, term),
      ports,
    ),
  )
  const reader = stack.use(await openReader(options, transport, ports, running))
  const needs = { reading: reader.reading, replica: options.replica.pod, ...ports }
  const authority = createAuthority(needs)
  const trust = trustOf(reader.bundle)
  const own = stack.use(await openOwn(options, authority, { ...ports, trust }, running))
  const rules = () => ({ ...options, ...options.rules(), perPod, perNode })
  const [perPod, perNode] = [
    createBuckets(PER_POD, ports.monotonic),
    createBuckets(PER_NODE, ports.monotonic),
  ]
  const registry = kubeRegistry(transport, options.systemNamespace)
  const issue = createIssue({ authority, registry, rules, grants: options.grants, now: ports.now })
  const { record, trustDomain, limits, listen } = options
  const server = stack.use(
    await openMeshServer({
      listen,
      limits,
      services: (peerOf) => issuerServices({ issue, authority, record, trustDomain }, peerOf),
      identity: own,
      trust,
      clientCertificate: 'optional',
      refused: record.refused,
      ...ports,
    }),
  )
  const held = stack.move()
  return {
    port: server.port,
    bundle: reader.bundle,
    ready: reader.fresh,
    leading: () => leadership.term() !== undefined,
    drain: server.drain,
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await held[Symbol.asyncDispose]()
    },
  }
}

/** The leader's rounds, on a transport that refuses to write once the term is over. */
async function lead(
  options: IssuerOptions,
  transport: Transport,
  ports: KubePorts & { readonly entropy: Entropy },
  term: Term,
): Promise<void> {
  const guarded = fenced(transport, term)
  const cabinet = kubeCabinet(guarded, options.systemNamespace)
  const registry = kubeRegistry(guarded, options.systemNamespace)
  const needs: KeeperNeeds = { ...ports, cabinet, ...options.rotation, rules: options.rules }
  let collected = ports.monotonic()
  while (!term.signal.aborted) {
    try {
      await keepKeys(needs, term.signal)
      await requestDue(options, needs, term.signal)
      if (ports.monotonic() - collected > COLLECT_MS) {
        collected = ports.monotonic()
        options.record.pinsCollected(await collectPins(registry, term.signal))
      }
    } catch (cause) {
      if (!term.signal.aborted) ports.report('key_keeping_failed', { detail: Fault.from(cause).message })
    }
    await ports.sleep(KEEP_MS, term.signal).catch(() => undefined)
  }
}

async function requestDue(
  { rotation }: IssuerOptions,
  { cabinet, now }: KeeperNeeds,
  signal: AbortSignal,
): Promise<void> {
  const read = rotation.request && (await readKeys(cabinet, signal))
  const rings = Object.values(read?.keys ?? {}).map(({ ring }) => ring)
  for (const due of dueRotations(rings, rotation.rotations(), now())) await rotation.request?.(due, signal)
}

interface Reader extends AsyncDisposable {
  reading(): KeyReading
  fresh(): boolean
  readonly bundle: Live<TrustBundle>
}

/** Reads the keys until they are there, and then again and again. */
async function openReader(
  options: IssuerOptions,
  transport: Transport,
  ports: KubePorts,
  signal: AbortSignal,
): Promise<Reader> {
  const cabinet = kubeCabinet(transport, options.systemNamespace)
  const attempt = async (): Promise<KeyReading | undefined> => {
    // The age counts from before the reading: what it says may have changed while it was on its way.
    const readAt = ports.monotonic()
    try {
      const found = await readKeys(cabinet, signal)
      return found && { ...found, readAt }
    } catch (cause) {
      if (!signal.aborted) ports.report('keys_not_read', { detail: Fault.from(cause).message })
      return undefined
    }
  }
  let held = await attempt()
  while (!held) {
    await ports.sleep(500, signal)
    held = await attempt()
  }
  let reading = held
  const bundle = createLive(reading.bundle)
  const loop = (async () => {
    while (!signal.aborted) {
      await ports.sleep(READ_MS * (0.9 + ports.random() / 5), signal).catch(() => undefined)
      const next = signal.aborted ? undefined : await attempt()
      if (!next) continue
      reading = next
      if (next.bundle.sequence !== bundle.current().sequence) bundle.set(next.bundle)
    }
  })()
  return {
    reading: () => reading,
    fresh: () => ports.monotonic() - reading.readAt < FRESH_MS,
    bundle,
    [Symbol.asyncDispose]: () => loop,
  }
}

const FRESH_MS = 30_000

function trustOf(bundle: Live<TrustBundle>): Live<X509Trust> {
  return {
    current: () => {
      const { trustDomain, x509Roots: roots } = bundle.current()
      return { trustDomain, roots }
    },
    watch: bundle.watch,
  }
}

/** The replica signs its own SVID. */
function openOwn(
  { replica, rules }: IssuerOptions,
  authority: Authority,
  ports: KubePorts & { readonly trust: Live<X509Trust> },
  signal: AbortSignal,
) {
  const path = `/portcullis/operator/issuer/${replica.podUid}`
  const issue = async (csr: Buffer) => {
    const proven = proveCsr(csr)
    if (!proven.ok) throw new Fault('internal', `own request: ${proven.why}`)
    return authority.signX509({ path, publicKey: proven.key, ttlMs: rules().controlTtlMs }, ports.now())
  }
  const failed = (why: string) => ports.report('own_svid_failed', { detail: why })
  return openOwnSvid({ issue, failed, ...ports }, signal)
}
