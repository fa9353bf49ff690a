import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import {
  CheckRequest as CheckRequestMessage,
  CheckResponse,
  CheckStreamResponse,
  type Denial as DenialMessage,
  Reason as ProtoReason,
  type StoredFacts as StoredFactsMessage,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Outcome } from '../decide.ts'
import { type Denial, denied, deny, denyRequest, type Reason } from '../decision.ts'
import { isAllowance } from '../policy/judge.ts'
import type { Principal } from '../principal.ts'
import type { CheckRequest, HeaderLine, JsonObject, StoredFacts } from '../request.ts'
import { type Asker, allowanceHeaders, type Face, faceOf } from './challenge.ts'

/** Limits of a question, as contracts/…/authorizer.proto states them. Sizes in bytes or UTF-16 units. */
export const REQUEST_LIMITS = {
  headers: 64,
  headerName: 256,
  headerValue: 16 * 1024,
  method: 32,
  url: 8 * 1024,
  action: 128,
  type: 128,
  id: 256,
  peerCertificate: 8 * 1024,
  values: 512,
  depth: 16,
} as const

/** Bytes to a question, or the denial that says which field to mend. Never throws. */
export function decodeRequest(bytes: Uint8Array): CheckRequest | Denial {
  try {
    return readRequest(whole(bytes, CheckRequestMessage.decode))
  } catch {
    return denyRequest(
      'the bytes are not a portcullis.authorizer.v1.CheckRequest; regenerate the client from the proto',
    )
  }
}

/**
 * Decodes all of `bytes`. The generated decoder stops at a zero or end-group tag as if the message ended there; what follows must
 * not be ignored.
 */
export function whole<T>(bytes: Uint8Array, decode: (reader: BinaryReader) => T): T {
  const reader = new BinaryReader(bytes)
  const message = decode(reader)
  if (reader.pos !== reader.len) throw new RangeError('bytes are left after the message')
  return message
}

/** A decoded message to a question inside its limits. */
export function readRequest(message: CheckRequestMessage): CheckRequest | Denial {
  const problem = problemWith(message)
  if (problem) return denyRequest(problem)
  const { method, url, action, resource, timeoutMs, peerCertificate } = message
  return {
    headers: message.headers.map(headerLine),
    method,
    url,
    action,
    stored: storedFacts(resource?.stored),
    sent: resource?.request ?? NOTHING,
    peerCertificate: peerCertificate.length > 0 ? peerCertificate : undefined,
    timeoutMs,
  }
}

const NOTHING: JsonObject = Object.freeze({})

function headerLine({ name, value }: { name: string; value: Uint8Array }): HeaderLine {
  return { name: name.toLowerCase(), value }
}

function storedFacts(stored: StoredFactsMessage | undefined): StoredFacts {
  return {
    type: stored?.type ?? '',
    id: stored?.id ?? '',
    tenant: stored?.tenant ?? '',
    owner: stored?.owner ?? '',
    attributes: stored?.attributes ?? NOTHING,
  }
}

// RFC 9110 section 5.6.2 token; RFC 6749 section 3.3 scope-token.
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/
const ACTION = /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/

function problemWith({
  headers,
  method,
  url,
  action,
  resource,
  peerCertificate,
}: CheckRequestMessage): string | undefined {
  if (!METHOD.test(method)) return 'method: required, the method of the original request, such as GET'
  if (!url || url.length > REQUEST_LIMITS.url)
    return 'url: required, the target of the original request, at most 8 KiB'
  if (!ACTION.test(action)) return 'action: required, 1 to 128 characters such as invoice:read'
  if (headers.length > REQUEST_LIMITS.headers)
    return 'headers: more than 64; send the credential headers only'
  if (
    headers.some(
      ({ name, value }) =>
        name.length > REQUEST_LIMITS.headerName || value.length > REQUEST_LIMITS.headerValue,
    )
  ) {
    return 'headers: a name longer than 256 bytes or a value longer than 16 KiB'
  }
  if (peerCertificate.length > REQUEST_LIMITS.peerCertificate) return 'peer_certificate: larger than 8 KiB'
  const stored = resource?.stored
  const fact = stored && factProblem(stored)
  if (fact) return `resource.stored.${fact}`
  const attributes = structProblem(stored?.attributes)
  if (attributes) return `resource.stored.attributes: ${attributes}`
  const sent = structProblem(resource?.request)
  return sent && `resource.request: ${sent}`
}

function factProblem({ type, id, tenant, owner }: StoredFactsMessage): string | undefined {
  for (const [name, text] of [
    ['type', type],
    ['id', id],
    ['tenant', tenant],
    ['owner', owner],
  ] as const) {
    const longest = name === 'type' ? REQUEST_LIMITS.type : REQUEST_LIMITS.id
    if (text.length > longest) return `${name}: longer than ${longest} characters`
    // The decoder writes U+FFFD for bytes that are not UTF-8; two different names must not become one.
    if (text.includes('\ufffd')) return `${name}: not well-formed UTF-8`
  }
  return undefined
}

function structProblem(struct: unknown): string | undefined {
  if (struct === undefined) return undefined
  const budget = { values: REQUEST_LIMITS.values as number }
  return valueProblem(struct, REQUEST_LIMITS.depth, budget)
}

function valueProblem(value: unknown, depth: number, budget: { values: number }): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'a number that is not finite'
  if (typeof value !== 'object' || value === null) return undefined
  if (depth === 0) return 'nested deeper than 16; flatten it'
  for (const item of Object.values(value)) {
    if (--budget.values < 0) return 'more than 512 values; send only what rules read'
    const problem = valueProblem(item, depth - 1, budget)
    if (problem) return problem
  }
  return undefined
}

/** An outcome to bytes. Whatever is not a genuine Allowance goes out as a denial. */
export function encodeResponse(outcome: Outcome, decisionId: string, action: string): Buffer {
  const message = toMessage(outcome, decisionId, action)
  return written((writer) => CheckResponse.encode(message, writer))
}

/** The same as one answer on a stream. */
export function encodeStreamResponse(
  id: number,
  outcome: Outcome,
  decisionId: string,
  action: string,
): Buffer {
  const message = { id, check: toMessage(outcome, decisionId, action) }
  return written((writer) => CheckStreamResponse.encode(message, writer))
}

let sharedWriter = new BinaryWriter()

// One writer for all answers: it keeps its buffer, where a new one would grow anew from nothing for each.
function written(encode: (writer: BinaryWriter) => BinaryWriter): Buffer {
  try {
    const bytes = encode(sharedWriter).finish()
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  } catch (cause) {
    // Half an answer may be left in it.
    sharedWriter = new BinaryWriter()
    throw cause
  }
}

function toMessage(outcome: Outcome, decisionId: string, action: string): CheckResponse {
  const { trust } = outcome
  return {
    outcome: outcomeOf(outcome, action),
    decisionId,
    policyRevision: trust?.policy.revision ?? '',
    trustGeneration: trust?.generation ?? 0,
  }
}

function outcomeOf(outcome: Outcome, action: string): NonNullable<CheckResponse['outcome']> {
  const { decision } = outcome
  if (isAllowance(decision)) {
    const { principal, ruleIds } = decision
    const headers = headerMessages(allowanceHeaders(outcome.nonce))
    return {
      $case: 'allow',
      allow: { principal: principalMessage(principal), ruleIds: [...ruleIds], headers },
    }
  }
  return {
    $case: 'deny',
    deny: denialMessage(denied(decision) ? decision : deny('internal'), action, askerOf(outcome, action)),
  }
}

/** A refusal in its two parts. */
export function denialMessage(denial: Denial, action: string, asker: Asker = {}): DenialMessage {
  const diagnostic = {
    reason: REASON_NUMBER[denial.reason],
    ruleIds: [...denial.ruleIds],
    detail: denial.detail,
  }
  return { client: clientMessage(faceOf(denial, action, asker)), diagnostic }
}

const REASON_NUMBER = Object.fromEntries(
  Object.entries(ProtoReason).map(([name, number]) => [name.slice('REASON_'.length).toLowerCase(), number]),
) as Readonly<Record<Reason, ProtoReason>>

function principalMessage(who: Principal) {
  return {
    issuer: who.issuer,
    subject: who.subject,
    clientId: who.clientId,
    tenant: who.tenant,
    scopes: [...who.scopes],
    roles: [...who.roles],
    expiresAt: who.expiresAt,
  }
}

function clientMessage({ status, grpcStatus, headers, text }: Face) {
  return {
    status,
    grpcStatus,
    text,
    headers: headerMessages(headers),
  }
}

function headerMessages(headers: Face['headers']) {
  return headers.map(({ name, value }) => ({ name, value: Buffer.from(value) }))
}

function askerOf({ scheme, nonce, trust }: Outcome, action: string): Asker {
  // Without the URL under which we are called no proof can be checked, so none is asked for.
  const takesProofs = trust?.tokens.edge.baseUrl !== undefined
  return { scheme, nonce, takesProofs, stepUp: trust?.tokens.requirements(action) }
}
