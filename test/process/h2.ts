import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { HealthService } from '../../contracts/gen/standard/grpc/health/v1/health.ts'

// gRPC by hand over node:http2: every byte of a message, every header, as the test wants it.

export interface H2 extends AsyncDisposable {
  readonly session: ClientHttp2Session
  readonly socket: Socket
  open(path: string, headers?: OutgoingHttpHeaders): H2Call
}

export interface H2Call {
  readonly stream: ClientHttp2Stream
  // Five bytes of prefix, then these.
  message(bytes: Uint8Array, prefix?: Prefix): void
  raw(bytes: Uint8Array): void
  end(): void
  reset(code?: number): void
  readonly ended: Promise<H2End>
}

export interface Prefix {
  readonly flag?: number
  // What the prefix claims; the truth unless given.
  readonly length?: number
}

export interface H2End {
  readonly status: number
  // Trailers, or the headers of a trailers-only answer.
  readonly trailers: Readonly<Record<string, string>>
  readonly messages: readonly Buffer[]
  // HTTP/2 code of a reset, 0 for none.
  readonly reset: number
}

export function socketTo(target: string): Socket {
  if (target.startsWith('/')) return connectSocket(target)
  const colon = target.lastIndexOf(':')
  return connectSocket(Number(target.slice(colon + 1)), target.slice(0, colon))
}

export async function openH2(target: string): Promise<H2> {
  const socket = socketTo(target)
  const session = connect('http://localhost', { createConnection: () => socket })
  // What goes wrong shows in the calls; without a listener it would end the test process.
  session.on('error', () => undefined)
  await new Promise<void>((resolve, reject) => {
    session.once('remoteSettings', () => resolve())
    session.once('close', () => reject(new Error('the connection was closed before it was open')))
  })
  return {
    session,
    socket,
    open: (path, headers = {}) => openCall(session, path, headers),
    [Symbol.asyncDispose]: async () => {
      if (!session.destroyed) session.destroy()
      socket.destroy()
    },
  }
}

// A connection with a call whose question never comes to an end, and which the server has seen.
export async function openEndless(target: string): Promise<H2> {
  const h2 = await openH2(target)
  h2.open(AuthorizerService.check.path).raw(Buffer.from([0, 0, 0, 1, 0]))
  // The answer to a later call on the same connection is the proof.
  const probe = h2.open(HealthService.check.path)
  probe.message(Buffer.alloc(0))
  probe.end()
  await probe.ended
  return h2
}

function openCall(session: ClientHttp2Session, path: string, headers: OutgoingHttpHeaders): H2Call {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  const ended = endOf(stream)
  const write = (bytes: Uint8Array) => {
    if (!stream.destroyed && !stream.writableEnded) stream.write(bytes)
  }
  return {
    stream,
    message: (bytes, prefix = {}) => write(framed(bytes, prefix)),
    raw: write,
    end: () => void stream.end(),
    reset: (code = 8) => stream.close(code),
    ended,
  }
}

export function framed(bytes: Uint8Array, { flag = 0, length = bytes.length }: Prefix = {}): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt8(flag, 0)
  prefix.writeUInt32BE(length, 1)
  return Buffer.concat([prefix, bytes])
}

function endOf(stream: ClientHttp2Stream): Promise<H2End> {
  const chunks: Buffer[] = []
  let status = 0
  let trailers: Readonly<Record<string, string>> = {}
  const take = (headers: Readonly<Record<string, unknown>>) => {
    const texts = Object.entries(headers).map(([name, value]) => [name, String(value)] as const)
    trailers = { ...trailers, ...Object.fromEntries(texts) }
  }
  stream.on('response', (headers) => {
    status = Number(headers[':status'])
    take(headers)
  })
  stream.on('trailers', take)
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('error', () => undefined)
  return new Promise((resolve) => {
    const finish = () =>
      resolve({ status, trailers, messages: messagesIn(Buffer.concat(chunks)), reset: stream.rstCode ?? 0 })
    stream.on('close', finish)
    // The server has said everything; our own half may still be open, and then there is no `close` yet.
    stream.on('end', () => {
      finish()
      stream.close()
    })
  })
}

function messagesIn(bytes: Buffer): readonly Buffer[] {
  const messages: Buffer[] = []
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1)
    messages.push(bytes.subarray(at + 5, at + 5 + length))
    at += 5 + length
  }
  return messages
}
