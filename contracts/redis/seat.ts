import { type Connected, type Connection, connect } from './connection.ts'
import { readCredentials } from './credentials.ts'
import type { Means } from './locate.ts'
import type { RedisNode } from './settings.ts'
import { sick, stray, type Trouble } from './trouble.ts'

/** The place of one server: empty, or a connection to it that has been proven. */
export interface Seat {
  connection(): Connection | undefined
  /** Why it is empty, or why it last was. */
  trouble(): Trouble | undefined
  /** Takes note of how a question went; after failures in a row, or at once when the connection leads astray, the seat is vacated. */
  note(outcome: Trouble | 'fine'): void
  /** Fills the seat whenever it is empty, until the signal aborts. */
  keep(signal: AbortSignal): Promise<void>
}

export interface SeatNeeds {
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Told when the seat is filled and when it is vacated. */
  readonly changed: (node: RedisNode, trouble: Trouble | undefined) => void
}

/** Finds the server for the seat; asked before each connection. */
export type Locate = (signal: AbortSignal) => Promise<RedisNode | undefined>

/**
 * A circuit breaker whose half-open probe is a new connection: closed while there is a connection, open while there is none, so that a
 * question is refused at once instead of waiting; and only a server that has just proven itself in time closes it again.
 */
export function createSeat(means: Means, locate: Locate, needs: SeatNeeds): Seat {
  const { limits } = means
  let connection: Connection | undefined
  let trouble: Trouble | undefined = 'unconnected'
  let failures = 0
  let attempts = 0

  const vacate = (why: Trouble): void => {
    if (!connection) return
    connection[Symbol.dispose]()
    const { node } = connection
    connection = undefined
    trouble = why
    if (why !== 'aborted') needs.changed(node, why)
  }
  const note = (outcome: Trouble | 'fine'): void => {
    if (outcome === 'fine') {
      failures = 0
      attempts = 0
    } else if (stray(outcome)) vacate(outcome)
    else if (sick(outcome) && ++failures >= limits.failures) vacate(outcome)
  }
  const fill = async (signal: AbortSignal): Promise<void> => {
    const made = await reach(means, locate, signal)
    if (!made.ok) {
      trouble = made.trouble
      return
    }
    connection = made.connection
    failures = 0
    trouble = undefined
    needs.changed(connection.node, undefined)
  }
  const watch = async (signal: AbortSignal): Promise<void> => {
    const held = connection
    if (!held) return
    const within = AbortSignal.any([signal, held.ended])
    while (connection === held) {
      await needs.sleep(limits.heartbeatMs, within).catch(() => undefined)
      if (held.ended.aborted) vacate('lost')
      if (signal.aborted || connection !== held) return
      const found = await held.look(signal)
      // Whatever it has become, it is not what was proven; a look that took too long is one failure among others.
      if (found && !sick(found)) vacate(found)
      else note(found ?? 'fine')
    }
  }
  return {
    connection: () => connection,
    trouble: () => trouble,
    note,
    async keep(signal) {
      while (!signal.aborted) {
        await fill(signal)
        await watch(signal)
        attempts++
        const [first, most] = limits.retryMs
        const wait = Math.min(first * 2 ** Math.min(attempts - 1, 10), most)
        // By up to a half shorter at random: the replicas of a workload do not knock in step.
        await needs.sleep(wait * (0.5 + needs.random() / 2), signal).catch(() => undefined)
      }
      vacate('aborted')
    },
  }
}

async function reach(means: Means, locate: Locate, signal: AbortSignal): Promise<Connected> {
  const node = await locate(signal)
  if (!node) return { ok: false, trouble: 'unresolved' }
  const credentials = await readCredentials(means.settings, means.needs)
  if (!credentials) return { ok: false, trouble: 'credentials' }
  return connect({ node, credentials, limits: means.limits, fit: 'master' }, signal)
}
