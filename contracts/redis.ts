import type { Connection, Words } from './redis/connection.ts'
import type { CredentialNeeds } from './redis/credentials.ts'
import type { Seat, SeatNeeds } from './redis/seat.ts'
import { createClusterSeats, createOneSeat } from './redis/seats.ts'
import { type Command, REDIS_LIMITS, type RedisLimits, type RedisSettings } from './redis/settings.ts'
import { type Answer, isRefusal, type Refusal, type Reply, type Trouble } from './redis/trouble.ts'

/** Redis, standalone, by Sentinel or as a Cluster: nothing waits longer than its limit, and nothing is ever sent twice. */
export interface Redis {
  /** Keeps the connections until the signal aborts. Before, and while a server is away, questions are refused at once. */
  run(signal: AbortSignal): Promise<void>
  /** One command about `key`. */
  ask(question: Question, command: Command, signal: AbortSignal): Promise<Answer<Reply>>
  /** Commands about `key` alone, in one transaction: all replies, or none. */
  atomically(
    question: Question,
    commands: readonly Command[],
    signal: AbortSignal,
  ): Promise<Answer<Transaction>>
  /**
   * Names the history of writes of the server that has `key` now; `undefined` while there is none. Another name means that acknowledged
   * writes may be lost: a replica was promoted, a server restarted, or it was replaced.
   */
  history(key: string): string | undefined
  /** Counts the connections that were made: while it stays the same, so does every history. */
  connections(): number
  /** Why something is missing; empty when every server that is needed is there. */
  troubles(): readonly Trouble[]
}

export interface Question {
  /** Decides which server is asked. Every key of the commands must lie in its slot. */
  readonly key: string
  /** Asks only if the server is still of this history. */
  readonly history?: string
  /** After a transaction: how many replicas must have it, and how long to wait for them. */
  readonly durable?: { readonly replicas: number; readonly withinMs: number }
}

export interface Transaction {
  readonly replies: readonly Reply[]
  /** Replicas that have it; 0 when nobody was waited for. */
  readonly replicas: number
}

export interface RedisNeeds extends CredentialNeeds {
  readonly sleep: SeatNeeds['sleep']
  readonly random: SeatNeeds['random']
  /** Told when a server was reached (`trouble` is undefined) or was given up. */
  readonly report: (facts: { readonly address: string; readonly trouble: Trouble | undefined }) => void
}

/** Nothing is connected before `run`. `limits` replaces single ones of REDIS_LIMITS. */
export function createRedis(
  settings: RedisSettings,
  needs: RedisNeeds,
  limits: Partial<RedisLimits> = {},
): Redis {
  const means = { settings, needs, limits: { ...REDIS_LIMITS, ...limits } }
  const { sleep, random, report } = needs
  let connections = 0
  const changed: SeatNeeds['changed'] = ({ host, port }, trouble) => {
    if (!trouble) connections++
    report({ address: `${host}:${port}`, trouble })
  }
  const create = settings.mode === 'cluster' ? createClusterSeats : createOneSeat
  const seats = create(means, { sleep, random, changed })

  // What was refused with MOVED or ASK was not executed, and only that is asked again, elsewhere.
  const follow = async (
    question: Question,
    words: readonly Words[],
    signal: AbortSignal,
  ): Promise<Answered> => {
    let seat = seats.forKey(question.key)
    let asking = false
    for (let redirections = 0; ; redirections++) {
      const answered = await askSeat(seat, { question, words, asking }, signal)
      const to = answered.ok ? refusedIn(answered.reply)?.to : undefined
      const next = to && seats.redirected(to)
      if (!next || redirections >= means.limits.redirections) return answered
      seat = next
      asking = to.ask
    }
  }
  return {
    run: seats.keep,
    async ask(question, command, signal) {
      const answered = await follow(question, [command], signal)
      if (!answered.ok) return answered
      const refused = refusedIn(answered.reply)
      return refused ? refusal(refused) : { ...answered, reply: answered.reply[0] }
    },
    async atomically(question, commands, signal) {
      const { durable } = question
      const wait: readonly Command[] = durable?.replicas ? [['wait', durable.replicas, durable.withinMs]] : []
      const words: readonly Command[] = [['multi'], ...commands, ['exec'], ...wait]
      const answered = await follow(question, words, signal)
      return answered.ok ? transactionOf(answered, commands.length) : answered
    },
    connections: () => connections,
    history: (key) => seats.forKey(key)?.connection()?.facts().history,
    troubles() {
      const all = seats.all()
      const missing = all.filter((seat) => !seat.connection()).map((seat) => seat.trouble() ?? 'unconnected')
      return all.length === 0 ? ['unresolved'] : missing
    },
  }
}

type Answered = Answer<readonly Reply[]>

interface Sending {
  readonly question: Question
  readonly words: readonly Words[]
  readonly asking: boolean
}

async function askSeat(
  seat: Seat | undefined,
  { question, words, asking }: Sending,
  signal: AbortSignal,
): Promise<Answered> {
  const connection = seat?.connection()
  if (!seat || !connection) return { ok: false, trouble: seat?.trouble() ?? 'unresolved', executed: 'no' }
  const { history } = connection.facts()
  if (question.history !== undefined && question.history !== history)
    return { ok: false, trouble: 'unconnected', executed: 'no' }
  const sent = await send(connection, asking ? [['asking'], ...words] : words, signal)
  const refused = sent.ok ? refusedIn(sent.replies)?.refused : sent.trouble
  seat.note(refused ?? 'fine')
  if (!sent.ok) return sent
  return { ok: true, reply: asking ? sent.replies.slice(1) : sent.replies, server: history }
}

function send(connection: Connection, words: readonly Words[], signal: AbortSignal) {
  return connection.send(words, signal)
}

// The first one says why; what follows it in a transaction is only "the transaction was discarded".
function refusedIn(replies: readonly Reply[]): Refusal | undefined {
  return replies.find(isRefusal)
}

function refusal({ refused }: Refusal): Answer<never> {
  return { ok: false, trouble: refused, executed: 'no' }
}

function transactionOf(
  { reply, server }: Extract<Answered, { ok: true }>,
  count: number,
): Answer<Transaction> {
  const refused = refusedIn(reply)
  if (refused) return refusal(refused)
  const results = reply[count + 1]
  const replicas = reply[count + 2]
  if (!Array.isArray(results) || results.length !== count)
    return { ok: false, trouble: 'other', executed: 'unknown' }
  const replies: readonly Reply[] = results
  const inside = refusedIn(replies)
  // Redis does not take a transaction back when one of its commands fails.
  if (inside) return { ok: false, trouble: inside.refused, executed: 'unknown' }
  return { ok: true, server, reply: { replies, replicas: typeof replicas === 'number' ? replicas : 0 } }
}
