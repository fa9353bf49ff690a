import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import { freePort } from '../fixtures/free-ports.ts'
import { jwksOf, type SigningKey } from '../fixtures/keys.ts'
import type { Identity } from './certificates.ts'

// The key set of an identity provider, on a real server that fails as it is told to.

export interface FaultyIssuer extends AsyncDisposable {
  readonly uri: string
  // When each question came, by the monotonic clock of this process.
  readonly askedAt: readonly number[]
  // Answers soundly, with these keys.
  publish(keys: readonly SigningKey[]): void
  // Answers with this text, as JSON unless told otherwise.
  say(body: string | Buffer, type?: string): void
  behave(listener: RequestListener): void
  // Shows this certificate to whoever connects from now on.
  show(identity: Identity): void
  down(): Promise<void>
  up(): Promise<void>
}

export async function openIssuer(identity?: Identity): Promise<FaultyIssuer> {
  const askedAt: number[] = []
  let behaviour: RequestListener = (_request, response) => void response.writeHead(503).end()
  const listener: RequestListener = (request, response) => {
    askedAt.push(performance.now())
    behaviour(request, response)
  }
  const secure = identity && createTlsServer({ ...identity }, listener)
  const server: Server | TlsServer = secure ?? createServer(listener)
  // It comes back on the same port, which nobody may take meanwhile.
  const port = await listen(server, await freePort())
  const issuer: FaultyIssuer = {
    uri: secure ? `https://localhost:${port}/jwks` : `http://127.0.0.1:${port}/jwks`,
    askedAt,
    publish: (keys) => issuer.say(JSON.stringify(jwksOf(keys))),
    say: (body, type = 'application/json') => {
      behaviour = (_request, response) => void response.writeHead(200, { 'content-type': type }).end(body)
    },
    behave: (next) => {
      behaviour = next
    },
    show: (next) => secure?.setSecureContext({ ...next }),
    down: () => close(server),
    up: async () => void (await listen(server, port)),
    [Symbol.asyncDispose]: () => close(server),
  }
  return issuer
}

// Takes the question and says so much after every so many milliseconds; never finishes.
export function dripping(bytes: Buffer, everyMs: number): RequestListener {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 10_000_000 })
    const timer = setInterval(() => response.write(bytes), everyMs)
    response.on('close', () => clearInterval(timer))
  }
}

// A sound answer, too late.
export function late(body: string, afterMs: number): RequestListener {
  return (_request, response) => {
    const timer = setTimeout(
      () => response.writeHead(200, { 'content-type': 'application/json' }).end(body),
      afterMs,
    )
    response.on('close', () => clearTimeout(timer))
  }
}

// So many bytes, as fast as they are taken; `sent` tells how many were.
export function pouring(total: number): { readonly listener: RequestListener; readonly sent: () => number } {
  let sent = 0
  const chunk = Buffer.alloc(65_536, ' ')
  const pour = (response: ServerResponse) => {
    while (sent < total && !response.destroyed) {
      sent += chunk.length
      if (!response.write(chunk)) return void response.once('drain', () => pour(response))
    }
    response.end()
  }
  return {
    sent: () => sent,
    listener: (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      pour(response)
    },
  }
}

function listen(server: Server | TlsServer, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      resolve(address !== null && typeof address === 'object' ? address.port : 0)
    })
  })
}

async function close(server: Server | TlsServer): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await closed
}
