import type { AdminView } from '../../contracts/admin.ts'
import type { Reason } from '../decision.ts'
import type { Monotonic, Now, PolicyModule } from '../ports.ts'
import type { PushedReadings, Readings } from './metrics.ts'

/** What is asked about the program's state; given as functions, so that this room knows nobody. */
export interface StatusSources {
  readonly store: {
    installed(): InstalledTrust | undefined
    obstacle(at: number): Reason | undefined
    withheld(): string
    generation(): number
    readonly pushed: {
      readonly revocations: { readonly head: number; readonly size: number }
      readonly lease: { silence(at: number): number }
    }
  }
  readonly feed: {
    readonly sources: readonly KeySource[]
    bundleProblem(): string
    readonly activations: Readonly<Record<'ok' | 'refused', number>>
    readonly stream: OperatorStream | undefined
  }
  /** Unset standalone: then there is no identity to wait for. */
  readonly identity?: {
    notReadyBecause(): readonly string[]
    remarks(): readonly string[]
    facts(): { readonly controlExpiresInS: number; readonly workloadExpiresInS: number }
    workloadStreams(): number
  }
  readonly keyAges: { readonly early: () => readonly (readonly [issuer: string, keys: number])[] }
  readonly keys: { readonly counts: { readonly hits: number; readonly misses: number } }
  readonly floor: PolicyModule
  readonly admission: { lagMs(): number; inFlight(): number }
  readonly dropped: () => number
  readonly wall: Now
  readonly monotonic: Monotonic
  readonly draining: AbortSignal
}
interface OperatorStream {
  connected(): boolean
  problem(): string
  trustSequence(): number
  readonly counts: {
    readonly streams: number
    readonly nacks: number
    readonly refreshes: { readonly ok: number; readonly failed: number }
  }
}
interface InstalledTrust {
  readonly generation: number
  readonly tiers:
    | { readonly standardMs: number; readonly strictMs: number; readonly readDegradedMs: number }
    | undefined
  readonly policy: PolicyModule
  readonly issuers: ReadonlyMap<
    string,
    { readonly keys: { readonly byKid: ReadonlyMap<string, unknown>; readonly notAfter: number } }
  >
}
interface KeySource {
  readonly issuer: string
  problem(): string
  fetchedAt(): number | undefined
  readonly counts: { readonly ok: number; readonly failed: number }
}

export interface Status {
  readonly readings: Readings
  readonly view: Pick<AdminView, 'notReadyBecause' | 'remarks' | 'facts'>
}

/** Turns state into readiness with causes, remarks for whoever is on call, and numbers for the metrics. */
export function createStatus(sources: StatusSources): Status {
  const notReadyBecause = () => causes(sources)
  const facts = () => ({
    generation: sources.store.generation(),
    policyRevision: sources.store.installed()?.policy.revision ?? '',
    floorRevision: sources.floor.revision,
    ...pushedFacts(sources),
  })
  return {
    view: { notReadyBecause, remarks: () => remarks(sources), facts },
    readings: readings(sources, () => notReadyBecause().length === 0),
  }
}

function causes(sources: StatusSources): readonly string[] {
  const { store, feed, draining, wall, identity } = sources
  if (draining.aborted) return ['draining']
  const obstacle = store.obstacle(wall())
  if (obstacle === 'clock_unsafe')
    return ['clock_unsafe: the wall clock went back; it must catch up, or restart']
  const missing = identity?.notReadyBecause() ?? []
  if (store.withheld()) return [...missing, `withheld: ${store.withheld()}`]
  const trust = store.installed()
  const issuers = [...(trust?.issuers.values() ?? [])]
  // Before the first good bundle nothing is installed, but the keys may have been read all the same.
  const usable = trust
    ? issuers.some(({ keys }) => keys.byKid.size > 0 && keys.notAfter > wall())
    : feed.stream || feed.sources.some((source) => !source.problem())
  return [
    ...missing,
    ...(trust ? [] : [`policy: ${feed.bundleProblem() || 'not installed'}`, ...streamProblem(feed.stream)]),
    ...(usable ? [] : ['keys: no issuer has usable keys', ...keyProblems(feed.sources)]),
    ...(trust?.tiers ? lapsedTier(sources, 'standard', trust.tiers.standardMs) : []),
  ]
}

function remarks(sources: StatusSources): readonly string[] {
  const { feed, store, identity } = sources
  const problem = feed.bundleProblem()
  const bundle =
    problem && store.installed()
      ? [`policy: the newest bundle is refused and the one before goes on: ${problem}`]
      : []
  const tiers = store.installed()?.tiers
  return [
    ...bundle,
    ...keyProblems(feed.sources),
    ...streamProblem(feed.stream),
    ...(tiers ? lapsedTier(sources, 'strict', tiers.strictMs) : []),
    ...(identity?.remarks() ?? []),
  ]
}

function streamProblem(stream: OperatorStream | undefined): readonly string[] {
  return stream && !stream.connected()
    ? [`operator: ${stream.problem() || 'not heard on this stream yet'}`]
    : []
}

function lapsedTier({ store, wall }: StatusSources, tier: string, leaseMs: number): readonly string[] {
  const silence = store.pushed.lease.silence(wall())
  if (silence < leaseMs) return []
  const since = Number.isFinite(silence) ? `for ${Math.floor(silence / 1000)} s` : 'by the operator yet'
  return [
    `revocations: not confirmed ${since}; the ${tier} lease is ${leaseMs / 1000} s, so ${tier} actions are denied`,
  ]
}

/** The bound that holds whatever happens to the network: T is when the operator has taken a revocation into its log. */
function pushedFacts({ store, feed }: StatusSources): Readonly<Record<string, string | number>> {
  const tiers = store.installed()?.tiers
  if (!feed.stream) return {}
  const { head, size } = store.pushed.revocations
  const seconds = (ms: number) => `${ms / 1000} s`
  const bound = tiers && {
    revocationBound: `no token revoked before T is allowed after T + ${seconds(tiers.standardMs)} (strict: T + ${seconds(tiers.strictMs)}; read_degraded: T + ${seconds(tiers.readDegradedMs)})`,
  }
  return {
    revocationHead: head,
    revocationEntries: size,
    trustSequence: feed.stream.trustSequence(),
    ...bound,
  }
}

function keyProblems(sources: readonly KeySource[]): readonly string[] {
  return sources
    .filter((source) => source.problem())
    .map((source) => `keys of ${source.issuer}: ${source.problem()}`)
}

function readings(sources: StatusSources, ready: () => boolean): Readings {
  const { store, feed, keys, keyAges, floor, admission, monotonic } = sources
  const sum = (count: (source: KeySource) => number) =>
    feed.sources.reduce((total, source) => total + count(source), 0)
  const modules = () =>
    [floor, ...(store.installed() ? [store.installed()?.policy] : [])].filter((one) => one !== undefined)
  return {
    ready,
    jwksHits: () => keys.counts.hits,
    jwksMisses: () => keys.counts.misses,
    keysUsedEarly: keyAges.early,
    jwksRefreshes: () => ({
      ok: sum(({ counts }) => counts.ok) + (feed.stream?.counts.refreshes.ok ?? 0),
      failed: sum(({ counts }) => counts.failed) + (feed.stream?.counts.refreshes.failed ?? 0),
    }),
    jwksAgeSeconds: () =>
      feed.sources.flatMap((source) => {
        const at = source.fetchedAt()
        return at === undefined ? [] : [[source.issuer, (monotonic() - at) / 1000] as const]
      }),
    bundleActivations: () => feed.activations,
    engineMemoryBytes: () => modules().reduce((total, module) => total + module.memoryBytes(), 0),
    engineDiscards: () => modules().reduce((total, module) => total + module.discards(), 0),
    eventLoopLagSeconds: () => admission.lagMs() / 1000,
    inFlight: admission.inFlight,
    logDropped: sources.dropped,
    trustGeneration: store.generation,
    policyRevision: () => store.installed()?.policy.revision ?? '',
    pushed: () => (feed.stream ? pushedReadings(sources, feed.stream) : undefined),
  }
}

function pushedReadings({ store, wall, identity }: StatusSources, stream: OperatorStream): PushedReadings {
  const { revocations, lease } = store.pushed
  const silence = lease.silence(wall())
  const left = (leaseMs: number) => Math.max(0, leaseMs - silence) / 1000
  const tiers = store.installed()?.tiers
  const svids = identity?.facts()
  return {
    svidSeconds: { control: svids?.controlExpiresInS ?? 0, workload: svids?.workloadExpiresInS ?? 0 },
    workloadStreams: identity?.workloadStreams() ?? 0,
    revocationHead: revocations.head,
    revocationEntries: revocations.size,
    leaseSeconds: tiers
      ? {
          standard: left(tiers.standardMs),
          strict: left(tiers.strictMs),
          read_degraded: left(tiers.readDegradedMs),
        }
      : {},
    connected: stream.connected(),
    streams: stream.counts.streams,
    nacks: stream.counts.nacks,
    trustSequence: stream.trustSequence(),
  }
}
