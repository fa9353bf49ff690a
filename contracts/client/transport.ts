import type { Buffer } from 'node:buffer'
import { type Client, status as grpc, type ServiceError } from '@grpc/grpc-js'
import { AuthorizerService } from '../gen/portcullis/authorizer/v1/authorizer.ts'
import type { Denial } from './answer.ts'
import { encodeCheck, encodeEnvelope, encodeVerify } from './frame.ts'
import { openEnvelope } from './wire.ts'

export type LostCause = Extract<Denial['cause'], 'timeout' | 'unavailable' | 'invalid_answer' | 'overloaded'>

/** Asks numbered questions over one connection. */
export interface Transport {
  /** `question` as of `encodeQuestion`; `waitMs` is how long its caller still waits. */
  readonly send: (id: number, question: Uint8Array, waitMs: number) => void
  /** Nobody waits for this answer any more. */
  readonly forget: (id: number) => void
  readonly destroy: () => void
}

export interface TransportEvents {
  readonly answered: (id: number, answer: Uint8Array) => void
  /** This one question will not be answered. */
  readonly failed: (id: number, cause: LostCause, detail: string) => void
  /** Nothing will be answered any more. May be told more than once. */
  readonly lost: (cause: LostCause, detail: string) => void
}

export type OpenTransport = (client: Client, events: TransportEvents) => Transport

/** All questions on one `CheckStream`. The bytes of answers are read by us, so that damage stays with its question. */
export function openStream(client: Client, events: TransportEvents): Transport {
  const stream = client.makeBidiStreamRequest(AuthorizerService.checkStream.path, untouched, untouched)
  stream.on('data', (message: Buffer) => {
    const envelope = openEnvelope(message)
    if (envelope !== undefined) return events.answered(envelope.id, envelope.answer)
    // Whose answer that was cannot be known, nor whether the next one is any better.
    events.lost('invalid_answer', 'the stream carries messages that are no CheckStreamResponse')
  })
  stream.on('error', (error: Partial<ServiceError>) =>
    events.lost(causeOf(error), detailOf('CheckStream', error)),
  )
  stream.on('end', () => events.lost('unavailable', 'the sidecar ended the stream'))
  return {
    send: (id, question, waitMs) => {
      stream.write(encodeEnvelope(id, question, waitMs))
    },
    forget: () => undefined,
    destroy: () => stream.cancel(),
  }
}

/** Each question a `Check` of its own: dearer, for servers and proxies in between that know no streams. */
export function openUnary(client: Client, events: TransportEvents): Transport {
  return openCalls(client, events, { name: 'Check', path: AuthorizerService.check.path, encode: encodeCheck })
}

/** Each question a `VerifyToken`. */
export function openVerify(client: Client, events: TransportEvents): Transport {
  const { path } = AuthorizerService.verifyToken
  return openCalls(client, events, { name: 'VerifyToken', path, encode: encodeVerify })
}

interface Method {
  readonly name: string
  readonly path: string
  /** Adds how long the caller still waits. */
  readonly encode: (question: Uint8Array, waitMs: number) => Buffer
}

function openCalls(client: Client, events: TransportEvents, { name, path, encode }: Method): Transport {
  const calls = new Map<number, { cancel(): void }>()
  return {
    send: (id, question, waitMs) => {
      const call = client.makeUnaryRequest(
        path,
        untouched,
        untouched,
        encode(question, waitMs),
        (error, answer) => {
          calls.delete(id)
          if (error === null && answer !== undefined) events.answered(id, answer)
          else events.failed(id, causeOf(error ?? {}), detailOf(name, error ?? {}))
        },
      )
      calls.set(id, call)
    },
    forget: (id) => calls.get(id)?.cancel(),
    destroy: () => {
      for (const call of calls.values()) call.cancel()
    },
  }
}

const CAUSES: ReadonlyMap<number, LostCause> = new Map([
  [grpc.DEADLINE_EXCEEDED, 'timeout'],
  [grpc.RESOURCE_EXHAUSTED, 'overloaded'],
  [grpc.UNIMPLEMENTED, 'invalid_answer'],
  [grpc.INVALID_ARGUMENT, 'invalid_answer'],
  [grpc.NOT_FOUND, 'invalid_answer'],
  [grpc.PERMISSION_DENIED, 'invalid_answer'],
  [grpc.UNAUTHENTICATED, 'invalid_answer'],
])

function causeOf(error: Partial<ServiceError>): LostCause {
  return CAUSES.get(error.code ?? grpc.UNKNOWN) ?? 'unavailable'
}

/** The name of the status only: its text is the server's, and could quote what we sent. */
function detailOf(method: string, error: Partial<ServiceError>): string {
  return `${method} ended with gRPC status ${grpc[error.code ?? grpc.UNKNOWN] ?? 'outside the list'}`
}

function untouched(bytes: Buffer): Buffer {
  return bytes
}
