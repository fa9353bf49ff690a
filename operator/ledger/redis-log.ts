import { hash } from 'node:crypto'
import type { Reply } from '../../contracts/redis/trouble.ts'
import type { Redis } from '../../contracts/redis.ts'
import { createTurns } from '../../contracts/turns.ts'
import type { Clocks, Report } from '../ports.ts'
import type { LogLimits, RevocationLog } from '../state/revocation-log.ts'
import {
  batchesFor,
  formatBatch,
  NOTHING_READ,
  parseBatch,
  type Reading,
  readOn,
} from '../state/revocation-stream.ts'
import type { LogStore, OpenLogStore } from './log-store.ts'

/**
 * Bounded by the leader, not by Redis or by sidecars, which take a million (29 bytes each): with 300,000 an append takes 0.16 s and a
 * replica 140 MB; with a million, seconds, and strict leases would lapse meanwhile.
 */
export const REDIS_LOG_LIMITS: LogLimits = { entries: 250_000, bytes: 96 * 1024 * 1024 }

export interface RedisLog extends OpenLogStore {
  /** Reads on until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Why it cannot be read now; empty when it can. What was read counts meanwhile: nobody who is cut off can have appended. */
  problem(): string
}

export interface RedisLogNeeds extends Clocks {
  readonly redis: Pick<Redis, 'ask'>
  /** Of the stream. */
  readonly key: string
  /** What the log was before there was a stream. */
  readonly before: () => RevocationLog | string
  readonly report: Report
}

const POLL_MS = 50
const PAGE = 16

interface Place {
  readonly id: string
  /** Of the text there: a server that lost its end may give the same id again. */
  readonly digest: string
}

interface At {
  readonly reading: Reading
  readonly place: Place | undefined
}

/**
 * The log as a Redis stream, read to its end all the time. Redis may lose the end of it (a failover) or all of it; then the log
 * stands lower than it stood, which is noticed like a database that was restored to an older state: by replicas that remember, and
 * by sidecars, who tell what they hold. So no deny fact lives here only.
 */
export function createRedisLog(needs: RedisLogNeeds): RedisLog {
  const { report } = needs
  const listeners = new Set<() => void>()
  let at: At | undefined
  let problem = 'Redis was not read yet'

  /** By id, whether what was found there since then counted; undefined: it could not be read. */
  const look = async (signal: AbortSignal): Promise<ReadonlyMap<string, boolean> | undefined> => {
    const found = await catchUp(needs, at, signal)
    if (typeof found === 'string') {
      if (problem !== found) report('revocation_log_unreadable', { problem: found })
      problem = found
      return undefined
    }
    problem = ''
    const changed = found.at.reading.log !== at?.reading.log
    at = found.at
    if (changed) for (const listener of listeners) listener()
    return found.counted
  }
  const inTurn = createTurns()
  const current = (): RevocationLog | string => {
    if (!at) return problem
    return at.reading.begun ? at.reading.log : needs.before()
  }
  const through = (term: number | undefined): LogStore => {
    let mine = term === undefined || !at ? undefined : above(at.reading, term)
    return {
      limits: REDIS_LOG_LIMITS,
      current,
      store(next, signal) {
        const made = at
        if (!made) return Promise.resolve(false)
        if (term !== undefined) mine ??= above(made.reading, term)
        const under = mine ?? made.reading.term
        return inTurn(() => store(needs, { reading: made.reading, next, term: under }, { signal, look }))
      },
      subscribe(changed) {
        listeners.add(changed)
        return () => void listeners.delete(changed)
      },
    }
  }
  return {
    ...through(undefined),
    through: (_ledger, term) => through(term),
    problem: () => problem,
    async run(signal) {
      while (!signal.aborted) {
        await inTurn(() => look(signal)).catch(() => undefined)
        await needs.sleep(POLL_MS, signal).catch(() => undefined)
      }
    },
  }
}

/**
 * The number under which a new term writes. A Lease that was deleted or restored counts from the beginning, but the log has seen what came
 * before. Settled once a term: a leader whose term is over must not rise above the next one by looking again.
 */
function above({ term }: Reading, transitions: number): number {
  return Math.max(transitions, term + 1)
}

interface Storing {
  readonly reading: Reading
  readonly next: RevocationLog
  readonly term: number
}

interface Looking {
  readonly signal: AbortSignal
  readonly look: (signal: AbortSignal) => Promise<ReadonlyMap<string, boolean> | undefined>
}

/** Appends, then reads on: it is stored when what was appended counted. */
async function store(
  { redis, key }: RedisLogNeeds,
  { reading, next, term }: Storing,
  { signal, look }: Looking,
): Promise<boolean> {
  const batches = batchesFor(reading, next, term)
  const ids: string[] = []
  for (const batch of batches) {
    const added = await redis.ask({ key }, ['xadd', key, '*', 'batch', formatBatch(batch)], signal)
    if (!added.ok || !Buffer.isBuffer(added.reply)) break
    ids.push(added.reply.toString('latin1'))
  }
  const counted = await look(signal)
  const [first] = ids
  const last = ids.at(-1)
  if (!counted || first === undefined || last === undefined || ids.length < batches.length) return false
  if (counted.get(last) !== true) return false
  // What lies before a log that was told anew says nothing any more.
  if (batches.some(({ parts }) => parts > 0)) await redis.ask({ key }, ['xtrim', key, 'MINID', first], signal)
  return true
}

interface Caught {
  readonly at: At
  readonly counted: ReadonlyMap<string, boolean>
}

/** From where we stand to the end; from the beginning when what we stand on is no longer there. A text: why it cannot be. */
async function catchUp(
  needs: RedisLogNeeds,
  from: At | undefined,
  signal: AbortSignal,
): Promise<Caught | string> {
  let at: At = from ?? { reading: NOTHING_READ, place: undefined }
  const counted = new Map<string, boolean>()
  for (;;) {
    const page = await pageFrom(needs, at.place, signal)
    if (typeof page === 'string') return page
    const fresh = at.place === undefined ? page : page.slice(1)
    const [standing] = page
    if (at.place && (standing?.id !== at.place.id || standing.digest !== at.place.digest)) {
      needs.report('revocation_log_read_anew')
      at = { reading: NOTHING_READ, place: undefined }
      counted.clear()
      continue
    }
    const read = readOn(
      at.reading,
      fresh.map(({ text }) => parseBatch(text)),
    )
    for (const [index, { id }] of fresh.entries()) counted.set(id, read.counted[index] === true)
    at = { reading: read.reading, place: fresh.at(-1) ?? at.place }
    if (page.length < PAGE) return { at, counted }
  }
}

interface Found extends Place {
  readonly text: string
}

async function pageFrom(
  { redis, key }: RedisLogNeeds,
  place: Place | undefined,
  signal: AbortSignal,
): Promise<readonly Found[] | string> {
  const answer = await redis.ask({ key }, ['xrange', key, place?.id ?? '-', '+', 'COUNT', PAGE], signal)
  if (!answer.ok) return `Redis cannot be read: ${answer.trouble}`
  return Array.isArray(answer.reply)
    ? answer.reply.map(foundIn)
    : 'Redis answered with something that is no stream'
}

function foundIn(entry: Reply): Found {
  const [id, fields] = Array.isArray(entry) ? entry : []
  const value = Array.isArray(fields) ? fields[1] : undefined
  const text = Buffer.isBuffer(value) ? value.toString('utf8') : ''
  return { id: Buffer.isBuffer(id) ? id.toString('latin1') : '', digest: hash('sha256', text), text }
}
