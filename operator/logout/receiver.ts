import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  AppendOutcome,
  type AppendRequest,
  type AppendResponse,
} from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { VerificationKey } from '../../contracts/jwks.ts'
import { listenOn, readBody } from '../listen.ts'
import type { Clocks } from '../ports.ts'
import { judgeLogout, type LogoutIssuer, readLogout } from './logout-token.ts'

/** Receives logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.5) and has the log deny what they end. */
export interface LogoutNeeds extends Clocks {
  /** By namespace and name; undefined when there is none, or it takes none. */
  readonly issuer: (namespace: string, name: string) => LogoutIssuer | undefined
  /** The key of that id; `gone`: there is none; `unavailable`: its keys cannot be had now. */
  readonly key: (
    source: string,
    kid: string,
    signal: AbortSignal,
  ) => Promise<VerificationKey | 'gone' | 'unavailable'>
  readonly append: (request: AppendRequest, signal: AbortSignal) => Promise<AppendResponse>
  /** One answer: HTTP status, and the rule that was broken, if any. */
  readonly observe: (status: number, why: string) => void
}

export interface RunningLogout extends AsyncDisposable {
  readonly port: number
}

const BODY_BYTES = 16 * 1024
const REQUEST_MS = 10_000
const IN_FLIGHT = 64
const REMEMBERED_MS = 15 * 60_000
/** Logouts a second that one TokenIssuer may bring, and bursts: each costs a signature check. */
const RATE = { burst: 200, perSecond: 50, issuers: 4_096 } as const
const PATH = /^\/logout\/([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/

interface Told {
  readonly status: number
  readonly why: string
}
const OK: Told = { status: 200, why: '' }
const invalid = (why: string): Told => ({ status: 400, why })
const later = (why: string): Told => ({ status: 503, why })

/** Plain HTTP: an ingress in front of it ends TLS. What is received is signed, and of no use to whoever reads it. */
export async function openLogout(
  listener: { readonly host: string; readonly port: number },
  needs: LogoutNeeds,
): Promise<RunningLogout> {
  const server = createServer({ maxHeaderSize: 8 * 1024, requestTimeout: REQUEST_MS, headersTimeout: 5_000 })
  server.maxConnections = 256
  server.keepAliveTimeout = 15_000
  const may = createRate(needs.monotonic)
  const closing = new AbortController()
  let inFlight = 0
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    inFlight++
    response.once('close', () => {
      inFlight--
    })
    const told =
      inFlight > IN_FLIGHT ? Promise.resolve(later('busy')) : answer(request, may, needs, closing.signal)
    void told
      .catch(() => later('broken'))
      .then(({ status, why }) => {
        respond(request, response, status)
        needs.observe(status, why)
      })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  await listenOn(server, listener)
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : listener.port,
    async [Symbol.asyncDispose]() {
      closing.abort()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Section 2.8: one body for every refusal, and nothing is to be kept. */
function respond(request: IncomingMessage, response: ServerResponse, status: number): void {
  const headers = { 'cache-control': 'no-store', 'content-type': 'application/json' }
  response.writeHead(status, status === 503 ? { ...headers, 'retry-after': '5' } : headers)
  response.end(BODIES.get(status) ?? '{}')
  // What was not read would otherwise be taken for the next request.
  if (!request.complete) response.once('finish', () => request.socket.destroy())
}

const BODIES: ReadonlyMap<number, string> = new Map([
  [400, '{"error":"invalid_request","error_description":"the logout token is not valid here"}'],
  [405, '{"error":"invalid_request","error_description":"POST a form"}'],
  [413, '{"error":"invalid_request","error_description":"too large"}'],
  [503, '{"error":"temporarily_unavailable"}'],
])

type May = (source: string) => boolean

async function answer(
  request: IncomingMessage,
  may: May,
  needs: LogoutNeeds,
  signal: AbortSignal,
): Promise<Told> {
  if (request.method !== 'POST') return { status: 405, why: 'method' }
  if (!/^application\/x-www-form-urlencoded\b/i.test(request.headers['content-type'] ?? ''))
    return invalid('content_type')
  const body = await readBody(request, BODY_BYTES)
  if (!body) return { status: 413, why: 'size' }
  const tokens = new URLSearchParams(body.toString('latin1')).getAll('logout_token')
  const [token] = tokens
  const [, namespace, name] = PATH.exec(request.url ?? '') ?? []
  // A namespace, a name and a client that are not there are told like a token that is not genuine.
  const issuer = namespace && name ? needs.issuer(namespace, name) : undefined
  if (!issuer || token === undefined || tokens.length > 1) return invalid('request')
  if (!may(issuer.source)) return later('rate')
  return take(Buffer.from(token, 'utf8'), issuer, needs, signal)
}

async function take(
  token: Buffer,
  issuer: LogoutIssuer,
  needs: LogoutNeeds,
  signal: AbortSignal,
): Promise<Told> {
  const parsed = readLogout(token, issuer)
  if (typeof parsed === 'string') return invalid(parsed)
  const key = await needs.key(issuer.source, parsed.header.kid, signal)
  if (key === 'unavailable') return later('keys')
  if (key === 'gone') return invalid('kid_unknown')
  const at = needs.now()
  const logout = judgeLogout(parsed, key, issuer, at)
  if (typeof logout === 'string') return invalid(logout)
  const { entry, once } = logout
  const { outcome } = await needs.append(
    { entries: [entry], podUid: '', once, onceUntilMs: at + REMEMBERED_MS },
    signal,
  )
  return OUTCOMES.get(outcome) ?? later('unavailable')
}

const OUTCOMES: ReadonlyMap<AppendOutcome, Told> = new Map([
  [AppendOutcome.APPEND_OUTCOME_STORED, OK],
  [AppendOutcome.APPEND_OUTCOME_REPEATED, invalid('repeated')],
  [AppendOutcome.APPEND_OUTCOME_REFUSED, invalid('refused')],
  [AppendOutcome.APPEND_OUTCOME_FULL, later('full')],
])

function createRate(now: () => number): May {
  const buckets = new Map<string, { tokens: number; at: number }>()
  return (source) => {
    const at = now()
    const { tokens, at: before } = buckets.get(source) ?? { tokens: RATE.burst, at }
    const filled = Math.min(RATE.burst, tokens + ((at - before) / 1000) * RATE.perSecond)
    buckets.delete(source)
    // Sources exist as objects, so there are no more buckets than those.
    if (buckets.size >= RATE.issuers) buckets.clear()
    buckets.set(source, { tokens: filled >= 1 ? filled - 1 : filled, at })
    return filled >= 1
  }
}
