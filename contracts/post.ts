import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { allowedAddress, allowedUrl, JSON_TYPE, type RoadRules, readBody } from './fetch/road.ts'

/** What one POST may do. */
export interface PostRules extends RoadRules {
  readonly maxBytes: number
  /** For everything: address, connection, question and the whole answer. */
  readonly timeoutMs: number
  /** Certificate authorities to trust in place of the system's, PEM; empty: the system's. */
  readonly ca: string
  /** TLS client certificate (RFC 8705 section 2), PEM; `undefined`: none is shown. */
  readonly client: ClientCertificate | undefined
}

export interface ClientCertificate {
  /** Leaf first. */
  readonly cert: string
  readonly key: string
}

export type Posted =
  /** There is an answer; whether it is a good one, its reader decides. */
  | { readonly kind: 'answered'; readonly status: number; readonly json: boolean; readonly body: Buffer }
  /** There is an answer that nobody should read: larger than allowed. */
  | { readonly kind: 'unusable'; readonly why: string }
  /** No complete answer came in time, or none at all. */
  | { readonly kind: 'unreachable'; readonly why: string }

/** Sends a form, made anew each time it is sent; never rejects. `why` names the URL and the problem and nothing of the form. */
export type PostForm = (
  url: string,
  form: () => Readonly<Record<string, string>>,
  rules: PostRules,
  signal: AbortSignal,
) => Promise<Posted>

export interface Poster extends Disposable {
  readonly post: PostForm
  /** Connections that are open, in use or not. */
  readonly connections: () => number
}

export const POST_LIMITS = {
  /** Connections to one endpoint at once, and how many of them are kept when nobody uses them. */
  sockets: 8,
  idleSockets: 2,
  idleMs: 15_000,
  /** Endpoints whose connections are kept. */
  endpoints: 64,
  headerBytes: 8 * 1024,
} as const

/**
 * POSTs of forms, hardened as the GETs of contracts/fetch.ts are: https (plain http to loopback only, and only when allowed), no
 * redirect, no proxy, no cookie, the resolved address checked at the very moment a connection is made, bounded size and time. Connections
 * are kept for the next question, a few for each endpoint: a TLS handshake costs more than an introspection. Dispose it.
 */
export function createPoster(): Poster {
  const pools = new Map<string, Pool>()
  const poolOf = (url: URL, rules: PostRules): Pool => {
    // Whoever may reach less never shares a connection with whoever may reach more.
    const key = JSON.stringify([url.origin, rules.insecureLoopback, rules.privateAddresses])
    const known = pools.get(key)
    if (known) return known
    if (pools.size >= POST_LIMITS.endpoints) dropOldest(pools)
    const pool = url.protocol === 'https:' ? new HttpsAgent(AGENT) : new HttpAgent(AGENT)
    pools.set(key, pool)
    return pool
  }
  return {
    async post(text, form, rules, signal) {
      const within = AbortSignal.any([signal, AbortSignal.timeout(rules.timeoutMs)])
      try {
        const url = allowedUrl(text, rules)
        // A literal address is never looked up, so it is judged here; names are judged when they are connected to.
        if (isIP(url.hostname.replace(/^\[|\]$/g, ''))) await allowedAddress(url, rules, within)
        return await asked({ url, form, rules, pool: poolOf(url, rules), signal: within })
      } catch (cause) {
        const late = within.aborted && !signal.aborted
        const why = late ? `no complete answer within ${rules.timeoutMs} ms` : problemOf(cause)
        return { kind: 'unreachable', why: why.includes(text) ? why : `${text}: ${why}` }
      }
    },
    connections: () => [...pools.values()].reduce((sum, pool) => sum + socketsOf(pool), 0),
    [Symbol.dispose]() {
      for (const pool of pools.values()) pool.destroy()
    },
  }
}

type Pool = HttpAgent | HttpsAgent

const AGENT = {
  keepAlive: true,
  maxSockets: POST_LIMITS.sockets,
  // Connections that show an earlier certificate of ours count as well, until they have been idle for long enough.
  maxTotalSockets: 2 * POST_LIMITS.sockets,
  maxFreeSockets: POST_LIMITS.idleSockets,
  timeout: POST_LIMITS.idleMs,
  scheduling: 'lifo',
} as const

interface Asking {
  readonly url: URL
  readonly form: () => Readonly<Record<string, string>>
  readonly rules: PostRules
  readonly pool: Pool
  readonly signal: AbortSignal
}

async function asked(asking: Asking): Promise<Posted> {
  const { url, rules } = asking
  const response = await responseTo(asking, true)
  let whole = false
  try {
    const { statusCode: status = 0, headers } = response
    const tooLarge = `${url.href}: larger than ${rules.maxBytes} bytes`
    if (Number(headers['content-length'] ?? 0) > rules.maxBytes) return { kind: 'unusable', why: tooLarge }
    const body = await readBody(response, url.href, rules.maxBytes).catch((cause: unknown) => {
      if (problemOf(cause) === tooLarge) return undefined
      throw cause
    })
    if (!body) return { kind: 'unusable', why: tooLarge }
    whole = true
    return { kind: 'answered', status, json: JSON_TYPE.test(headers['content-type'] ?? ''), body }
  } finally {
    // What was not read to its end must not be the beginning of the next answer.
    if (!whole) response.destroy()
  }
}

async function responseTo(asking: Asking, mayRepeat: boolean): Promise<IncomingMessage> {
  const { url, form, rules, pool, signal } = asking
  const body = new URLSearchParams(form()).toString()
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const options = {
    ...{ method: 'POST', signal, agent: pool, lookup: checkedLookup(url, rules, signal) },
    maxHeaderSize: POST_LIMITS.headerBytes,
    headers: {
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
    },
  }
  const trust = {
    rejectUnauthorized: true,
    ...(rules.ca === '' ? {} : { ca: rules.ca }),
    ...(rules.client ? { cert: rules.client.cert, key: rules.client.key } : {}),
  }
  let answered = false
  const begun = (response: IncomingMessage): void => {
    answered = true
    resolve(response)
  }
  const outgoing =
    url.protocol === 'https:'
      ? httpsRequest(url, { ...options, ...trust }, begun)
      : httpRequest(url, options, begun)
  outgoing.on('error', (cause) => {
    // Of an answer that breaks off its reader hears; the question was read, and is not asked again.
    if (answered) return
    // The server closed a kept connection while the question was on its way: nobody answered it, so it is asked once more.
    // It may have been read all the same: what may be used once, such as an assertion of who asks, is another one then.
    if (mayRepeat && outgoing.reusedSocket && 'code' in cause && cause.code === 'ECONNRESET')
      resolve(responseTo(asking, false))
    else reject(new Error(`${url.href}: ${cause.message}`, { cause }))
  })
  outgoing.end(body)
  return promise
}

// Runs when a connection is made and not before: the address that is checked is the one connected to.
function checkedLookup(url: URL, rules: PostRules, signal: AbortSignal): LookupFunction {
  return (_host, options, callback) => {
    allowedAddress(url, rules, signal).then(
      (address) => {
        const family = isIP(address)
        if (options.all) callback(null, [{ address, family }])
        else callback(null, address, family)
      },
      (cause: unknown) => callback(cause instanceof Error ? cause : new Error('no address'), ''),
    )
  }
}

function dropOldest(pools: Map<string, Pool>): void {
  for (const [key, pool] of pools) {
    pool.destroy()
    pools.delete(key)
    return
  }
}

function socketsOf({ sockets, freeSockets }: Pool): number {
  return [...Object.values(sockets), ...Object.values(freeSockets)].reduce(
    (sum, some) => sum + (some?.length ?? 0),
    0,
  )
}

function problemOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : 'unknown problem'
}
