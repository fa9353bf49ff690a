import type { Readable } from 'node:stream'
import { type Clocks, Fault, type Report } from '../ports.ts'
import { type Answer, type Refusal, refusalOf } from './answer.ts'
import { createConnections, type Line } from './connections.ts'
import { createReadAccess, type KubeconfigSource } from './credentials.ts'
import type { KubeMetrics } from './metrics.ts'
import { type Place, pathOf } from './resource.ts'

export interface KubePorts extends Clocks {
  readonly report: Report
  readonly metrics: KubeMetrics
}

export interface KubeRequest extends Place {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly query?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  readonly contentType?: string
  readonly accept?: string
  /** For the whole request, attempts and waits included. A stream: until its headers. */
  readonly timeoutMs?: number
  /** Of the answer's body; not for streams. */
  readonly maxBytes?: number
}

export interface Transport extends AsyncDisposable {
  /** One request, one JSON answer. Rejects with a Fault `api` when there was none, with the signal's reason when aborted. */
  send(request: KubeRequest, signal: AbortSignal): Promise<Answer<unknown>>
  /** One request, its body as it comes. Abort the signal, or leave the iteration, to end it. */
  stream(request: KubeRequest, signal: AbortSignal): Promise<Answer<AsyncIterable<Buffer>>>
}

const TIMEOUT_MS = 30_000
const MAX_BYTES = 64 * 1024 * 1024
const MAX_REFUSAL_BYTES = 64 * 1024
const MAX_ATTEMPTS = 6
const RETRY_CAP_MS = 30_000
const RETRY_BASE_MS = 1_000

/** Opens the way to one API server. No connection is made before the first request. */
export async function openTransport(source: KubeconfigSource, ports: KubePorts): Promise<Transport> {
  const connections = createConnections({ read: createReadAccess(source), ...ports })
  const closing = new AbortController()
  const exchange = createExchange(connections.line, ports)
  return {
    async send(request, signal) {
      const limits = { signal, deadline: AbortSignal.timeout(request.timeoutMs ?? TIMEOUT_MS) }
      const whole = AbortSignal.any([signal, closing.signal, limits.deadline])
      return settle(request, limits, async () => {
        const response = await exchange(request, whole)
        if (!response.ok) return response
        const body = await readBody(response.value, request.maxBytes ?? MAX_BYTES)
        return { ok: true, value: JSON.parse(body) as unknown }
      })
    },
    async stream(request, signal) {
      const limits = { signal, deadline: AbortSignal.timeout(request.timeoutMs ?? TIMEOUT_MS) }
      const ending = new AbortController()
      const whole = AbortSignal.any([signal, closing.signal, ending.signal])
      // The deadline is for the headers only; the body may take as long as it likes.
      const late = () => ending.abort(limits.deadline.reason)
      limits.deadline.addEventListener('abort', late, { once: true })
      try {
        return await settle(request, limits, () => exchange(request, whole))
      } finally {
        limits.deadline.removeEventListener('abort', late)
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new Fault('api', 'the transport was closed'))
      await connections[Symbol.asyncDispose]()
    },
  }
}

interface Limits {
  /** The caller's. */
  readonly signal: AbortSignal
  readonly deadline: AbortSignal
}

/** Whatever went wrong on the way, as one kind of Fault that names the request and nothing of its content. */
async function settle<T>(request: KubeRequest, limits: Limits, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    limits.signal.throwIfAborted()
    const what = `${request.method} ${pathOf(request)}`
    if (limits.deadline.aborted) throw new Fault('api', `${what}: no complete answer in time`, cause)
    throw cause instanceof Fault ? cause : new Fault('api', `${what}: ${whyOf(cause)}`, cause)
  }
}

function whyOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unexpected failure'
  if (cause instanceof SyntaxError) return 'the answer is not JSON'
  return 'code' in cause ? `${String(cause.code)} ${cause.message}` : cause.message
}

type Exchange = (request: KubeRequest, signal: AbortSignal) => Promise<Answer<Readable>>

function createExchange(line: (anew?: boolean) => Promise<Line>, ports: KubePorts): Exchange {
  return async (request, signal) => {
    let attempt = await firstAttempt(request, line, signal, ports.metrics)
    for (let tries = 1; !attempt.ok && tries < MAX_ATTEMPTS; tries += 1) {
      const { refused, version } = attempt
      if (refused.status === 401 && tries === 1) {
        const fresh = await line(true)
        if (fresh.version === version) return attempt
        attempt = await dispatch(request, fresh, signal, ports.metrics)
        continue
      }
      const waitMs = retryIn(refused, tries, ports.random())
      if (waitMs === undefined) return attempt
      ports.report('kube_throttled', { path: pathOf(request), status: refused.status, waitMs })
      await ports.sleep(waitMs, signal)
      attempt = await dispatch(request, await line(), signal, ports.metrics)
    }
    return attempt
  }
}

// A kept connection may be closed by the server in the very moment a request goes out on it. Reading again is always safe.
async function firstAttempt(
  request: KubeRequest,
  line: () => Promise<Line>,
  signal: AbortSignal,
  metrics: KubeMetrics,
): Promise<Attempt> {
  try {
    return await dispatch(request, await line(), signal, metrics)
  } catch (cause) {
    if (request.method !== 'GET' || signal.aborted || !wasCut(cause)) throw cause
    return dispatch(request, await line(), signal, metrics)
  }
}

function wasCut(cause: unknown): boolean {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(code)
}

/**
 * 429 was not carried out, whatever the verb; a 5xx that names a time asks to be tried again (what client-go takes it for). Up to
 * a fifth is added, so that those who were turned away together do not come back together.
 */
function retryIn(refused: Refusal, tries: number, chance: number): number | undefined {
  const named = refused.retryAfterMs
  const throttled = refused.status === 429 || (refused.status >= 500 && named !== undefined)
  if (!throttled) return undefined
  const waitMs = Math.min(RETRY_CAP_MS, named ?? RETRY_BASE_MS * 2 ** (tries - 1))
  return Math.round(waitMs * (1 + chance / 5))
}

type Attempt =
  | { readonly ok: true; readonly value: Readable }
  | { readonly ok: false; readonly refused: Refusal; readonly version: number }

async function dispatch(
  request: KubeRequest,
  { dispatcher, origin, prefix, headers, version }: Line,
  signal: AbortSignal,
  metrics: KubeMetrics,
): Promise<Attempt> {
  const count = (code: string) =>
    metrics.add('rest_client_requests_total', { code, method: request.method, host: new URL(origin).host })
  const body = request.body === undefined ? null : JSON.stringify(request.body)
  const query = new URLSearchParams(request.query).toString()
  try {
    const response = await dispatcher.request({
      origin,
      path: `${prefix}${pathOf(request)}${query ? `?${query}` : ''}`,
      method: request.method,
      headers: {
        ...headers,
        accept: request.accept ?? 'application/json',
        'user-agent': 'portcullis-operator',
        ...(body === null ? {} : { 'content-type': request.contentType ?? 'application/json' }),
      },
      body,
      signal,
    })
    count(String(response.statusCode))
    if (response.statusCode >= 200 && response.statusCode < 300) return { ok: true, value: response.body }
    const text = await readBody(response.body, MAX_REFUSAL_BYTES)
    const retryAfter = response.headers['retry-after']
    const refused = refusalOf(response.statusCode, text, [retryAfter].flat()[0])
    return { ok: false, refused, version }
  } catch (cause) {
    if (!(cause instanceof Fault)) count('<error>')
    throw cause
  }
}

async function readBody(body: Readable, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length
    // Leaving the loop destroys the stream, and with it the connection.
    if (size > maxBytes) throw new Fault('api', `the answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
