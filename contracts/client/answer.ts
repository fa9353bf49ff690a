import { Buffer } from 'node:buffer'
import { status as grpc } from '@grpc/grpc-js'
import {
  CheckResponse,
  Reason,
  type Client as WireClient,
  type Diagnostic as WireDiagnostic,
} from '../gen/portcullis/authorizer/v1/authorizer.ts'
import { isCheckResponse } from './wire.ts'

declare const passed: unique symbol

export type Decision = Allowance | Denial

/** Permission. Only the sidecar's own complete answer becomes one; `isAllowance` knows a copy from the original. */
export interface Allowance {
  readonly kind: 'allow'
  readonly [passed]: true
  readonly principal: Principal
  /** Rules that allowed, as the policy names them. */
  readonly ruleIds: readonly string[]
  /** Lines for the response to the caller, such as `DPoP-Nonce` (RFC 9449 section 8.2); the guard sends them by itself. */
  readonly headers: readonly HeaderText[]
  /** Finds this decision in the sidecar's decision log. */
  readonly decisionId: string
  readonly policyRevision: string
  readonly trustGeneration: number
}

/** Who was recognised, as far as the token proves it. `expiresAt` in seconds since the epoch. */
export interface Principal {
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly tenant: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly expiresAt: number
}

/** A refusal in two parts that never mix: forward `client` as it stands, log `diagnostic` and never forward it. */
export interface Denial {
  readonly kind: 'deny'
  readonly cause: DenialCause
  readonly client: ClientPart
  readonly diagnostic: Diagnostic
  readonly decisionId?: string
  readonly policyRevision?: string
  readonly trustGeneration?: number
}

/**
 * Who refused, and in the client's own cases why: the `sidecar` decided; nobody answered within the deadline
 * (`timeout`); the sidecar could not be reached or the stream broke (`unavailable`); what came is no answer of this
 * contract (`invalid_answer`); too many questions are waiting here (`overloaded`); the caller's signal aborted
 * (`cancelled`); the question or an argument is wrong (`client_fault`). The last three are the guard's: `load` threw
 * (`load_failed`), `load` found nothing (`not_found`), the route declares no action (`undeclared`).
 */
export type DenialCause =
  | 'sidecar'
  | 'timeout'
  | 'unavailable'
  | 'invalid_answer'
  | 'overloaded'
  | 'cancelled'
  | 'client_fault'
  | 'load_failed'
  | 'not_found'
  | 'undeclared'

/** A header line, ready to send. */
export interface HeaderText {
  readonly name: string
  readonly value: string
}

/** Safe to hand to the caller verbatim. */
export interface ClientPart {
  /** HTTP status: 400, 401, 403, 404 or 503. */
  readonly status: number
  readonly headers: readonly HeaderText[]
  readonly text: string
  /** The same refusal as a gRPC status code. */
  readonly grpcStatus: number
}

/** For the application's own logs. */
export interface Diagnostic {
  /** The sidecar's reason in lower case, as its metric label; `unknown` when there is none or it is newer than this client. */
  readonly reason: string
  readonly ruleIds: readonly string[]
  /** What is wrong and what to do. Never carries a token or a value of the question. */
  readonly detail?: string
}

const STATUSES: ReadonlySet<number> = new Set([400, 401, 403, 404, 503])
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** RFC 9110 section 5.5 without obs-text edges: nothing that could start another header line. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
/** An answer has no say in how its message is framed (RFC 9112 section 6) nor in the caller's cookies. */
const NOT_OURS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const REASONS: ReadonlyMap<number, string> = new Map(
  Object.entries(Reason)
    .filter(([, number]) => number !== Reason.REASON_UNSPECIFIED)
    .map(([name, number]) => [number, name.slice('REASON_'.length).toLowerCase()]),
)

const LOCAL_REASON: Partial<Record<DenialCause, string>> = {
  timeout: 'deadline',
  overloaded: 'overloaded',
  cancelled: 'cancelled',
  client_fault: 'request_invalid',
}

// In the sidecar's own words: from outside, who refused must not be told apart, nor what is hidden from what is not there.
const UNAVAILABLE: ClientPart = freezeDeep({
  status: 503,
  headers: [{ name: 'retry-after', value: '1' }],
  text: 'Temporarily unavailable.',
  grpcStatus: grpc.UNAVAILABLE,
})
const NOT_FOUND: ClientPart = freezeDeep({
  status: 404,
  headers: [],
  text: 'Not found.',
  grpcStatus: grpc.NOT_FOUND,
})

/** Every Allowance there is, so that no object made elsewhere passes for one, whatever its type says. */
const allowances = new WeakSet<object>()

/** Whether `value` came out of the sidecar's own complete permission in this process. */
export function isMinted(value: unknown): value is Allowance {
  return typeof value === 'object' && value !== null && allowances.has(value)
}

/** Reads the bytes of a CheckResponse. Whatever is not an explicit, complete permission is a denial. Never throws. */
export function readAnswer(bytes: Uint8Array): Decision {
  const answer = decode(bytes)
  if (answer === undefined) return refuse('invalid_answer', 'the answer is no CheckResponse')
  const { outcome } = answer
  if (outcome?.$case === 'deny') return readDenial(answer, outcome.deny)
  const principal = outcome?.allow.principal
  if (outcome === undefined) return refuse('invalid_answer', 'the answer neither allows nor denies')
  if (principal === undefined) return refuse('invalid_answer', 'an allowance without principal')
  if (principal.issuer === '' || principal.subject === '')
    return refuse('invalid_answer', 'an allowance for nobody')
  if (answer.decisionId === '') return refuse('invalid_answer', 'an allowance without decision id')
  if (answer.policyRevision === '') return refuse('invalid_answer', 'an allowance without policy revision')
  const headers = readHeaders(outcome.allow.headers)
  if (headers === undefined) return refuse('invalid_answer', 'an allowance whose header lines cannot be sent')
  return mint(answer, { principal, ruleIds: outcome.allow.ruleIds, headers })
}

/** A denial made on this side of the socket: 404 for what is not there, 503 for everything else. */
export function refuse(cause: Exclude<DenialCause, 'sidecar'>, detail: string): Denial {
  const client = cause === 'not_found' || cause === 'undeclared' ? NOT_FOUND : UNAVAILABLE
  const diagnostic = { reason: LOCAL_REASON[cause] ?? 'unknown', ruleIds: [], detail }
  return freezeDeep({ kind: 'deny', cause, client, diagnostic })
}

function decode(bytes: Uint8Array): CheckResponse | undefined {
  if (!isCheckResponse(bytes)) return undefined
  try {
    return CheckResponse.decode(bytes)
  } catch {
    return undefined
  }
}

function mint(
  answer: CheckResponse,
  granted: Pick<Allowance, 'principal' | 'ruleIds' | 'headers'>,
): Allowance {
  const { decisionId, policyRevision, trustGeneration } = answer
  // The only `as` to an Allowance: the brand exists in the type alone, its runtime half is the WeakSet.
  const allowance = freezeDeep({
    kind: 'allow',
    ...granted,
    decisionId,
    policyRevision,
    trustGeneration,
  }) as Allowance
  allowances.add(allowance)
  return allowance
}

/** A refusal of the sidecar, if it can be forwarded. */
export function readDenial(
  answer: Pick<CheckResponse, 'decisionId' | 'trustGeneration'> &
    Partial<Pick<CheckResponse, 'policyRevision'>>,
  deny: { readonly client: WireClient | undefined; readonly diagnostic: WireDiagnostic | undefined },
): Denial {
  const client = readClient(deny.client)
  if (client === undefined) return refuse('invalid_answer', 'a denial whose client part cannot be forwarded')
  const { reason = 0, ruleIds = [], detail = '' } = deny.diagnostic ?? {}
  return freezeDeep({
    kind: 'deny',
    cause: 'sidecar',
    client,
    diagnostic: { reason: REASONS.get(reason) ?? 'unknown', ruleIds, ...(detail === '' ? {} : { detail }) },
    ...(answer.decisionId === '' ? {} : { decisionId: answer.decisionId }),
    ...(answer.policyRevision ? { policyRevision: answer.policyRevision } : {}),
    trustGeneration: answer.trustGeneration,
  })
}

/** A refusal that reads as a success (status 200, `OK`), or that splits the response, is none. */
function readClient(part: WireClient | undefined): ClientPart | undefined {
  if (part === undefined || !STATUSES.has(part.status) || part.grpcStatus === grpc.OK) return undefined
  const headers = readHeaders(part.headers)
  return headers && { status: part.status, headers, text: part.text, grpcStatus: part.grpcStatus }
}

function readHeaders(lines: WireClient['headers']): readonly HeaderText[] | undefined {
  const headers = lines.map(({ name, value }) => ({ name, value: Buffer.from(value).toString('latin1') }))
  return headers.every(
    ({ name, value }) => TOKEN.test(name) && FIELD_VALUE.test(value) && !NOT_OURS.has(name.toLowerCase()),
  )
    ? headers
    : undefined
}

export function freezeDeep<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const member of Object.values(value)) freezeDeep(member)
  return Object.freeze(value)
}
