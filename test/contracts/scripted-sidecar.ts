import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js'
import {
  AuthorizerService,
  CheckRequest,
  CheckResponse,
  CheckStreamRequest,
  CheckStreamResponse,
  Reason,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'

/** What a script sees of one question, and how it may answer, whichever way the question came. */
export interface Exchange {
  readonly question: CheckRequest
  readonly id: number
  readonly via: 'stream' | 'unary'
  /** The bytes of a CheckResponse, or anything else. */
  readonly answer: (bytes: Uint8Array, id?: number) => void
  /** Bytes of a whole message of the stream; on unary the same as `answer`. */
  readonly raw: (bytes: Uint8Array) => void
  /** Ends the stream or the call with a gRPC status. */
  readonly fail: (code: number) => void
}

export type Script = (exchange: Exchange) => void

export interface ScriptedSidecar extends AsyncDisposable {
  /** For the client's `target`. */
  readonly target: string
  readonly questions: readonly CheckRequest[]
  /** The most questions that were unanswered at once. */
  readonly peak: () => number
  /** Streams and unary calls opened so far. */
  readonly streams: () => number
  /** Ends every connection at once. */
  readonly kill: () => void
  /** Says goodbye and lets what is under way finish. */
  readonly drain: () => Promise<void>
}

/** A real grpc-js server that answers by script: on `address`, or on a fresh Unix socket. */
export async function openSidecar(script: Script, address?: string): Promise<ScriptedSidecar> {
  const directory = address === undefined ? mkdtempSync(join(tmpdir(), 'portcullis-')) : undefined
  const bound = address ?? `unix://${join(directory ?? '', 'check.sock')}`
  const server = new Server({ 'grpc.max_receive_message_length': 131_072 })
  const questions: CheckRequest[] = []
  const ledger = { open: 0, peak: 0, streams: 0 }

  function take(question: CheckRequest): void {
    questions.push(question)
    ledger.open += 1
    ledger.peak = Math.max(ledger.peak, ledger.open)
  }

  server.addService(RAW_SERVICE, {
    check: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
      const question = CheckRequest.decode(call.request)
      take(question)
      const answer = (bytes: Uint8Array): void => {
        ledger.open -= 1
        reply(null, Buffer.from(bytes))
      }
      const fail = (code: number): void => reply(failure(code))
      script({ question, id: 0, via: 'unary', answer, raw: answer, fail })
    },
    checkStream: (call: ServerDuplexStream<Buffer, Buffer>) => {
      ledger.streams += 1
      call.on('error', () => undefined)
      call.on('end', () => call.end())
      call.on('data', (message: Buffer) => {
        const { id, check: question } = CheckStreamRequest.decode(message)
        if (question === undefined) throw new Error('a question without check')
        take(question)
        script({
          question,
          id,
          via: 'stream',
          answer: (bytes, otherId = id) => {
            ledger.open -= 1
            call.write(envelope(otherId, bytes))
          },
          raw: (bytes) => call.write(Buffer.from(bytes)),
          fail: (code) => call.emit('error', failure(code)),
        })
      })
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(bound, ServerCredentials.createInsecure(), (error, number) => {
      if (error === null) resolve(number)
      else reject(error)
    })
  })
  return {
    target: bound.startsWith('unix:') ? bound : bound.replace(/:\d+$/, `:${port}`),
    questions,
    peak: () => ledger.peak,
    streams: () => ledger.streams,
    kill: () => server.forceShutdown(),
    drain: () => new Promise((resolve) => server.tryShutdown(() => resolve())),
    [Symbol.asyncDispose]: async () => {
      server.forceShutdown()
      if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** A socket path where nobody listens yet. */
export function freshSocket(): { readonly target: string } & Disposable {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-'))
  const remove = (): void => rmSync(directory, { recursive: true, force: true })
  return { target: `unix://${join(directory, 'check.sock')}`, [Symbol.dispose]: remove }
}

export const PRINCIPAL = {
  issuer: 'https://idp.example',
  subject: 'ann',
  clientId: 'web',
  tenant: 'acme',
  scopes: ['invoice:read'],
  roles: ['clerk'],
  expiresAt: 2_000_000_000,
}

/** The same with lines for the response. */
export function allowingWith(headers: readonly { name: string; value: Buffer }[]): CheckResponse {
  const allow = { principal: PRINCIPAL, ruleIds: ['floor'], headers: [...headers] }
  return { ...allowing(), outcome: { $case: 'allow', allow } }
}

export function allowing(): CheckResponse {
  return {
    outcome: { $case: 'allow', allow: { principal: PRINCIPAL, ruleIds: ['floor'], headers: [] } },
    decisionId: 'd-1',
    policyRevision: 'r-1',
    trustGeneration: 7,
  }
}

export function denying(status = 403, reason: Reason = Reason.REASON_ROLE_MISSING): CheckResponse {
  const headers = [
    { name: 'WWW-Authenticate', value: Buffer.from('Bearer error="invalid_token"') },
    { name: 'WWW-Authenticate', value: Buffer.from('DPoP algs="ES256"') },
  ]
  const client = { status, headers: status === 401 ? headers : [], text: `refused ${status}`, grpcStatus: 7 }
  const diagnostic = { reason, ruleIds: ['app.role'], detail: '' }
  return {
    outcome: { $case: 'deny', deny: { client, diagnostic } },
    decisionId: 'd-2',
    policyRevision: 'r-1',
    trustGeneration: 7,
  }
}

export function encode(response: CheckResponse): Uint8Array {
  return CheckResponse.encode(response).finish()
}

export const allow: Script = ({ answer }) => answer(encode(allowing()))
export const deny: Script = ({ answer }) => answer(encode(denying()))
export const silence: Script = () => undefined

/** Allows `/warm`, so that a test of short deadlines can have its connection first, and leaves the rest to `script`. */
export function afterWarming(script: Script): Script {
  return (exchange) => (exchange.question.url === '/warm' ? allow(exchange) : script(exchange))
}

export const QUESTION = {
  headers: [{ name: 'authorization', value: 'Bearer secret-token' }],
  method: 'GET',
  url: '/invoices/1',
  action: 'invoice:read',
  resource: { stored: { type: 'invoice', id: '1', tenant: 'acme', owner: 'ann' } },
}

const untouched = (bytes: Buffer): Buffer => bytes
const bytesOnly = {
  requestSerialize: untouched,
  requestDeserialize: untouched,
  responseSerialize: untouched,
  responseDeserialize: untouched,
}
const RAW_SERVICE = {
  check: { ...AuthorizerService.check, ...bytesOnly },
  checkStream: { ...AuthorizerService.checkStream, ...bytesOnly },
}

function envelope(id: number, answer: Uint8Array): Buffer {
  const empty = CheckStreamResponse.encode({ id, check: undefined }).finish()
  return Buffer.concat([empty, Buffer.from([0x12, ...varint(answer.length)]), answer])
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]
}

function failure(code: number): Partial<ServiceError> {
  return Object.assign(new Error('scripted'), { code, details: 'scripted secret-token' })
}
