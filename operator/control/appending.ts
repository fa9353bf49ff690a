import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import {
  AppendOutcome,
  type AppendRequest,
  type AppendResponse,
} from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { Clocks } from '../ports.ts'
import { MADE_LIMITS } from '../state/revocation-made.ts'
import type { Revoking, Stored } from './revoking.ts'

/** Takes what machines revoke into the log, for as long as this replica leads. Many that come together are one write. */
export interface Appending {
  append(request: AppendRequest, signal: AbortSignal): Promise<AppendResponse>
}

export interface AppendingNeeds extends Clocks {
  readonly revoking: Pick<Revoking, 'append'>
  readonly term: AbortSignal
}

const LIMITS = {
  /** Waiting for the log at once. */
  waiting: 1_000,
  /** What comes within this time is one write. */
  gatherMs: 5,
  tries: 10,
  retryMs: 100,
  /** What must not come twice, remembered at once. */
  remembered: 50_000,
  rememberMs: 15 * 60_000,
  onceBytes: 64,
  /** Entries of one pod in an hour: a sidecar that was taken over cannot fill the share of its namespace. */
  perPod: 1_000,
  podHourMs: 3_600_000,
  pods: 20_000,
} as const

interface Waiting {
  readonly entries: readonly Revocation[]
  readonly done: (stored: Stored | 'late') => void
}

export function createAppending(needs: AppendingNeeds): Appending {
  const { now, sleep } = needs
  const once = createOnce(now)
  const pods = createPodCounts(now)
  let waiting: Waiting[] = []
  let running = false

  const run = async (): Promise<void> => {
    running = true
    while (waiting.length > 0 && !needs.term.aborted) {
      await sleep(LIMITS.gatherMs, needs.term).catch(() => undefined)
      const batch = waiting
      waiting = []
      await appendAll(batch, needs)
    }
    for (const { done } of waiting) done('late')
    waiting = []
    running = false
  }
  return {
    async append({ entries, podUid, once: mark, onceUntilMs }, _signal) {
      const refused = refusalOf(entries, mark)
      if (refused) return { outcome: AppendOutcome.APPEND_OUTCOME_REFUSED, why: refused }
      const key = mark.toString('base64')
      if (mark.length > 0 && !once.begin(key)) return REPEATED
      const allowed = waiting.length < LIMITS.waiting && pods.may(podUid, entries.length)
      const stored = allowed ? await store(entries) : { full: 'too much was asked at once' }
      once.end(key, stored === 'stored', onceUntilMs)
      return answerOf(stored)
    },
  }

  function store(entries: readonly Revocation[]): Promise<Stored | 'late'> {
    const { promise, resolve } = Promise.withResolvers<Stored | 'late'>()
    waiting.push({ entries, done: resolve })
    if (!running) void run()
    return promise
  }
}

async function appendAll(batch: readonly Waiting[], needs: AppendingNeeds): Promise<void> {
  const together = await appendOne(
    batch.flatMap(({ entries }) => entries),
    needs,
  )
  if (typeof together !== 'object' || batch.length === 1) {
    for (const { done } of batch) done(together)
    return
  }
  // Somebody's share may be full, which is no reason to refuse the others, nor to write for each of them alone.
  const byNamespace = Map.groupBy(batch, namespaceIn)
  const parts = byNamespace.size > 1 ? [...byNamespace.values()] : batch.map((one) => [one])
  for (const part of parts) await appendAll(part, needs)
}

function namespaceIn({ entries: [first] }: Waiting): string {
  return first?.source.split('/', 1)[0] ?? ''
}

async function appendOne(
  entries: readonly Revocation[],
  { revoking, term, now, sleep, random }: AppendingNeeds,
): Promise<Stored | 'late'> {
  for (let tries = 0; tries < LIMITS.tries && !term.aborted; tries++) {
    const stored = await revoking.append(entries, now(), term).catch((): Stored => 'again')
    if (stored !== 'again') return stored
    await sleep(LIMITS.retryMs * (0.5 + random()), term).catch(() => undefined)
  }
  return 'late'
}

function refusalOf(entries: readonly Revocation[], mark: Buffer): string | undefined {
  if (entries.length === 0 || entries.length > MADE_LIMITS.entries)
    return `entries: must be 1 to ${MADE_LIMITS.entries}`
  if (new Set(entries.map(({ source }) => source)).size > 1) return 'entries: must be of one source'
  return mark.length > LIMITS.onceBytes ? `once: must be at most ${LIMITS.onceBytes} bytes` : undefined
}

const REPEATED: AppendResponse = {
  outcome: AppendOutcome.APPEND_OUTCOME_REPEATED,
  why: 'it has been here before',
}

function answerOf(stored: Stored | 'late'): AppendResponse {
  if (stored === 'stored') return { outcome: AppendOutcome.APPEND_OUTCOME_STORED, why: '' }
  if (typeof stored === 'object')
    return { outcome: AppendOutcome.APPEND_OUTCOME_FULL, why: stored.full.slice(0, 512) }
  return { outcome: AppendOutcome.APPEND_OUTCOME_UNAVAILABLE, why: 'the log could not be written in time' }
}

interface Once {
  /** `false`: it was stored before, or is under way. */
  begin(key: string): boolean
  end(key: string, stored: boolean, untilMs: number): void
}

/** Only what was stored counts: a sender that was refused for want of room comes again with the same. */
function createOnce(now: () => number): Once {
  const until = new Map<string, number>()
  const underWay = new Set<string>()
  return {
    begin(key) {
      if (underWay.has(key) || (until.get(key) ?? 0) > now()) return false
      underWay.add(key)
      return true
    },
    end(key, stored, untilMs) {
      if (!underWay.delete(key) || !stored) return
      const at = now()
      // The oldest go first: what they stored is in the log, and would be stored again without effect.
      for (const [old, end] of until) {
        if (end > at && until.size < LIMITS.remembered) break
        until.delete(old)
      }
      until.set(key, Math.min(untilMs, at + LIMITS.rememberMs))
    },
  }
}

function createPodCounts(now: () => number): { may(uid: string, count: number): boolean } {
  const counts = new Map<string, { readonly since: number; readonly count: number }>()
  return {
    may(uid, more) {
      if (uid === '') return true
      const at = now()
      const before = counts.get(uid)
      const { since, count } =
        before && at - before.since < LIMITS.podHourMs ? before : { since: at, count: 0 }
      if (count + more > LIMITS.perPod) return false
      counts.delete(uid)
      counts.set(uid, { since, count: count + more })
      for (const [oldest] of counts) {
        if (counts.size <= LIMITS.pods) break
        counts.delete(oldest)
      }
      return true
    },
  }
}
