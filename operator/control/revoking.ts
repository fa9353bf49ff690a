import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { segmentName, writtenSegment } from '../ledger/facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { diffRevocations } from '../state/revocation-diff.ts'
import {
  append,
  beginTerm,
  type Change,
  compact,
  merge,
  type RevocationLog,
  worthCompacting,
} from '../state/revocation-log.ts'
import { planSegments } from '../state/revocation-segments.ts'
import type { Views } from './view.ts'

/** Keeps the revocation log equal to what the objects say. Only for the leader, whose writes are fenced. */
export interface Revoking {
  /** What a new leader writes first. */
  begin(chance: number, signal: AbortSignal): Promise<boolean>
  /** `false`: somebody else wrote meanwhile; look again. */
  settle(at: number, signal: AbortSignal): Promise<boolean>
  /** Takes back what the fleet remembers and the database has forgotten; a text: why that cannot be. */
  recall(entries: readonly Revocation[], head: number, signal: AbortSignal): Promise<boolean | string>
  /** By `namespace/name` of the Revocation: why it denies nothing. */
  problems(): ReadonlyMap<string, string>
}

/** Whether objects that are not there were deleted, as opposed to: their whole kind is gone, with everything that it denied. */
export type KindExists = (signal: AbortSignal) => Promise<boolean>

export function createRevoking(ledger: Ledger, views: Views, kindExists: KindExists): Revoking {
  let problems: ReadonlyMap<string, string> = new Map()

  const known = (): RevocationLog | undefined => {
    const { log } = views.current()
    return typeof log === 'string' ? undefined : log
  }
  const store = async (log: RevocationLog, signal: AbortSignal): Promise<boolean> => {
    const stored = [...ledger.facts('revocations').values()].map(({ segment }) => segment)
    for (const step of planSegments(log, stored)) {
      const done =
        step.op === 'write'
          ? await ledger.write(writtenSegment(step.segment), signal)
          : await ledger.remove(segmentName(step.number), signal)
      if (!done) return false
    }
    return true
  }
  return {
    problems: () => problems,
    async begin(chance, signal) {
      const log = known()
      return log ? store(beginTerm(log, chance), signal) : true
    },
    async settle(at, signal) {
      const log = known()
      if (!log) return true
      const { cluster } = views.current()
      const issuerNamed = (key: string) => cluster.tokenIssuers.get(key)?.spec.issuer
      const diff = diffRevocations(log, [...cluster.revocations.values()], issuerNamed, at)
      const changes = await withoutMassRemoval(diff.changes, log, kindExists, { at, signal })
      const appended = append(log, changes)
      problems = appended.ok ? diff.problems : full(diff.problems, cluster.revocations.keys(), appended.why)
      if (!appended.ok) return true
      const next = worthCompacting(appended.log) ? compact(appended.log, at) : appended.log
      return next === log ? true : store(next, signal)
    },
    async recall(entries, head, signal) {
      const log = known()
      if (!log) return 'the revocation log cannot be read'
      const merged = merge(log, [{ head, entries }])
      return merged.ok ? store(merged.log, signal) : merged.why
    },
  }
}

// When the kind itself is deleted, all its objects vanish without anybody having been asked whether they may stop denying.
async function withoutMassRemoval(
  changes: readonly Change[],
  log: RevocationLog,
  kindExists: KindExists,
  { at, signal }: { readonly at: number; readonly signal: AbortSignal },
): Promise<readonly Change[]> {
  const lifted = (change: Change) =>
    change.op === 'remove' && (log.live.get(change.id)?.entry.expiresAtMs ?? 0) > at
  if (!changes.some(lifted) || (await kindExists(signal))) return changes
  return changes.filter((change) => !lifted(change))
}

function full(
  problems: ReadonlyMap<string, string>,
  keys: Iterable<string>,
  why: string,
): ReadonlyMap<string, string> {
  return new Map([...[...keys].map((key) => [key, why] as const), ...problems])
}
