import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import {
  AppendOutcome,
  type AppendRequest,
  type AppendResponse,
} from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { VerificationKey } from '../../contracts/jwks.ts'
import { listenOn, readBody } from '../listen.ts'
import type { Clocks } from '../ports.ts'
import {
  AT_ONCE,
  createLimits,
  createPlaces,
  createStored,
  type Limits,
  REMEMBERED,
  type Stored,
} from './limits.ts'
import { type LogoutIssuer, proveLogout, readLogout } from './logout-token.ts'
import { senderOf } from './sender.ts'

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
  /** Only an ingress can connect, so that the address which it puts last in X-Forwarded-For is believed. */
  readonly behindIngress: boolean
  /** One answer: HTTP status, and the rule that was broken, if any. */
  readonly observe: (status: number, why: string) => void
}

export interface RunningLogout extends AsyncDisposable {
  readonly port: number
}

const BODY_BYTES = 16 * 1024
const REQUEST_MS = 10_000
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
  const server = createServer({
    maxHeaderSize: 8 * 1024,
    requestTimeout: REQUEST_MS,
    headersTimeout: 5_000,
    // How often the two above are looked at.
    connectionsCheckingInterval: 1_000,
  })
  server.maxConnections = AT_ONCE.connections
  server.keepAliveTimeout = 15_000
  shareConnections(server)
  const gate: Gate = { limits: createLimits(needs.monotonic), stored: createStored(needs.monotonic) }
  const places = createPlaces(AT_ONCE.requests)
  const closing = new AbortController()
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const sender = senderOf(request, needs.behindIngress)
    const refused = places.enter(sender, gate.limits.knows(sender))
    if (!refused) response.once('close', () => places.leave(sender))
    const told = refused
      ? Promise.resolve(later(refused))
      : answer(request, { ...gate, sender, needs }, closing.signal)
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

// Of addresses that connect, whatever they say about others.
function shareConnections(server: Server): void {
  const places = createPlaces(AT_ONCE.connections)
  server.on('connection', (socket: Socket) => {
    const peer = socket.remoteAddress ?? ''
    if (places.enter(peer, false)) socket.destroy()
    else socket.once('close', () => places.leave(peer))
  })
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

interface Gate {
  readonly limits: Limits
  readonly stored: Stored
}

interface Asked extends Gate {
  readonly sender: string
  readonly needs: LogoutNeeds
}

async function answer(request: IncomingMessage, asked: Asked, signal: AbortSignal): Promise<Told> {
  if (request.method !== 'POST') return { status: 405, why: 'method' }
  if (!/^application\/x-www-form-urlencoded\b/i.test(request.headers['content-type'] ?? ''))
    return invalid('content_type')
  const body = await readBody(request, BODY_BYTES)
  if (!body) return { status: 413, why: 'size' }
  const tokens = new URLSearchParams(body.toString('latin1')).getAll('logout_token')
  const [token] = tokens
  const [, namespace, name] = PATH.exec(request.url ?? '') ?? []
  // A namespace, a name and a client that are not there are told like a token that is not genuine.
  const issuer = namespace && name ? asked.needs.issuer(namespace, name) : undefined
  if (!issuer || token === undefined || tokens.length > 1) return invalid('request')
  return take(Buffer.from(token, 'utf8'), issuer, asked, signal)
}

/** What costs little comes first and is counted nowhere; then what is counted, and given back to whoever was genuine. */
async function take(
  token: Buffer,
  issuer: LogoutIssuer,
  { sender, limits, stored, needs }: Asked,
  signal: AbortSignal,
): Promise<Told> {
  const at = needs.now()
  const read = readLogout(token, issuer, at)
  if (typeof read === 'string') return invalid(read)
  const mark = read.claimed.once.toString('base64')
  if (stored.has(mark)) return invalid('repeated')
  const over = limits.check(sender, issuer.source)
  if (over) return later(over)
  const key = await needs.key(issuer.source, read.header.kid, signal)
  if (key === 'unavailable') return later('keys')
  if (key === 'gone') return invalid('kid_unknown')
  const logout = proveLogout(read, key)
  if (typeof logout === 'string') return invalid(logout)
  if (!limits.pass(issuer.source)) return later('genuine_rate')
  const { entry, once } = logout
  const { outcome } = await needs.append(
    { entries: [entry], podUid: '', once, onceUntilMs: at + REMEMBERED.ms },
    signal,
  )
  if (outcome === AppendOutcome.APPEND_OUTCOME_REPEATED) limits.repeated(issuer.source)
  // What was not stored could be sent again by whoever recorded it: it says nothing about its sender.
  if (outcome === AppendOutcome.APPEND_OUTCOME_STORED) {
    limits.settled(sender, issuer.source)
    stored.add(mark)
  }
  return OUTCOMES.get(outcome) ?? later('unavailable')
}

const OUTCOMES: ReadonlyMap<AppendOutcome, Told> = new Map([
  [AppendOutcome.APPEND_OUTCOME_STORED, OK],
  [AppendOutcome.APPEND_OUTCOME_REPEATED, invalid('repeated')],
  [AppendOutcome.APPEND_OUTCOME_REFUSED, invalid('refused')],
  [AppendOutcome.APPEND_OUTCOME_FULL, later('full')],
])
