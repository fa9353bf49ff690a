import type { Revocation as RevocationObject } from '../../contracts/crd/revocation.ts'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createTurns } from '../../contracts/turns.ts'
import type { LogStore } from '../ledger/log-store.ts'
import type { Random } from '../ports.ts'
import type { Unkept } from '../publish/settings.ts'
import { diffRevocations, type RevocationDiff } from '../state/revocation-diff.ts'
import {
  append,
  beginTerm,
  type Change,
  compact,
  idOf,
  merge,
  ownerOf,
  type RevocationLog,
  worthCompacting,
} from '../state/revocation-log.ts'
import { changesFor, overRecalled, overShare } from '../state/revocation-made.ts'
import { withinShares } from '../state/revocation-shares.ts'
import type { View, Views } from './view.ts'

/** Keeps the revocation log equal to what the objects say. Only for the leader, whose writes are fenced. */
export interface Revoking {
  /** `false`: somebody else wrote meanwhile; look again. The first time it begins a term. */
  settle(at: number, signal: AbortSignal): Promise<boolean>
  /** Denies what machines ask for, all of it or nothing; resolves after it is stored. */
  append(entries: readonly Revocation[], at: number, signal: AbortSignal): Promise<Stored>
  /**
   * Takes back what the fleet remembers and the database has forgotten. `false`: somebody else wrote meanwhile. `own`: this replica
   * remembers it, so it was in the log, and there is room for it.
   */
  recall(
    entries: readonly Revocation[],
    head: number,
    signal: AbortSignal,
    own?: boolean,
  ): Promise<boolean | Unkept>
  /** By `namespace/name` of the Revocation: why what it says now is not in force; what was in force of it still is. */
  problems(): ReadonlyMap<string, string>
}

/** `again`: somebody else wrote meanwhile, or this replica does not know the log yet. `full`: nothing was stored, and why. */
export type Stored = 'stored' | 'again' | { readonly full: string }

export interface RevokingNeeds {
  readonly logs: LogStore
  readonly views: Views
  readonly random: Random
  readonly kindExists: (signal: AbortSignal) => Promise<KindState>
  /** Whether the API server has this very object now, whatever the mirror says. */
  readonly stands: (object: Named, signal: AbortSignal) => Promise<boolean>
}

export type Named = Pick<RevocationObject['metadata'], 'namespace' | 'name' | 'uid'>

/** Whether objects that are not there were deleted, as opposed to: their whole kind is gone, with everything that it denied. */
export type KindState = 'there' | 'gone' | 'unknown'

export function createRevoking({ logs, views, random, kindExists, stands }: RevokingNeeds): Revoking {
  let problems: ReadonlyMap<string, string> = new Map()
  let begun = false
  // One at a time: each begins from what the one before has stored.
  const inTurn = createTurns()
  const tidied = (log: RevocationLog, at: number) => (worthCompacting(log) ? compact(log, at) : log)

  const settle = async (at: number, signal: AbortSignal): Promise<boolean> => {
    const before = settled(views.current(), at)
    if (!before) return true
    if (!begun) {
      begun = await logs.store(beginTerm(before.log, random()), signal)
      return begun && settle(at, signal)
    }
    // Asked first: between the look and the first write nothing may change.
    const kind = before.lifts ? await kindExists(signal) : 'there'
    const standing = await confirmed(before, stands, signal)
    const now = settled(views.current(), at)
    if (!now) return true
    const wanted = allowed(now, { kind, standing, at })
    const { changes, refused } = withinShares(now.log, wanted, now.objects, logs.limits)
    const appended = append(now.log, changes, logs.limits)
    if (!appended.ok) {
      problems = full(now.diff.problems, views.current().cluster.revocations.keys(), appended.why)
      return true
    }
    problems = new Map([...refused, ...now.diff.problems])
    const next = tidied(appended.log, at)
    return next === now.log ? true : logs.store(next, signal)
  }
  return {
    problems: () => problems,
    settle: (at, signal) => inTurn(() => settle(at, signal)),
    append: (entries, at, signal) =>
      inTurn(async () => {
        const { log, forgotten } = views.current()
        if (!begun || typeof log === 'string' || forgotten) return 'again'
        const changes = changesFor(log, entries)
        if (changes.length === 0) return 'stored'
        const why = overShare(log, changes, logs.limits)
        if (why) return { full: why }
        const appended = append(log, changes, logs.limits)
        if (!appended.ok) return { full: appended.why }
        return (await logs.store(tidied(appended.log, at), signal)) ? 'stored' : 'again'
      }),
    async recall(entries, head, signal, own = false) {
      const { log } = views.current()
      if (typeof log === 'string') return { why: `the revocation log cannot be read: ${log}`, full: false }
      const merged = merge(log, [{ head, entries }], own ? 'none' : logs.limits)
      if (!merged.ok) return { why: merged.why, full: true }
      const why = own ? undefined : overRecalled(log, merged.log, logs.limits)
      return why === undefined ? logs.store(merged.log, signal) : { why, full: true }
    },
  }
}

interface Settled {
  readonly log: RevocationLog
  readonly diff: RevocationDiff
  readonly objects: readonly RevocationObject[]
  /** Whether something would no longer be denied that did not expire. */
  readonly lifts: boolean
}

/** What is to change now; undefined while the log cannot be read, or some of it was forgotten: positions would be given out twice. */
function settled({ log, cluster, forgotten }: View, at: number): Settled | undefined {
  if (typeof log === 'string' || forgotten) return undefined
  const issuerNamed = (key: string) => cluster.tokenIssuers.get(key)?.spec.issuer
  const objects = [...cluster.revocations.values()]
  const diff = diffRevocations(log, objects, issuerNamed, at)
  return { log, diff, objects, lifts: diff.changes.some((change) => lifts(change, log, at)) }
}

interface Allowing {
  readonly kind: KindState
  /** UIDs of objects that are known to be there. */
  readonly standing: ReadonlySet<string>
  readonly at: number
}

const CONFIRMED = 32

/**
 * Which of the objects that would take over what was recalled are really there. After a database was restored a mirror may still show
 * objects that are no more; what goes with such an object would be forgotten when the mirror catches up.
 */
async function confirmed(
  { log, diff, objects }: Settled,
  stands: RevokingNeeds['stands'],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const owners = new Set(
    diff.changes.filter((change) => reclaims(change, log)).map((change) => ownerOf(idOf(change))),
  )
  const asked = objects.filter(({ metadata }) => owners.has(metadata.uid)).slice(0, CONFIRMED)
  const answers = await Promise.all(
    asked.map(async ({ metadata }) => ((await stands(metadata, signal)) ? [metadata.uid] : [])),
  )
  return new Set(answers.flat())
}

function reclaims(change: Change, { live }: RevocationLog): boolean {
  return change.op === 'add' && !change.recalled && live.get(change.entry.id)?.recalled === true
}

function lifts(change: Change, { live }: RevocationLog, at: number): boolean {
  return change.op === 'remove' && (live.get(change.id)?.entry.expiresAtMs ?? 0) > at
}

// When the kind itself is deleted, all its objects vanish without anybody having been asked whether they may stop denying. What they
// said stays until it expires, also after the kind is back: no object stands behind it any more.
function allowed({ log, diff: { changes } }: Settled, { kind, standing, at }: Allowing): readonly Change[] {
  return changes.flatMap((change): readonly Change[] => {
    if (reclaims(change, log) && !standing.has(ownerOf(idOf(change)))) return []
    if (kind === 'there' || !lifts(change, log, at)) return [change]
    const entry = change.op === 'remove' ? log.live.get(change.id)?.entry : undefined
    return kind === 'gone' && entry ? [{ op: 'add', entry, recalled: true }] : []
  })
}

function full(
  problems: ReadonlyMap<string, string>,
  keys: Iterable<string>,
  why: string,
): ReadonlyMap<string, string> {
  return new Map([...[...keys].map((key) => [key, why] as const), ...problems])
}
