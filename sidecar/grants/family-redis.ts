import { createContinuity } from '../../contracts/redis/continuity.ts'
import type { Command } from '../../contracts/redis/settings.ts'
import type { Answer, Reply } from '../../contracts/redis/trouble.ts'
import type { Redis, Transaction } from '../../contracts/redis.ts'
import { createFamilyJournal } from './family-journal.ts'
import { namesSuccessor } from './family-records.ts'
import { ENDED_WHY, type EndedWhy, type FamilyStore, type Found, type Taken } from './family-store.ts'

export interface FamilyRedisPlan {
  readonly keyPrefix: string
  /** Replicas that must have a change before it is told; 0 where there are none. */
  readonly replicas: number
  /** After a gap nothing is rotated for so long, so that everyone who changed families just before it can end them. */
  readonly quarantineMs: number
  /** How long a change that replicas have is remembered here all the same. */
  readonly journalMs: number
}

export const FAMILY_REDIS: Omit<FamilyRedisPlan, 'keyPrefix' | 'replicas'> = {
  quarantineMs: 10_000,
  journalMs: 30_000,
}

export interface SharedFamilies extends FamilyStore {
  /** Ends the families that were changed just before a gap, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
}

/** How long replicas are waited for. Redis looks after such waits ten times a second only. */
const WAIT_MS = 100
/** An ended family is remembered for as long as a family may live. */
const MOST_LIFE_MS = 400 * 24 * 3_600_000

interface SharedNeeds {
  readonly redis: Redis
  readonly wall: () => number
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

/**
 * Families that all replicas of a workload share. One hash a family, `f` its facts, `x` why it ended, `i…` and `u…` issued and
 * used tokens; HSETNX of `u…` decides who used a token.
 *
 * A failover is the one moment that could bring a used token back to life: Redis replicates after it has answered, so the promoted replica
 * may not know of the last rotations, and would take the stolen, used token for a good one. Three things together prevent that. WAIT: a
 * rotation is told when `replicas` have it. The journal: whatever this process changed lately, or whatever no replica
 * confirmed, it ends on the new master before anything is served. The quarantine: for `quarantineMs` after a gap nobody rotates, so that every
 * process has had the time. What stays open is a process that dies together with the master before a replica had its rotation.
 */
export function createSharedFamilies(needs: SharedNeeds, plan: FamilyRedisPlan): SharedFamilies {
  const { redis, wall, sleep } = needs
  const kept = createKept(redis, plan, wall)
  const { continuity, place, transact, anyway, end, journal } = kept
  return {
    async create(family, { token, issued, facts, expiresAtMs }, signal) {
      const { key } = place(family)
      const commands: readonly Command[] = [
        ['hsetnx', key, 'f', facts],
        ['hget', key, 'x'],
        ['hsetnx', key, field('i', token), issued],
        ['pexpireat', key, expiresAtMs, 'NX'],
      ]
      // Whatever was forgotten, a family that begins now is not among it.
      const replies = await anyway(family, commands, signal)
      return replies ? begunBy(replies) : 'unavailable'
    },
    async find(family, token, signal) {
      const { key } = place(family)
      const read: Command = ['hmget', key, 'f', 'x', field('i', token), field('u', token)]
      const replies = await transact(family, [read], 'read', signal)
      const values = replies?.[0]
      return Array.isArray(values) ? foundIn(values) : 'unavailable'
    },
    async take(family, { token, used, parent, next, issued, expiresAtMs }, signal) {
      const { key } = place(family)
      const commands: readonly Command[] = [
        ['hsetnx', key, field('u', token), used],
        ['hget', key, 'x'],
        ['hget', key, field('u', parent ?? token)],
        ['hset', key, field('i', next), issued],
        ['pexpireat', key, expiresAtMs, 'NX'],
      ]
      const replies = await transact(family, commands, 'write', signal)
      return replies ? takenFrom(replies, token, parent) : 'unavailable'
    },
    end,
    run: (signal) =>
      continuity.run(sleep, signal, async () => {
        let complete = true
        for (const family of journal.cutOff((one) => redis.history(place(one).key))) {
          const ended = await end(family, 'gap', wall() + MOST_LIFE_MS, signal)
          if (ended === 'ended') journal.settled(family)
          else complete = false
        }
        return complete
      }),
  }
}

// Where a family lies, and how it is asked about.
function createKept(redis: Redis, plan: FamilyRedisPlan, wall: () => number) {
  const continuity = createContinuity(redis, { prefix: `${plan.keyPrefix}:rf`, windowMs: plan.quarantineMs })
  const journal = createFamilyJournal(wall, plan.journalMs)
  const durable = { replicas: plan.replicas, withinMs: WAIT_MS }
  const place = (family: Buffer) => {
    const tag = continuity.tag(family)
    return { tag, key: continuity.key(tag, family.toString('base64url')), mark: continuity.key(tag, 'mark') }
  }
  const note = (family: Buffer, before: string | undefined, answer: Answer<Transaction>): void => {
    if (!answer.ok && answer.executed === 'no') return
    const confirmed = answer.ok && answer.reply.replicas >= plan.replicas
    journal.changed(family, answer.ok ? answer.server : before, confirmed)
  }
  // Beginnings and ends may be told at any time, also into a gap: they take nothing for granted.
  const anyway = async (family: Buffer, commands: readonly Command[], signal: AbortSignal) => {
    const { key, mark } = place(family)
    const before = redis.history(key)
    const answer = await redis.atomically({ key: mark, durable }, commands, signal)
    note(family, before, answer)
    return answer.ok ? answer.reply.replies : undefined
  }
  return {
    continuity,
    place,
    journal,
    async transact(
      family: Buffer,
      commands: readonly Command[],
      kind: 'read' | 'write',
      signal: AbortSignal,
    ) {
      const { tag, key } = place(family)
      const before = redis.history(key)
      const answer = await continuity.within(tag, commands, kind === 'write' ? { durable } : {}, signal)
      if (kind === 'write') note(family, before, answer)
      return answer.ok ? answer.reply.replies : undefined
    },
    anyway,
    async end(family: Buffer, why: EndedWhy, untilMs: number, signal: AbortSignal) {
      const { key } = place(family)
      const commands: readonly Command[] = [
        ['hsetnx', key, 'x', why],
        ['pexpireat', key, untilMs, 'NX'],
      ]
      return (await anyway(family, commands, signal)) ? ('ended' as const) : ('unavailable' as const)
    },
  }
}

// Facts and token are both there already: the same question came again, its first answer may have been lost.
function begunBy([facts, ended, token]: readonly Reply[]): 'created' | 'exists' {
  return facts === token && ended === undefined ? 'created' : 'exists'
}

function field(kind: 'i' | 'u', token: Buffer): Buffer {
  return Buffer.concat([Buffer.from(kind), token])
}

function foundIn(values: readonly Reply[]): Found | 'unknown' {
  const [facts, ended, issued, used] = values.map((value) => (Buffer.isBuffer(value) ? value : undefined))
  if (!facts && !ended && !issued && !used) return 'unknown'
  const why = ended?.toString('latin1')
  return {
    ended: why === undefined ? undefined : (ENDED_WHY.find((one) => one === why) ?? 'unreadable'),
    facts,
    issued,
    used,
  }
}

function takenFrom(
  [first, ended, parentUsed]: readonly Reply[],
  token: Buffer,
  parent: Buffer | undefined,
): Taken {
  if (first !== 1) return 'lost'
  if (ended !== undefined) return 'ended'
  const record = Buffer.isBuffer(parentUsed) ? parentUsed : undefined
  return parent && !namesSuccessor(record, token) ? 'stray' : 'won'
}
