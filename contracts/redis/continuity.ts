import type { Redis, Transaction } from '../redis.ts'
import type { Command } from './settings.ts'
import type { Answer } from './trouble.ts'

/**
 * A memory of what happened, kept in Redis, that knows when it may have gaps. Replication is asynchronous: a promoted replica may lack
 * the last acknowledged writes, a restart may lose more, and FLUSHALL all. Whoever then believed "not seen yet" would let a replay pass.
 *
 * So each part of the memory carries a mark with the name of the history of writes (`master_replid`) that it was begun under, and every
 * transaction reads it. A mark that is missing or names another history is a gap: it is written anew together with a second key that
 * lives for the window, and until that has expired every answer is unavailable. Both keys are in Redis, so that all who share
 * the memory agree, also one that starts in the middle, and no clock of ours is part of it.
 */
export interface Continuity {
  /** The tag that puts everything about `digest` into one slot, together with its mark. */
  tag(digest: Buffer): string
  /** A key of the part `tag`. */
  key(tag: string, name: string): string
  /** Commands about keys of one part, in one transaction; `trouble: 'gap'` while the part may have forgotten something. */
  within(
    tag: string,
    commands: readonly Command[],
    how: How,
    signal: AbortSignal,
  ): Promise<Answer<Transaction>>
  /**
   * Looks into every part whenever a server was reached anew, until the signal aborts: so a gap begins, and ends, when the server came,
   * and not when somebody first asks. `then` is called with each look, and says whether it has no more to do.
   */
  run(sleep: Sleep, signal: AbortSignal, then?: () => Promise<boolean>): Promise<void>
}

type Sleep = (ms: number, signal: AbortSignal) => Promise<void>

/** Between two looks whether a server was replaced, milliseconds. */
const LOOK_MS = 250

export interface How {
  readonly durable?: { readonly replicas: number; readonly withinMs: number }
}

export interface ContinuityPlan {
  /** Begins every key, with the prefix of the ACL. */
  readonly prefix: string
  /** How long what is remembered matters, or how long those who share it need to repair a gap; milliseconds. */
  readonly windowMs: number
}

/** Parts of the memory: each has a slot of its own in a Cluster, and few enough marks to be all known soon. */
const PARTS = 64

export function createContinuity(redis: Redis, { prefix, windowMs }: ContinuityPlan): Continuity {
  const key = (tag: string, name: string) => `${prefix}:{${tag}}:${name}`

  const begin = async (tag: string, history: string, signal: AbortSignal): Promise<void> => {
    const commands: readonly Command[] = [
      ['set', key(tag, 'gap'), '1', 'PX', windowMs],
      ['set', key(tag, 'mark'), history],
    ]
    await redis.atomically({ key: key(tag, 'mark'), history }, commands, signal)
  }
  const within: Continuity['within'] = async (tag, commands, { durable }, signal) => {
    const mark = key(tag, 'mark')
    const all: readonly Command[] = [['get', mark], ['exists', key(tag, 'gap')], ...commands]
    const answer = await redis.atomically({ key: mark, ...(durable ? { durable } : {}) }, all, signal)
    if (!answer.ok) {
      // Somebody put another type there; it is overwritten like any wrong mark.
      const history = answer.trouble === 'wrong_type' ? redis.history(mark) : undefined
      if (history) await begin(tag, history, signal)
      return answer
    }
    const [marked, gap, ...replies] = answer.reply.replies
    const continuous = Buffer.isBuffer(marked) && marked.toString('latin1') === answer.server
    if (!continuous) await begin(tag, answer.server, signal)
    if (!continuous || gap !== 0) return { ok: false, trouble: 'gap', executed: 'unknown' }
    return { ...answer, reply: { replies, replicas: answer.reply.replicas } }
  }
  const survey = async (signal: AbortSignal): Promise<boolean> => {
    let complete = true
    for (let part = 0; part < PARTS && !signal.aborted; part++) {
      const answer = await within(String(part), [], {}, signal)
      complete &&= answer.ok || answer.trouble === 'gap'
    }
    return complete
  }
  return {
    tag: (digest) => String((digest[0] ?? 0) % PARTS),
    key,
    within,
    async run(sleep, signal, then = async () => true) {
      let seen = -1
      while (!signal.aborted) {
        await sleep(LOOK_MS, signal).catch(() => undefined)
        const connections = redis.connections()
        if (connections === seen || signal.aborted) continue
        const done = await then()
        if ((await survey(signal)) && done) seen = connections
      }
    },
  }
}
