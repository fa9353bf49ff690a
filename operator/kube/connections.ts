import { createHash } from 'node:crypto'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import type { Monotonic } from '../ports.ts'
import type { Access, ReadAccess } from './credentials.ts'
import type { KubeMetrics } from './metrics.ts'

/** How to reach the API server now. */
export interface Line {
  readonly dispatcher: Dispatcher
  readonly origin: string
  /** Path prefix of the server address, without a slash at its end. */
  readonly prefix: string
  readonly headers: Readonly<Record<string, string>>
  /** Changes with the credentials; names nothing of them. */
  readonly version: number
}

export interface Connections extends AsyncDisposable {
  /** `anew`: read the credentials even if they were read a moment ago (the server just refused them). */
  line(anew?: boolean): Promise<Line>
}

export interface ConnectionNeeds {
  readonly read: ReadAccess
  readonly monotonic: Monotonic
  readonly metrics: KubeMetrics
}

const READ_EVERY_MS = 10_000
/** After a refusal the credentials are read again, but not by every refused request at once. */
const READ_ANEW_MS = 1_000
const CONNECT_MS = 5_000
const IDLE_MS = 60_000
/** Watches hold one each; the rest is for requests, which then wait in turn. */
const MAX_CONNECTIONS = 128

/**
 * One dispatcher for all requests, so connections are reused. A new one takes over when the server address, CA or client
 * certificate changes; the old one finishes what it has begun (a watch ends by its own time limit) and closes. A new token
 * needs no new connection: it goes out with the next request.
 */
export function createConnections({ read, monotonic, metrics }: ConnectionNeeds): Connections {
  let current: (Line & { readonly tlsMark: string; readonly accessMark: string }) | undefined
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<Line> | undefined
  const all = new Set<Dispatcher>()

  const renew = async (): Promise<Line> => {
    const access = await read()
    readAt = monotonic()
    const [tlsMark, accessMark] = [markOf(access, false), markOf(access, true)]
    if (current?.accessMark === accessMark) return current
    const kept = current?.tlsMark === tlsMark ? current : undefined
    const { origin, pathname } = new URL(access.server)
    if (current && !kept) retire(current.dispatcher)
    const dispatcher = kept?.dispatcher ?? openAgent(access, metrics)
    all.add(dispatcher)
    current = {
      dispatcher,
      origin,
      prefix: pathname.replace(/\/+$/, ''),
      headers: access.headers ?? {},
      version: (current?.version ?? 0) + 1,
      tlsMark,
      accessMark,
    }
    return current
  }
  const retire = (dispatcher: Dispatcher): void => {
    const forget = () => all.delete(dispatcher)
    dispatcher.close().then(forget, forget)
  }

  return {
    async line(anew = false) {
      const age = monotonic() - readAt
      if (current && age < (anew ? READ_ANEW_MS : READ_EVERY_MS)) return current
      reading ??= renew().finally(() => {
        reading = undefined
      })
      return reading
    },
    async [Symbol.asyncDispose]() {
      // Whoever still waits for an answer was told to stop before this.
      await Promise.all([...all].map((one) => one.destroy().catch(() => undefined)))
    },
  }
}

function openAgent(access: Access, metrics: KubeMetrics): Dispatcher {
  const connect = buildConnector({ ...access.tls, timeout: CONNECT_MS, allowH2: false, keepAlive: true })
  return new Agent({
    // A watch must not share its connection's fate with anything else, so HTTP/1.1: one request, one connection.
    allowH2: false,
    pipelining: 1,
    connections: MAX_CONNECTIONS,
    keepAliveTimeout: IDLE_MS,
    // Deadlines are the transport's, per request; a watch may be silent for longer than any default.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (options, callback) => {
      metrics.add('portcullis_kube_connections_total', {})
      return connect(options, callback)
    },
  })
}

function markOf({ server, tls = {}, headers = {} }: Access, withHeaders: boolean): string {
  const { ca, cert, key, passphrase, servername, rejectUnauthorized } = tls
  const parts = [server, ca, cert, key, passphrase, servername, rejectUnauthorized].map((part) =>
    part === undefined ? '' : String(part),
  )
  const listed = withHeaders ? Object.entries(headers).flat() : []
  return createHash('sha256')
    .update(JSON.stringify([...parts, ...listed]))
    .digest('hex')
}
