import { Fault, type FaultCode } from '../ports.ts'

/** What the API server said: the thing asked for, or a refusal. No answer at all is a `Fault` with code `api`. */
export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refused: Refusal }

/** A meta/v1 Status that is not a success, bounded. */
export interface Refusal {
  readonly status: number
  /** `NotFound`, `Conflict`, `Expired`, `Invalid`, …; `''` when something else than the API server answered. */
  readonly reason: string
  readonly message: string
  readonly causes: readonly Cause[]
  /** Milliseconds to wait, where the server named a time. */
  readonly retryAfterMs?: number
}
export interface Cause {
  readonly reason: string
  readonly field: string
  readonly message: string
}

const MESSAGE_CHARS = 1_024
const MAX_CAUSES = 64

/** The value of an answer for callers that expected nothing else; a refusal becomes a Fault. */
export function expectValue<T>(answer: Answer<T>, what: string): T {
  if (answer.ok) return answer.value
  throw faultOf(answer.refused, what)
}

/** A refusal as a breakage. `what` names the request: verb and path, never its content. */
export function faultOf(refused: Refusal, what: string): Fault {
  return new Fault(codeOf(refused), `${what}: ${refused.status} ${refused.reason} ${refused.message}`.trim())
}

function codeOf({ status }: Refusal): FaultCode {
  if (status === 404) return 'not_found'
  if (status === 409) return 'conflict'
  return status === 410 ? 'gone' : 'api'
}

/** Reads a meta/v1 Status, or whatever else came with a status code beyond 299. */
export function refusalOf(status: number, body: string, retryAfter: string | undefined): Refusal {
  const said = recordOf(parseJson(body))
  const details = recordOf(said['details'])
  const waitMs = retryAfterMs(retryAfter) ?? secondsMs(details['retryAfterSeconds'])
  return {
    status: typeof said['code'] === 'number' ? said['code'] : status,
    reason: textOf(said['reason']),
    message: textOf(said['message']) || (said['kind'] === 'Status' ? '' : body.slice(0, 200)),
    causes: listOf(details['causes']).slice(0, MAX_CAUSES).map(causeOf),
    ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
  }
}

function causeOf(value: unknown): Cause {
  const cause = recordOf(value)
  return {
    reason: textOf(cause['reason']),
    field: textOf(cause['field']),
    message: textOf(cause['message']),
  }
}

/** RFC 9110 section 10.2.3, the form in seconds: the only one the API server sends. */
function retryAfterMs(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined
}

function secondsMs(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value * 1_000 : undefined
}

/** Parsed JSON, or `undefined` when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MESSAGE_CHARS) : ''
}
