import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request as plain, type ServerResponse } from 'node:http'
import { request as secure } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

// A real HTTP server in front of the real API server. It forwards everything, and does to some of it what networks, proxies and
// overloaded API servers do.

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly accept: string
}

/** What to do to a request instead of forwarding it. */
export type Fault =
  | { readonly status: number; readonly body?: string; readonly headers?: Readonly<Record<string, string>> }
  | { readonly delayMs: number }
  | { readonly reset: true }

/** A watch that is being forwarded, in the proxy's hands. */
export interface Stream {
  readonly asked: Asked
  readonly open: boolean
  /** Sends text of its own to the client. */
  inject(text: string): void
  /** Ends the answer properly. */
  end(): void
  /** Ends the connection in the middle of things. */
  cut(): void
  /** From now on nothing more is forwarded, and nothing ends. */
  freeze(): void
  /** Every complete line that went through, oldest first. */
  readonly lines: readonly string[]
}

export interface FaultProxy extends AsyncDisposable {
  readonly url: string
  readonly asked: readonly Asked[]
  /** Watches, oldest first, ended ones too. */
  readonly streams: readonly Stream[]
  /** TCP connections ever accepted. */
  connections(): number
  /** Asked for each request; `undefined` forwards it. */
  on(fault: (asked: Asked) => Fault | undefined): void
}

export async function openFaultProxy(api: {
  readonly url: string
  readonly caFile: string
  readonly cert: string
  readonly key: string
}): Promise<FaultProxy> {
  const tls = {
    ca: readFileSync(api.caFile),
    cert: readFileSync(api.cert),
    key: readFileSync(api.key),
  }
  const asked: Asked[] = []
  const streams: Stream[] = []
  let faultOf: (asked: Asked) => Fault | undefined = () => undefined
  let connections = 0

  const server = createServer((incoming, outgoing) => {
    const one = askedOf(incoming)
    asked.push(one)
    void inflict(faultOf(one), incoming, outgoing).then((done) => {
      if (done) return
      const target = new URL(incoming.url ?? '/', api.url)
      const { host: _, ...headers } = incoming.headers
      const send = target.protocol === 'https:' ? secure : plain
      const upstream = send(target, { method: incoming.method, headers, ...tls, agent: false }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        outgoing.flushHeaders()
        if (one.query.has('watch')) streams.push(forward(one, answer, outgoing))
        else answer.pipe(outgoing)
        answer.on('error', () => outgoing.destroy())
      })
      upstream.on('error', () => outgoing.destroy())
      outgoing.on('close', () => upstream.destroy())
      incoming.pipe(upstream)
    })
  })
  server.on('connection', () => {
    connections += 1
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    streams,
    connections: () => connections,
    on(fault) {
      faultOf = fault
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function askedOf(incoming: IncomingMessage): Asked {
  const url = new URL(incoming.url ?? '/', 'http://proxy')
  return {
    method: incoming.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    accept: String(incoming.headers.accept ?? ''),
  }
}

/** True: the request has had its answer. */
async function inflict(
  fault: Fault | undefined,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<boolean> {
  if (!fault) return false
  if ('delayMs' in fault) {
    await delay(fault.delayMs)
    return false
  }
  if ('reset' in fault) incoming.socket.resetAndDestroy()
  else outgoing.writeHead(fault.status, fault.headers).end(fault.body ?? '')
  return true
}

function forward(asked: Asked, answer: IncomingMessage, outgoing: ServerResponse): Stream {
  let frozen = false
  let rest = ''
  const lines: string[] = []
  answer.on('data', (chunk: Buffer) => {
    if (frozen) return
    outgoing.write(chunk)
    const parts = (rest + chunk.toString('utf8')).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  answer.on('end', () => {
    if (!frozen) outgoing.end()
  })
  return {
    asked,
    lines,
    get open() {
      return !outgoing.closed && !outgoing.writableEnded
    },
    inject: (text) => void outgoing.write(text),
    end: () => void outgoing.end(),
    cut: () => outgoing.destroy(),
    freeze() {
      frozen = true
    },
  }
}

export function statusBody(code: number, reason: string, more: object = {}): string {
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: reason }
  return JSON.stringify({ ...status, reason, code, ...more })
}
