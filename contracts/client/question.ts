import { Buffer } from 'node:buffer'
import { isUint8Array } from 'node:util/types'
import { CheckRequest } from '../gen/portcullis/authorizer/v1/authorizer.ts'
import { createJsonReader } from './json.ts'

/** May `action` be done to `resource` by whoever sent `headers`? At most 64 KiB once encoded. */
export interface CheckQuestion {
  /** Every `Authorization` and `DPoP` line as received, order and duplicates kept; `fromHttp` reads them. */
  readonly headers: readonly HeaderLine[]
  /** Method of the original request. */
  readonly method: string
  /** Target of the original request, as received, with its query. */
  readonly url: string
  /** `<type>:<verb>`, for instance `invoice:read`. */
  readonly action: string
  readonly resource?: ResourceFacts
  /** DER of the client certificate of the TLS connection the request came on. */
  readonly peerCertificate?: Uint8Array
}

/** One header line. A string value stands for its Latin-1 bytes, which is how Node hands header bytes over. */
export interface HeaderLine {
  readonly name: string
  readonly value: Uint8Array | string
}

/** What is acted on. Rules of tenancy and ownership read `stored` only, never `request`. */
export interface ResourceFacts {
  /** As read from the application's own store. For a creation: the facts of the parent. */
  readonly stored?: StoredFacts
  /** As sent by the caller: body fields, parameters. */
  readonly request?: JsonFacts
}

/** Facts the application read from its own store. A missing tenant or owner denies where a rule needs it. */
export interface StoredFacts {
  readonly type: string
  readonly id: string
  readonly tenant?: string | undefined
  readonly owner?: string | undefined
  readonly attributes?: JsonFacts | undefined
}

/** JSON values by name; members that are `undefined` count as absent. Dates, maps and class instances are refused. */
export type JsonFacts = { readonly [name: string]: unknown }

/** Limit of the whole question, bytes (authorizer.proto, CheckRequest). */
export const QUESTION_BYTES = 65_536
/** Room for `timeout_ms`: one byte of tag, five of varint. */
const TIMEOUT_BYTES = 6

/** A question on the wire without its `timeout_ms`, or what is wrong with it. The detail never carries a value. */
export type Encoded =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly detail: string }

/** Reads every property once: what was judged well-formed is what is sent. Never throws. */
export function encodeQuestion(question: CheckQuestion): Encoded {
  const problems: string[] = []
  try {
    const bytes = CheckRequest.encode(readQuestion(question, (problem) => problems.push(problem))).finish()
    const [problem] = problems
    if (problem !== undefined) return { ok: false, detail: problem }
    if (bytes.length > QUESTION_BYTES - TIMEOUT_BYTES) {
      return { ok: false, detail: `the question is larger than ${QUESTION_BYTES} bytes: send fewer facts` }
    }
    return { ok: true, bytes }
  } catch {
    // The message of what was thrown could quote the question, and with it the token.
    return {
      ok: false,
      detail: problems[0] ?? 'the question cannot be read: it is no plain object of the documented shape',
    }
  }
}

type Complain = (problem: string) => void

function readQuestion(question: CheckQuestion, complain: Complain): CheckRequest {
  const { headers, method, url, action, resource, peerCertificate } = question
  return {
    headers: readHeaders(headers, complain),
    method: readText(method, 'method', complain),
    url: readText(url, 'url', complain),
    action: readText(action, 'action', complain),
    resource: resource === undefined ? undefined : readResource(resource, complain),
    peerCertificate: peerCertificate === undefined ? Buffer.alloc(0) : readBytes(peerCertificate, complain),
    timeoutMs: 0,
  }
}

function readHeaders(headers: readonly HeaderLine[], complain: Complain): CheckRequest['headers'] {
  if (!Array.isArray(headers)) {
    complain('headers: give a list of { name, value }, one for each line received')
    return []
  }
  return headers.map(({ name, value }: HeaderLine) => ({
    name: readText(name, 'headers[].name', complain),
    value: readHeaderValue(value, complain),
  }))
}

function readHeaderValue(value: Uint8Array | string, complain: Complain): Buffer {
  if (isUint8Array(value)) return bufferOver(value)
  if (typeof value === 'string' && /^[\0-\u00ff]*$/.test(value)) return Buffer.from(value, 'latin1')
  complain('headers[].value: give the bytes received, or a string of characters up to U+00FF')
  return Buffer.alloc(0)
}

function readResource(resource: ResourceFacts, complain: Complain): CheckRequest['resource'] {
  const { stored, request } = resource
  return {
    stored: stored === undefined ? undefined : readStored(stored, complain),
    request: request === undefined ? undefined : createJsonReader('resource.request', complain)(request),
  }
}

function readStored(
  stored: StoredFacts,
  complain: Complain,
): NonNullable<CheckRequest['resource']>['stored'] {
  const { type, id, tenant, owner, attributes } = stored
  return {
    type: readText(type, 'resource.stored.type', complain),
    id: readText(id, 'resource.stored.id', complain),
    tenant: tenant === undefined ? '' : readText(tenant, 'resource.stored.tenant', complain),
    owner: owner === undefined ? '' : readText(owner, 'resource.stored.owner', complain),
    attributes:
      attributes === undefined
        ? undefined
        : createJsonReader('resource.stored.attributes', complain)(attributes),
  }
}

/** Ill-formed text is refused: as UTF-8 its lone surrogates all become U+FFFD, and two tenants could become one. */
function readText(value: string, path: string, complain: Complain): string {
  if (typeof value === 'string' && value.isWellFormed()) return value
  complain(`${path}: give a well-formed string`)
  return ''
}

function readBytes(value: Uint8Array, complain: Complain): Buffer {
  if (isUint8Array(value)) return bufferOver(value)
  complain('peerCertificate: give the DER bytes')
  return Buffer.alloc(0)
}

function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
