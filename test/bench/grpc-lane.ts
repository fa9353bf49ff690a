import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import type { Judge, Lane } from './lane.ts'
import type { Question } from './workload.ts'

// A gRPC client on bare node:http2 that sends what was encoded beforehand: grpc-js on the client's core
// would be the slower of the two ends, and a bench of the client. Headers are those that grpc-js sends.

const CHECK = '/portcullis.authorizer.v1.Authorizer/Check'
const CHECK_STREAM = '/portcullis.authorizer.v1.Authorizer/CheckStream'
const WINDOW_BYTES = 8 * 1024 * 1024
const SESSION_MEGABYTES = 1_000

/** Unary calls over one connection. */
export async function openUnary(socket: string, pool: readonly Question[]): Promise<Lane> {
  const session = await openSession(socket)
  const headers = headersFor(CHECK, '5S')
  return {
    ask(index, told) {
      const call = session.request(headers)
      let body: Buffer | undefined
      let open = true
      const finish = () => {
        if (open) told(index, body && body.length > 5 ? body.subarray(5) : undefined)
        open = false
      }
      call.on('data', (chunk: Buffer) => {
        body = body ? Buffer.concat([body, chunk]) : chunk
      })
      call.on('error', () => undefined)
      call.on('end', finish)
      call.on('close', finish)
      call.end(pool[index]?.unary)
    },
    close: () => session.destroy(),
  }
}

/** One CheckStream, by frames: several in one write cost the sender little more than one. */
export interface FrameStream {
  write(frames: Buffer): void
  ended(): boolean
  close(): void
}

/** Tells each answer with the id of its question; `over` when no more will come. */
export async function openFrames(
  socket: string,
  told: (id: number, message: Buffer) => void,
  over: () => void,
): Promise<FrameStream> {
  const session = await openSession(socket)
  const call = session.request(headersFor(CHECK_STREAM))
  eachMessage(call, (message) => told(idOf(message), message))
  call.on('error', () => undefined)
  call.on('close', over)
  return {
    write: (frames) => void call.write(frames),
    ended: () => call.closed,
    close: () => session.destroy(),
  }
}

/** One CheckStream; answers are matched by id. */
export async function openStream(socket: string, pool: readonly Pick<Question, 'streamed'>[]): Promise<Lane> {
  const waiting = new Map<number, Judge>()
  const answered = (index: number, answer: Buffer | undefined) => {
    const told = waiting.get(index)
    waiting.delete(index)
    told?.(index, answer)
  }
  const over = () => {
    for (const index of [...waiting.keys()]) answered(index, undefined)
  }
  const stream = await openFrames(socket, (id, message) => answered(id - 1, message), over)
  return {
    ask(index, told) {
      if (waiting.has(index) || stream.ended())
        throw new Error('the stream has ended, or the pool is smaller than the window')
      waiting.set(index, told)
      stream.write(pool[index]?.streamed ?? NOTHING)
    },
    close: stream.close,
  }
}

const NOTHING = Buffer.alloc(0)

/**
 * The answer to a stream's question without its envelope: `{ id = 1, check = 2 }`, both always present
 * here.
 */
export function checkOf(message: Buffer): Buffer {
  const afterId = 1 + varintLength(message, 1)
  return message.subarray(afterId + 1 + varintLength(message, afterId + 1))
}

async function openSession(socket: string): Promise<ClientHttp2Session> {
  const session = connect('http://localhost', {
    createConnection: () => connectSocket(socket),
    settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
    // As grpc-js has it: an overloaded server must be the one to refuse.
    maxSessionMemory: SESSION_MEGABYTES,
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  session.once('connect', () => resolve())
  session.once('error', reject)
  await promise
  session.on('error', () => undefined)
  session.setLocalWindowSize(WINDOW_BYTES)
  return session
}

function headersFor(path: string, timeout?: string): Record<string, string> {
  return {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'bench',
    'grpc-accept-encoding': 'identity,deflate,gzip',
    'accept-encoding': 'identity',
    ...(timeout === undefined ? {} : { 'grpc-timeout': timeout }),
  }
}

function eachMessage(call: ClientHttp2Stream, take: (message: Buffer) => void): void {
  let rest = Buffer.alloc(0)
  call.on('data', (chunk: Buffer) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    let at = 0
    while (bytes.length - at >= 5) {
      const end = at + 5 + bytes.readUInt32BE(at + 1)
      if (end > bytes.length) break
      take(bytes.subarray(at + 5, end))
      at = end
    }
    rest = Buffer.from(bytes.subarray(at))
  })
}

function idOf(message: Buffer): number {
  let id = 0
  for (let at = 1, shift = 0; at < 6; at++, shift += 7) {
    const byte = message[at] ?? 0
    id += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) break
  }
  return id
}

function varintLength(message: Buffer, from: number): number {
  let length = 1
  while ((message[from + length - 1] ?? 0) >= 0x80) length++
  return length
}
