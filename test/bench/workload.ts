import {
  AuthorizerService,
  type CheckRequest,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { CLIENT, forge, type Members } from '../fixtures/tokens.ts'

// The same questions for every server, encoded before anything is timed, each with the answer it must get.

/** One question as each protocol sends it. */
export interface Question {
  /** `allow`, or the reason of the denial. */
  readonly want: string
  /** A CheckRequest. */
  readonly message: Buffer
  /** The same as gRPC frame of a unary call. */
  readonly unary: Buffer
  /** As gRPC frame of a stream, under the id `index + 1`. */
  readonly streamed: Buffer
  /** As body of an OPA Data API query. */
  readonly http: Buffer
}

export interface Workload {
  readonly distinct: readonly Question[]
  readonly repeated: readonly Question[]
  /** Bare tokens of `distinct`. */
  readonly tokens: readonly string[]
  readonly tokenBytes: number
}

export const TENANTS = ['acme', 'globex'] as const
const REPEATED = { tokens: 10, questions: 1_000 } as const

/** As many distinct tokens as asked, one question each; and ten tokens that come again and again. */
export function createWorkload(distinctTokens: number): Workload {
  const at = Math.floor(Date.now() / 1000)
  const tokens = Array.from({ length: distinctTokens }, (_, index) => tokenFor(index, at))
  const few = tokens.slice(0, REPEATED.tokens)
  const repeated = Array.from({ length: REPEATED.questions }, (_, index) => few[index % few.length] ?? '')
  const bytes = tokens.reduce((sum, token) => sum + token.length, 0)
  return {
    distinct: tokens.map((token, index) => encoded(token, index, index)),
    repeated: repeated.map((token, index) => encoded(token, index % few.length, index)),
    tokens,
    tokenBytes: Math.round(bytes / tokens.length),
  }
}

/** gRPC length-prefixed message, uncompressed. */
export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(5 + message.length)
  frame.writeUInt8(0, 0)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, 5)
  return frame
}

/** Sized like a token of a real provider: about 900 bytes with an RS256 signature of 342 characters. */
export function tokenFor(index: number, at: number, more: Members = {}): string {
  return forge({ key: signingKey('RS256'), at, claims: { ...claimsFor(index, at), ...more } })
}

/** Beyond the default claims. */
export function claimsFor(index: number, at: number): Members {
  const subject = subjectOf(index)
  return {
    sub: subject,
    client_id: CLIENT,
    exp: at + 3000,
    auth_time: at - 60,
    jti: `f3c1a1d2-7b0e-4a55-9c1f-${String(index).padStart(12, '0')}`,
    roles: roles(index),
    name: `Example Person ${index}`,
    email: `${subject}@mail.acme.example`,
  }
}

export function subjectOf(index: number): string {
  return `user-${String(index).padStart(6, '0')}`
}

interface Case {
  readonly want: string
  readonly action: string
  readonly method?: string
  readonly tenant?: string
  readonly owner?: string
  readonly attributes?: Readonly<Record<string, unknown>>
  readonly request?: Readonly<Record<string, unknown>>
}

const REFUND = { action: 'invoice:refund', method: 'POST' } as const
const SHARED = { owner: 'user-elsewhere', attributes: { visibility: 'tenant' } } as const
// The row of a token never changes, so that ten tokens have ten answers.
const CASES: readonly Case[] = [
  { want: 'allow', action: 'invoice:read' },
  { want: 'allow', action: 'invoice:edit', method: 'PUT' },
  { want: 'allow', action: 'invoice:read', ...SHARED },
  { want: 'allow', ...REFUND, request: { amount: 100 } },
  { want: 'allow', action: 'invoice:delete', method: 'DELETE', attributes: { status: 'draft' } },
  { want: 'allow', action: 'invoice:read', attributes: { visibility: 'tenant' } },
  { want: 'allow', action: 'invoice:edit', method: 'PUT', attributes: { status: 'draft' } },
  { want: 'tenant_mismatch', action: 'invoice:read', tenant: 'globex' },
  { want: 'not_owner', action: 'invoice:edit', method: 'PUT', ...SHARED },
  { want: 'role_missing', ...REFUND, request: { amount: 100 } },
  { want: 'allow', action: 'invoice:read' },
  { want: 'allow', action: 'invoice:edit', method: 'PUT' },
  { want: 'allow', action: 'invoice:read', ...SHARED },
  { want: 'allow', ...REFUND, request: { amount: 300 } },
  { want: 'allow', action: 'invoice:delete', method: 'DELETE', attributes: { status: 'draft' } },
  { want: 'allow', action: 'invoice:read', attributes: { visibility: 'tenant' } },
  { want: 'allow', action: 'invoice:edit', method: 'PUT', attributes: { status: 'draft' } },
  { want: 'tenant_mismatch', action: 'invoice:delete', tenant: 'globex' },
  { want: 'insufficient_scope', action: 'invoice:export' },
  { want: 'limit_exceeded', ...REFUND, request: { amount: 700 } },
]

function caseOf(tokenIndex: number): Case {
  const found = CASES[tokenIndex % CASES.length]
  if (!found) throw new Error('the workload has no cases')
  return found
}

function roles(tokenIndex: number): readonly string[] {
  return caseOf(tokenIndex).want === 'role_missing' ? ['reader'] : ['billing', 'reader']
}

function encoded(token: string, tokenIndex: number, index: number): Question {
  const {
    want,
    action,
    method = 'GET',
    tenant = 'acme',
    owner,
    attributes,
    request = {},
  } = caseOf(tokenIndex)
  const id = `inv-${String(index).padStart(8, '0')}`
  const asked = question({
    token,
    action,
    method,
    url: `/invoices/${id}?currency=EUR`,
    stored: { id, tenant, owner: owner ?? subjectOf(tokenIndex), attributes: { amount: 300, ...attributes } },
    request,
  })
  const message = AuthorizerService.check.requestSerialize(asked)
  const streamed = AuthorizerService.checkStream.requestSerialize({ id: index + 1, check: asked })
  return { want, message, unary: framed(message), streamed: framed(streamed), http: dataQuery(token, asked) }
}

function dataQuery(token: string, { method, url, action, resource }: CheckRequest): Buffer {
  return Buffer.from(JSON.stringify({ input: { token, action, http: { method, url }, resource } }))
}
