import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { listenOn, readBody } from '../listen.ts'
import { type Fact, Fault, type Monotonic, type Report, type Sleep } from '../ports.ts'
import { HANDLERS, type Needs } from './handlers.ts'
import { answerTo, parseReview } from './review.ts'

/** The HTTPS server that the API server calls. It answers from memory and asks nobody, so it is as fast as its JSON. */

export interface ServingPair {
  /** PEM, the leaf first. */
  readonly certificate: string
  /** PEM. */
  readonly key: string
}

export interface WebhookNeeds extends Needs {
  readonly monotonic: Monotonic
  readonly sleep: Sleep
  readonly report: Report
  /** One answered request: path (or `other`), HTTP status, seconds. For controller_runtime_webhook_*. */
  readonly observe: (path: string, status: number, seconds: number) => void
}

export interface RunningWebhook extends AsyncDisposable {
  readonly port: number
  readonly inFlight: () => number
  /** New handshakes get this pair; requests under way are not disturbed. Throws Fault when the pair does not fit. */
  readonly serve: (pair: ServingPair) => void
}

export interface WebhookListener {
  readonly host: string
  readonly port: number
}

/** The API server sends object and old object of at most 1.5 MiB (etcd's limit) each, as JSON. */
const BODY_BYTES = 6 * 1024 * 1024
const IN_FLIGHT = 128
const REQUEST_MS = 10_000

/** Rejects when the address cannot be had or the pair does not fit. */
export async function openWebhook(
  listener: WebhookListener,
  pair: ServingPair,
  needs: WebhookNeeds,
): Promise<RunningWebhook> {
  const server = createServer({
    ...secure(pair),
    maxHeaderSize: 16 * 1024,
    requestTimeout: REQUEST_MS,
    headersTimeout: 5_000,
    handshakeTimeout: 5_000,
    keepAliveTimeout: 90_000,
  })
  server.maxConnections = 1_024
  let inFlight = 0
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    inFlight += 1
    response.once('close', () => {
      inFlight -= 1
    })
    exchange(request, response, inFlight > IN_FLIGHT, needs).catch(() => response.destroy())
  })
  // A client that ends a handshake or sends no HTTP is not worth a line in the log.
  server.on('tlsClientError', () => undefined)
  server.on('clientError', (_error, socket) => socket.destroy())
  await listenOn(server, listener)
  const bound = server.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : listener.port,
    inFlight: () => inFlight,
    serve: (next) => server.setSecureContext(secure(next)),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      const waiting = new AbortController()
      const late = needs.sleep(REQUEST_MS, waiting.signal).catch(() => undefined)
      await Promise.race([closed, late])
      // Once it is closed, Node no longer watches over requests that stand still.
      server.closeAllConnections()
      waiting.abort()
      await closed
    },
  }
}

async function exchange(
  request: IncomingMessage,
  response: ServerResponse,
  overloaded: boolean,
  needs: WebhookNeeds,
): Promise<void> {
  const began = needs.monotonic()
  const path = (request.url ?? '').split('?', 1)[0] ?? ''
  const known = Object.hasOwn(HANDLERS, path)
  const { status, body } = overloaded
    ? { status: 503, body: 'too many requests at once; try again\n' }
    : await answer(request, path, needs)
  response.writeHead(status, { 'content-type': status === 200 ? 'application/json' : 'text/plain' })
  response.end(body)
  // What was not read would otherwise be taken for the next request.
  if (!request.complete) response.once('finish', () => request.socket.destroy())
  needs.observe(known ? path : 'other', status, (needs.monotonic() - began) / 1_000)
}

interface Answer {
  readonly status: number
  readonly body: string
}

async function answer(request: IncomingMessage, path: string, needs: WebhookNeeds): Promise<Answer> {
  const handler = Object.hasOwn(HANDLERS, path) ? HANDLERS[path] : undefined
  if (!handler) return { status: 404, body: `no such path; there are ${Object.keys(HANDLERS).join(' ')}\n` }
  if (request.method !== 'POST') return { status: 405, body: 'POST an AdmissionReview\n' }
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    return { status: 415, body: 'content-type must be application/json\n' }
  const body = await readBody(request, BODY_BYTES)
  if (!body) return { status: 413, body: `larger than ${BODY_BYTES} bytes\n` }
  const review = parseReview(body)
  if (!review) return { status: 400, body: 'not an AdmissionReview of admission.k8s.io/v1 with a request\n' }
  try {
    const verdict = handler(review, needs)
    const facts: Record<string, Fact> = { path, kind: review.kind, namespace: review.namespace }
    if (verdict.problems.length > 0)
      needs.report('admission_refused', { ...facts, problems: verdict.problems })
    return { status: 200, body: answerTo(review, verdict) }
  } catch (cause) {
    needs.report('admission_failed', { path, kind: review.kind, error: Fault.from(cause).message })
    return { status: 500, body: 'the operator failed; its log says why\n' }
  }
}

function secure({ certificate, key }: ServingPair) {
  return { cert: certificate, key, minVersion: 'TLSv1.3' } as const
}
