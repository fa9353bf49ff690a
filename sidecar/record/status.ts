import type { AdminView } from '../../contracts/admin.ts'
import type { Reason } from '../decision.ts'
import type { Monotonic, Now, PolicyModule } from '../ports.ts'
import type { Readings } from './metrics.ts'

/** What is asked about the program's state; given as functions, so that this room knows nobody. */
export interface StatusSources {
  readonly store: {
    installed(): InstalledTrust | undefined
    obstacle(at: number): Reason | undefined
  }
  readonly feed: {
    readonly sources: readonly KeySource[]
    bundleProblem(): string
    readonly activations: Readonly<Record<'ok' | 'refused', number>>
  }
  readonly keys: { readonly counts: { readonly hits: number; readonly misses: number } }
  readonly floor: PolicyModule
  readonly admission: { lagMs(): number; inFlight(): number }
  readonly dropped: () => number
  readonly wall: Now
  readonly monotonic: Monotonic
  readonly draining: AbortSignal
}
interface InstalledTrust {
  readonly generation: number
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
    generation: sources.store.installed()?.generation ?? 0,
    policyRevision: sources.store.installed()?.policy.revision ?? '',
    floorRevision: sources.floor.revision,
  })
  return {
    view: { notReadyBecause, remarks: () => remarks(sources), facts },
    readings: readings(sources, () => notReadyBecause().length === 0),
  }
}

function causes({ store, feed, draining, wall }: StatusSources): readonly string[] {
  if (draining.aborted) return ['draining']
  const obstacle = store.obstacle(wall())
  if (obstacle === 'clock_unsafe')
    return ['clock_unsafe: the wall clock went back; it must catch up, or restart']
  const trust = store.installed()
  const issuers = [...(trust?.issuers.values() ?? [])]
  // Before the first good bundle nothing is installed, but the keys may have been read all the same.
  const usable = trust
    ? issuers.some(({ keys }) => keys.byKid.size > 0 && keys.notAfter > wall())
    : feed.sources.some((source) => !source.problem())
  return [
    ...(trust ? [] : [`policy: ${feed.bundleProblem() || 'not installed'}`]),
    ...(usable ? [] : ['keys: no issuer has usable keys', ...keyProblems(feed.sources)]),
  ]
}

function remarks({ feed, store }: StatusSources): readonly string[] {
  const problem = feed.bundleProblem()
  const bundle =
    problem && store.installed()
      ? [`policy: the newest bundle is refused and the one before goes on: ${problem}`]
      : []
  return [...bundle, ...keyProblems(feed.sources)]
}

function keyProblems(sources: readonly KeySource[]): readonly string[] {
  return sources
    .filter((source) => source.problem())
    .map((source) => `keys of ${source.issuer}: ${source.problem()}`)
}

function readings(sources: StatusSources, ready: () => boolean): Readings {
  const { store, feed, keys, floor, admission, monotonic } = sources
  const sum = (count: (source: KeySource) => number) =>
    feed.sources.reduce((total, source) => total + count(source), 0)
  const modules = () =>
    [floor, ...(store.installed() ? [store.installed()?.policy] : [])].filter((one) => one !== undefined)
  return {
    ready,
    jwksHits: () => keys.counts.hits,
    jwksMisses: () => keys.counts.misses,
    jwksRefreshes: () => ({ ok: sum(({ counts }) => counts.ok), failed: sum(({ counts }) => counts.failed) }),
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
    trustGeneration: () => store.installed()?.generation ?? 0,
    policyRevision: () => store.installed()?.policy.revision ?? '',
  }
}
