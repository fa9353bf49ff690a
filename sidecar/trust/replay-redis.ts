import { createContinuity } from '../../contracts/redis/continuity.ts'
import type { Trouble } from '../../contracts/redis/trouble.ts'
import type { Redis } from '../../contracts/redis.ts'
import type { Sleep } from '../ports.ts'
import { REPLAY_LIMITS, type Replay, type Spent } from './replay.ts'

export interface SharedReplay extends Replay {
  /** Looks for gaps whenever Redis was reached anew, until the signal aborts. */
  run(sleep: Sleep, signal: AbortSignal): Promise<void>
  /** Answers so far; `unavailable` by trouble. */
  counts(): {
    readonly fresh: number
    readonly seen: number
    readonly unavailable: ReadonlyMap<Trouble, number>
  }
}

export interface ReplayPlan {
  /** Keeps its keys apart from those of others. */
  readonly part: 'rp' | 'once'
  /** The longest that anything is remembered. */
  readonly windowMs: number
}

/** Keys that this process knows to be used, so that a flood of one proof costs Redis one question. Two halves of so many. */
const KNOWN = 8_192

/**
 * A memory of used proofs that all replicas of a workload share: `SET … NX PX` in Redis. It is asked once; an answer that was lost means
 * that nobody can tell, and the proof is refused. For the longest life of a proof after a failover, a restart or FLUSHALL every answer
 * is `unavailable` (see contracts/redis/continuity.ts), and routes fall back to proofs with this replica's own nonce.
 * A key that holds anything at all counts as used, so that a poisoned store can only deny.
 */
export function createSharedReplay(
  redis: Redis,
  keyPrefix: string,
  { part, windowMs }: ReplayPlan = { part: 'rp', windowMs: REPLAY_LIMITS.ttlMs },
): SharedReplay {
  const continuity = createContinuity(redis, { prefix: `${keyPrefix}:${part}`, windowMs })
  const unavailable = new Map<Trouble, number>()
  let known = { young: new Set<string>(), old: new Set<string>() }
  let fresh = 0
  let seen = 0

  const remember = (name: string): void => {
    if (known.young.size >= KNOWN) known = { young: new Set(), old: known.young }
    known.young.add(name)
  }
  const ask = async (key: Buffer, ttlMs: number, signal: AbortSignal): Promise<Spent> => {
    const tag = continuity.tag(key)
    const name = continuity.key(tag, key.toString('base64url'))
    const answer = await continuity.within(tag, [['set', name, '1', 'NX', 'PX', ttlMs]], {}, signal)
    if (!answer.ok) {
      unavailable.set(answer.trouble, (unavailable.get(answer.trouble) ?? 0) + 1)
      return 'unavailable'
    }
    remember(key.toString('latin1'))
    if (answer.reply.replies[0] === undefined) seen++
    else fresh++
    return answer.reply.replies[0] === undefined ? 'seen' : 'fresh'
  }
  return {
    spend(key, ttlMs, signal) {
      if (!(ttlMs >= 1 && ttlMs <= windowMs)) return 'unavailable'
      const name = key.toString('latin1')
      if (!known.young.has(name) && !known.old.has(name)) return ask(key, ttlMs, signal())
      seen++
      return 'seen'
    },
    run: (sleep, signal) => continuity.run(sleep, signal),
    counts: () => ({ fresh, seen, unavailable }),
  }
}
