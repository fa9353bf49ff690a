import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { Pod } from '../state/cluster.ts'
import type { GenerationTable } from '../state/generations.ts'

/** How far a change has come: who runs it, who refused it, and who says nothing. */
export interface Propagation {
  readonly acknowledged: number
  /** From the pod list, not from open streams. */
  readonly total: number
  readonly complete: boolean
  /** `3/3 at sha256:0123456789ab`. */
  readonly text: string
  /** As `namespace/pod: reason`. */
  readonly refused: readonly string[]
  /** As `namespace/pod`: neither acknowledged nor refused. */
  readonly silent: readonly string[]
}

/** What several replicas know of the fleet, by UID; of one pod what was heard last. */
export function joinStates(shards: Iterable<readonly SidecarState[]>): ReadonlyMap<string, SidecarState> {
  const joined = new Map<string, SidecarState>()
  for (const shard of shards) {
    for (const state of shard) {
      const known = joined.get(state.podUid)
      if (!known || known.heardAtMs < state.heardAtMs) joined.set(state.podUid, state)
    }
  }
  return joined
}

/** Of one projection among these pods (those that it is meant for). `at` names it, for instance `sha256:…`. */
export function propagation(
  pods: readonly Pod[],
  states: ReadonlyMap<string, SidecarState>,
  holds: (state: SidecarState) => boolean,
  at: string,
): Propagation {
  const refused: string[] = []
  const silent: string[] = []
  let acknowledged = 0
  let total = 0
  for (const { uid, namespace, name, deleting } of pods) {
    // Whoever is on the way out must not keep a change from being complete; it still denies by its lease.
    if (deleting) continue
    total++
    const state = states.get(uid)
    const [problem] = state?.problems ?? []
    if (state && holds(state)) acknowledged++
    else if (problem !== undefined) refused.push(`${namespace}/${name}: ${problem}`)
    else silent.push(`${namespace}/${name}`)
  }
  const text = `${acknowledged}/${total} at ${at}`
  return { acknowledged, total, complete: acknowledged === total, text, refused, silent }
}

/** Short form of a digest, as in `Programmed=True "41/41 at sha256:…"`. */
export function shortDigest(digest: string): string {
  return `sha256:${digest.slice(0, 12)}`
}

/** Holds exactly this projection under its present number. */
export function holdsProjection(table: GenerationTable, key: string): (state: SidecarState) => boolean {
  const generation = table.projections.get(key)?.generation
  return (state) => state.projection === key && generation !== undefined && state.generation === generation
}

/** Knows every revocation up to this position. */
export function holdsRevocations(head: number): (state: SidecarState) => boolean {
  return (state) => state.revocationHead >= head
}

/**
 * Numbers that a projection must exceed because a sidecar which is to hold it already holds a higher one, from another projection. For
 * `allocate`.
 */
export function floorsOf(
  states: Iterable<SidecarState>,
  table: GenerationTable,
): ReadonlyMap<string, number> {
  const floors = new Map<string, number>()
  for (const { projection, generation } of states) {
    const served = table.projections.get(projection)?.generation
    if (served === undefined || generation <= served || generation > table.counter) continue
    floors.set(projection, Math.max(generation, floors.get(projection) ?? 0))
  }
  return floors
}

/** Who must know a trust bundle before its new key is used: what KeyRotation calls verifiers. */
export interface Verifiers {
  readonly sequence: number
  readonly total: number
  readonly acknowledged: number
  /** Silent for longer than the longest lease, and therefore denying by themselves. */
  readonly lapsed: number
  /** As `namespace/pod`. */
  readonly stragglers: readonly string[]
}

const STRAGGLERS = 20

/** `since`: from when on this fleet has been listened to; who was not heard since then may have been heard by others before. */
export function verifiersOf(
  pods: Iterable<Pod>,
  states: ReadonlyMap<string, SidecarState>,
  sequence: number,
  clock: { readonly at: number; readonly since: number; readonly longestLeaseMs: number },
): Verifiers {
  const stragglers: string[] = []
  let [total, acknowledged, lapsed] = [0, 0, 0]
  for (const { uid, namespace, name } of pods) {
    total++
    const state = states.get(uid)
    const heardAt = Math.max(state?.heardAtMs ?? 0, clock.since)
    if (state && state.trustSequence >= sequence) acknowledged++
    else if (clock.at - heardAt > clock.longestLeaseMs) lapsed++
    else stragglers.push(`${namespace}/${name}`)
  }
  return { sequence, total, acknowledged, lapsed, stragglers: stragglers.slice(0, STRAGGLERS) }
}
