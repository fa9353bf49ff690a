import { Redis, type RedisOptions } from 'ioredis'
import type { Credentials } from './credentials.ts'
import { parseFacts, type ServerFacts, unfit } from './facts.ts'
import type { Argument, RedisLimits, RedisNode } from './settings.ts'
import { isRefusal, type Reply, refusalOf, type Trouble } from './trouble.ts'

/** One connection to one server. It never connects again: whoever wants that makes another, with the credentials of that day. */
export interface Connection extends Disposable {
  readonly node: RedisNode
  /** As of the last look; `look` takes another. */
  facts(): ServerFacts
  /** Asks what server this is now, and whether it may be used. */
  look(signal: AbortSignal): Promise<Trouble | undefined>
  /** Sends the commands in one piece, with nothing of anyone else between them. */
  send(words: readonly Words[], signal: AbortSignal): Promise<Sent>
  /** Aborts when the connection has ended. */
  readonly ended: AbortSignal
}

/** One command in the form it is sent; which ones there are is said by the door, see COMMANDS. */
export type Words = readonly [string, ...Argument[]]

export type Sent =
  | { readonly ok: true; readonly replies: readonly Reply[] }
  | { readonly ok: false; readonly trouble: Trouble; readonly executed: 'no' | 'unknown' }

export type Connected =
  | { readonly ok: true; readonly connection: Connection }
  | { readonly ok: false; readonly trouble: Trouble }

export interface ConnectionPlan {
  readonly node: RedisNode
  readonly credentials: Credentials
  readonly limits: RedisLimits
  /** What must hold of the server: a master for data; sentinels are asked nothing. */
  readonly fit: 'master' | 'any'
}

/** Connects, proves who we are, and looks at what server it is. Every failure is a value. */
export async function connect(plan: ConnectionPlan, signal: AbortSignal): Promise<Connected> {
  const { node, credentials, limits } = plan
  const redis = new Redis(optionsFor(plan))
  let broke: Trouble | undefined
  // Without a listener ioredis prints to the console.
  redis.on('error', (cause: unknown) => {
    broke = networkTrouble(cause)
  })
  const ended = new AbortController()
  redis.on('end', () => ended.abort())
  const stop = () => redis.disconnect()
  signal.addEventListener('abort', stop, { once: true })
  const failed = (trouble: Trouble): Connected => {
    redis.disconnect()
    return { ok: false, trouble }
  }
  try {
    if (signal.aborted) return failed('aborted')
    await redis.connect()
  } catch {
    return failed(signal.aborted ? 'aborted' : (broke ?? 'lost'))
  } finally {
    signal.removeEventListener('abort', stop)
  }
  const connection = over(redis, node, limits, ended.signal)
  const trouble =
    (await admitted(connection, credentials, signal)) ??
    (plan.fit === 'master' ? await connection.look(signal) : undefined)
  return trouble ? failed(trouble) : { ok: true, connection }
}

// Each default of ioredis 6 that hangs, resends or prints, by name. Three are switched off by taking the job over: authentication (its own
// goes on after "no password is set"), connecting again (its own keeps the credentials of the first time) and `commandTimeout` (see `inTime`).
function optionsFor({
  node,
  credentials: { tls },
  limits,
}: ConnectionPlan): RedisOptions & { readonly replyMapping: 'legacy' } {
  return {
    host: node.host,
    port: node.port,
    ...(tls ? { tls: { ...tls } } : {}),
    db: 0,
    lazyConnect: true,
    connectTimeout: limits.connectMs,
    disconnectTimeout: limits.commandMs,
    socketTimeout: limits.socketMs,
    keepAlive: 10_000,
    noDelay: true,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxLoadingRetryTime: 0,
    retryStrategy: () => undefined,
    reconnectOnError: null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    disableClientInfo: true,
    protocol: 2,
    replyMapping: 'legacy',
    stringNumbers: false,
    showFriendlyErrorStack: false,
  }
}

// A user without a password is one of `nopass`, behind a server that lets nobody connect without a certificate.
async function admitted(
  connection: Connection,
  { username, password }: Credentials,
  signal: AbortSignal,
): Promise<Trouble | undefined> {
  if (password === undefined && username === undefined) return undefined
  const sent = await connection.send([['auth', ...(username ? [username] : []), password ?? '']], signal)
  if (!sent.ok) return sent.trouble
  return sent.replies[0] instanceof Buffer ? undefined : 'forbidden'
}

function over(redis: Redis, node: RedisNode, limits: RedisLimits, ended: AbortSignal): Connection {
  let facts = parseFacts('')
  let pending = 0
  const send = async (commands: readonly Words[], signal: AbortSignal): Promise<Sent> => {
    if (signal.aborted) return { ok: false, trouble: 'aborted', executed: 'no' }
    if (redis.status !== 'ready') return { ok: false, trouble: 'lost', executed: 'no' }
    if (pending + commands.length > limits.pending) return { ok: false, trouble: 'busy', executed: 'no' }
    pending += commands.length
    // All are written in this turn of the event loop, so that nothing comes between MULTI and EXEC.
    const replies = commands.map(([name, ...args]) => asked(redis, name, args))
    const all = Promise.all(replies).finally(() => {
      pending -= commands.length
    })
    return inTime(all, limits.commandMs, signal)
  }
  return {
    node,
    facts: () => facts,
    send,
    ended,
    async look(signal) {
      const sections = ['server', 'replication', 'memory', 'persistence'] as const
      const sent = await send(
        sections.map((section) => ['info', section] as const),
        signal,
      )
      if (!sent.ok) return sent.trouble
      const refused = sent.replies.find(isRefusal)
      if (refused) return refused.refused
      facts = parseFacts(sent.replies.map(String).join('\r\n'))
      return unfit(facts)
    },
    [Symbol.dispose]: () => redis.disconnect(),
  }
}

/** What befell one command; the first one that befell any decides over all. */
class Befallen {
  readonly trouble: Trouble
  constructor(trouble: Trouble) {
    this.trouble = trouble
  }
}

async function asked(redis: Redis, name: string, args: readonly Argument[]): Promise<Reply | Befallen> {
  try {
    return replyOf(await redis.callBuffer(name, ...args))
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'ReplyError')
      return refusalOf(cause.message, redis.options.host)
    return new Befallen('lost')
  }
}

/**
 * Timers run before sockets are read. Whoever was kept from the event loop for longer than `limitMs` would call late what has been lying in
 * the socket all the time; so when the limit has passed, sockets are read once more (`setImmediate` comes after them) before it counts.
 */
async function inTime(
  all: Promise<readonly (Reply | Befallen)[]>,
  limitMs: number,
  signal: AbortSignal,
): Promise<Sent> {
  const { promise: over, resolve } = Promise.withResolvers<Trouble>()
  const limit = AbortSignal.timeout(limitMs)
  const abort = () => resolve('aborted')
  const late = () => void setImmediate(resolve, 'timeout')
  signal.addEventListener('abort', abort, { once: true })
  limit.addEventListener('abort', late, { once: true })
  const replies = await Promise.race([all, over]).finally(() => {
    signal.removeEventListener('abort', abort)
    limit.removeEventListener('abort', late)
  })
  if (typeof replies === 'string') return { ok: false, trouble: replies, executed: 'unknown' }
  const befallen = replies.find((reply) => reply instanceof Befallen)
  if (befallen) return { ok: false, trouble: befallen.trouble, executed: 'unknown' }
  return { ok: true, replies: replies.filter((reply): reply is Reply => !(reply instanceof Befallen)) }
}

// From the library's shapes to ours; an error among the results of EXEC is a value already.
function replyOf(raw: unknown): Reply {
  if (raw === null || raw === undefined) return undefined
  if (typeof raw === 'number' || Buffer.isBuffer(raw)) return raw
  if (typeof raw === 'string') return Buffer.from(raw)
  if (raw instanceof Error) return refusalOf(raw.message)
  return Array.isArray(raw) ? raw.map(replyOf) : { refused: 'other' }
}

function networkTrouble(cause: unknown): Trouble {
  const { code = '', syscall = '' } = cause instanceof Error ? (cause as NodeJS.ErrnoException) : {}
  if (code === 'ETIMEDOUT') return 'timeout'
  return syscall === '' && /CERT|SSL|TLS|ALERT|SELF_SIGNED|UNABLE|ALTNAME|DEPTH/.test(code)
    ? 'tls'
    : 'unconnected'
}
