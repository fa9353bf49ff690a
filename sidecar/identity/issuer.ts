import { type Client, Metadata, type MethodDefinition, status } from '@grpc/grpc-js'
import {
  type IssueControlRequest,
  type IssueControlResponse,
  type IssueJwtRequest,
  type IssueJwtResponse,
  IssuerService,
  type IssueWorkloadRequest,
  type IssueWorkloadResponse,
} from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Now } from '../ports.ts'
import type { IdentitySettings } from '../settings.ts'
import type { Credential } from './credential.ts'
import { connectOperator } from './transport.ts'
import type { Trust } from './trust.ts'

/** The issuer of the operator. Each call rejects with an Error that has a gRPC `code` when it was refused or could not be made. */
export interface Issuer {
  /** Without `own` a bootstrap. */
  control(
    request: IssueControlRequest,
    own: Credential | undefined,
    signal: AbortSignal,
  ): Promise<IssueControlResponse>
  workload(
    request: IssueWorkloadRequest,
    own: Credential,
    signal: AbortSignal,
  ): Promise<IssueWorkloadResponse>
  jwt(request: IssueJwtRequest, own: Credential, signal: AbortSignal): Promise<IssueJwtResponse>
}

export interface IssuerNeeds {
  readonly trust: () => Trust
  readonly wall: Now
}

const DEADLINE_MS = 10_000
const ANSWER_BYTES = 512 * 1024

export function createIssuer({ issuer: to }: IdentitySettings, { trust, wall }: IssuerNeeds): Issuer {
  // A connection for each call: they are few, and each has the credential, the roots and the replica of this very moment.
  const call = async <Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    own: Credential | undefined,
    signal: AbortSignal,
  ): Promise<Response> => {
    const client = connectOperator(
      { to, role: 'issuer', trust, own, wall },
      { 'grpc.max_receive_message_length': ANSWER_BYTES },
    )
    try {
      return await unary({ client, method, deadline: wall() + DEADLINE_MS }, request, signal)
    } finally {
      client.close()
    }
  }
  return {
    control: (request, own, signal) => call(IssuerService.issueControl, request, own, signal),
    workload: (request, own, signal) => call(IssuerService.issueWorkload, request, own, signal),
    jwt: (request, own, signal) => call(IssuerService.issueJwt, request, own, signal),
  }
}

interface Call<Request, Response> {
  readonly client: Client
  readonly method: MethodDefinition<Request, Response>
  readonly deadline: number
}

function unary<Request, Response>(
  { client, method, deadline }: Call<Request, Response>,
  request: Request,
  signal: AbortSignal,
): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>()
  const { path, requestSerialize, responseDeserialize } = method
  const stop = () => running.cancel()
  const running = client.makeUnaryRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    new Metadata(),
    { deadline },
    (error, answer) => {
      signal.removeEventListener('abort', stop)
      if (answer && !error) resolve(answer)
      else reject(error ?? new Error('no answer'))
    },
  )
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  return promise
}

/** The gRPC code of whatever a call rejected with; UNKNOWN for anything else. */
export function codeOf(cause: unknown): number {
  const code = cause instanceof Error ? (cause as { code?: unknown }).code : undefined
  return typeof code === 'number' ? code : status.UNKNOWN
}

const PROBLEM_LENGTH = 256

/** What went wrong, for people. Neither what was sent nor what was answered is in it. */
export function problemOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown'
  const details = (cause as { details?: unknown }).details
  const name = Object.entries(status).find(([, code]) => code === (cause as { code?: unknown }).code)?.[0]
  const text = typeof details === 'string' && details ? details : cause.message
  const said = text.replace(/[^\x20-\x7e]/g, ' ').slice(0, PROBLEM_LENGTH)
  return name ? `${name}: ${said}` : said
}
