import { STATUS_CODES } from 'node:http'
import type { ClientPart } from '../client.ts'

/** What is used of a response of node:http or node:http2; Express's is one, Fastify has it as `reply.raw`. */
export interface HttpResponse {
  statusCode: number
  readonly headersSent: boolean
  setHeader(name: string, value: string | string[]): unknown
  getHeaderNames(): string[]
  removeHeader(name: string): void
  end(text: string): unknown
  once(event: 'finish' | 'close', listener: () => void): unknown
  destroy(): unknown
}

/** Header lines of a denial, those of one name together: a second `WWW-Authenticate` must not replace the first. */
export function denialHeaders(client: ClientPart): ReadonlyMap<string, string[]> {
  const lines = new Map([
    ['cache-control', ['no-store']],
    ['content-type', ['text/plain; charset=utf-8']],
    ['x-content-type-options', ['nosniff']],
  ])
  for (const { name, value } of client.headers) {
    const key = name.toLowerCase()
    lines.set(key, [...(lines.get(key) ?? []), value])
  }
  return lines
}

/** Sends the client part verbatim and nothing else of the denial. */
export function writeDenial(response: HttpResponse, client: ClientPart): void {
  if (response.headersSent) return
  response.statusCode = client.status
  for (const [name, values] of denialHeaders(client)) response.setHeader(name, values)
  response.end(client.text)
}

/** What can put bytes on the wire, and what can change the head after a refusal was written. */
const SENDERS = [
  'writeHead',
  'write',
  'end',
  'flushHeaders',
  'writeContinue',
  'writeProcessing',
  'writeEarlyHints',
]
const HEADERS = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader']

/**
 * Shuts `response` until the returned function is called. Whoever sends something before that has not passed a check:
 * the response becomes what `refusal` says, and whatever else is sent goes nowhere. Status 400 and above keeps its
 * number, with a generic text. Out of reach: code that writes to the socket or the HTTP/2 stream itself.
 */
export function seal(response: HttpResponse, refusal: () => ClientPart): () => void {
  let gate: 'shut' | 'open' | 'muted' = 'shut'

  function breach(status: unknown): void {
    gate = 'open'
    const wanted = typeof status === 'number' ? status : response.statusCode
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    const client = refusal()
    writeDenial(
      response,
      wanted < 400 || wanted === client.status ? client : { ...client, ...generic(wanted) },
    )
    gate = 'muted'
  }

  function passes(sends: boolean): boolean {
    return gate === 'open' || (gate === 'shut' && !sends)
  }

  /** What the swallowed call would have returned; its callback is told, or whoever waits for it would hang. */
  function swallow(name: string, args: readonly unknown[]): unknown {
    const done = args.at(-1)
    if (typeof done === 'function') queueMicrotask(() => done())
    return name === 'write' ? true : response
  }

  for (const name of [...SENDERS, ...HEADERS]) {
    const original: unknown = Reflect.get(response, name)
    if (typeof original !== 'function') continue
    const sends = SENDERS.includes(name)
    // Stays in place when opened: a compressor mounted later has wrapped this function and must keep finding it.
    const gated = (...args: unknown[]): unknown => {
      if (passes(sends)) return Reflect.apply(original, response, args)
      if (gate === 'shut') breach(name === 'writeHead' ? args[0] : undefined)
      return swallow(name, args)
    }
    Object.defineProperty(response, name, { value: gated, writable: true, configurable: true })
  }

  return () => {
    if (gate === 'shut') gate = 'open'
  }
}

function generic(status: number): Pick<ClientPart, 'status' | 'text'> {
  return { status, text: STATUS_CODES[status] ?? 'Error' }
}
