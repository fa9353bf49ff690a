import { type Allowance, type Decision, type Denial, isMinted, readAnswer, refuse } from './client/answer.ts'
import { type HttpQuestion, type HttpRequest, readHttp } from './client/http.ts'
import { type CheckQuestion, encodeQuestion } from './client/question.ts'
import { parseTarget } from './client/target.ts'
import { openStream, openUnary, openVerify } from './client/transport.ts'
import {
  encodeTokenQuestion,
  isVouched,
  readVerification,
  type TokenQuestion,
  type Verification,
  type Verified,
} from './client/verification.ts'
import { createWindow } from './client/window.ts'

export type {
  Allowance,
  ClientPart,
  Decision,
  Denial,
  DenialCause,
  Diagnostic,
  HeaderText,
  Principal,
} from './client/answer.ts'
export type { HttpQuestion, HttpRequest } from './client/http.ts'
export type { CheckQuestion, HeaderLine, JsonFacts, ResourceFacts, StoredFacts } from './client/question.ts'
export type { IdTokenTerms, TokenKind, TokenQuestion, Verification, Verified } from './client/verification.ts'

export interface ClientOptions {
  /** Where the sidecar listens: `unix:///absolute/path`, `127.0.0.1:port`, `[::1]:port` or `localhost:port`. */
  readonly target: string
  /** `stream` (default): one CheckStream, about a seventh of the cost. `unary`: one Check for each question. */
  readonly transport?: 'stream' | 'unary'
  /** How long a check may take, milliseconds. 250 by default, 60,000 at most. */
  readonly deadlineMs?: number
  /** Questions unanswered at once, 1 to 128; the sidecar's `limits.streamWindow` is the ceiling that counts. 64 by default. */
  readonly window?: number
  /** Questions that may wait for a slot in the window or for the connection. 1024 by default. */
  readonly queue?: number
}

export interface CheckOptions {
  /** Stops the wait; the answer is then a denial with cause `cancelled`. */
  readonly signal?: AbortSignal | undefined
  /** For this check alone, milliseconds. */
  readonly deadlineMs?: number | undefined
}

export interface AuthorizerClient extends AsyncDisposable {
  /**
   * Asks the sidecar. Never throws and never rejects: everything but an explicit, complete permission that arrived in
   * time is a `Denial` whose `cause` says why.
   */
  readonly check: (question: CheckQuestion, options?: CheckOptions) => Promise<Decision>
  /**
   * Asks whether a token is genuine and of the kind named. Never throws and never rejects: everything but an explicit, complete answer for
   * that kind is a `Denial`. What is verified is no permission.
   */
  readonly verifyToken: (question: TokenQuestion, options?: CheckOptions) => Promise<Verification>
  /** Denies whatever is unanswered and disconnects. Later checks are denied. */
  readonly close: () => void
}

const DEADLINE_MS = 250
const DEADLINE_MAX_MS = 60_000
const WINDOW = 64
/** authorizer.proto, CheckStream. */
const WINDOW_MAX = 128
const QUEUE = 1024
const QUEUE_MAX = 1_048_576

/**
 * A client of the sidecar next door. Opens nothing before the first check; reconnects by itself after that.
 * An open connection keeps the process alive: `close()` it, or hold it with `await using`.
 * Throws a TypeError or RangeError for options that make no sense, above all a target off this machine.
 */
export function createAuthorizerClient(options: ClientOptions): AuthorizerClient {
  const { transport = 'stream', deadlineMs = DEADLINE_MS, window = WINDOW, queue = QUEUE } = options
  if (transport !== 'stream' && transport !== 'unary')
    throw new TypeError("transport: give 'stream' or 'unary'")
  if (!isDeadline(deadlineMs)) throw new RangeError(`deadlineMs: give ${DEADLINES}`)
  if (!isCount(window, WINDOW_MAX))
    throw new RangeError(`window: give a whole number from 1 to ${WINDOW_MAX}`)
  if (!isCount(queue, QUEUE_MAX)) throw new RangeError(`queue: give a whole number from 1 to ${QUEUE_MAX}`)
  const openTransport = transport === 'stream' ? openStream : openUnary
  const addresses = parseTarget(options.target)
  const questions = createWindow({ addresses, openTransport, window, queue, read: readAnswer })
  // A connection of its own, made when the first token is asked about.
  const tokens = createWindow({
    ...{ addresses, window, queue },
    openTransport: openVerify,
    read: readVerification,
  })

  async function check(question: CheckQuestion, wishes: CheckOptions = {}): Promise<Decision> {
    try {
      const asked = readWishes(wishes, deadlineMs)
      if ('kind' in asked) return asked
      const encoded = encodeQuestion(question)
      if (!encoded.ok) return refuse('client_fault', encoded.detail)
      return await questions.ask(encoded.bytes, asked.deadlineMs, asked.signal)
    } catch {
      return refuse('client_fault', 'the options of this check cannot be read')
    }
  }

  async function verifyToken(question: TokenQuestion, wishes: CheckOptions = {}): Promise<Verification> {
    try {
      const encoded = encodeTokenQuestion(question)
      if (!encoded.ok) return refuse('client_fault', encoded.detail)
      const asked = readWishes(wishes, deadlineMs)
      if ('kind' in asked) return asked
      const answer = await tokens.ask(encoded.bytes, asked.deadlineMs, asked.signal)
      return answer.kind === 'verified' && answer.tokenKind !== encoded.kind
        ? refuse('invalid_answer', 'the answer vouches for another kind of token')
        : answer
    } catch {
      return refuse('client_fault', 'the options of this check cannot be read')
    }
  }

  const close = (): void => {
    questions.close()
    tokens.close()
  }
  return { check, verifyToken, close, [Symbol.asyncDispose]: async () => close() }
}

interface Wishes {
  readonly deadlineMs: number
  readonly signal: AbortSignal | undefined
}

function readWishes(wishes: CheckOptions, usualMs: number): Wishes | Denial {
  const { signal, deadlineMs = usualMs } = wishes
  if (!isDeadline(deadlineMs)) return refuse('client_fault', `deadlineMs: give ${DEADLINES}`)
  if (signal !== undefined && typeof signal.addEventListener !== 'function') {
    return refuse('client_fault', 'signal: give an AbortSignal')
  }
  return { deadlineMs, signal }
}

/**
 * Lines of refusals and allowances that scripts of another origin need: name them in `Access-Control-Expose-Headers` (RFC 9449
 * section 8.2 and 9; Fetch standard, CORS-safelisted response-header name).
 */
export const EXPOSED_HEADERS: readonly string[] = Object.freeze([
  'WWW-Authenticate',
  'DPoP-Nonce',
  'Retry-After',
])

/**
 * Whether `value` is a permission that a client of this process received. The one question to ask before acting: a
 * look-alike object, a copy or a parsed log line is none.
 */
export function isAllowance(value: unknown): value is Allowance {
  return isMinted(value)
}

/** The same for a token that the sidecar vouched for. It is no permission. */
export function isVerified(value: unknown): value is Verified {
  return isVouched(value)
}

/**
 * The part of a question that the HTTP request holds: the `Authorization` and `DPoP` lines as received (order and
 * duplicates kept), method, original URL, and the client certificate when the connection is TLS with one. What a proxy says
 * of its client's certificate (`X-Forwarded-Client-Cert`, `Client-Cert`) goes with it only where TLS has verified the proxy.
 * For Fastify give `request.raw`. Throws a TypeError when `rawHeaders` is missing.
 */
export function fromHttp(request: HttpRequest): HttpQuestion {
  return readHttp(request)
}

const DEADLINES = `a number of milliseconds above 0, at most ${DEADLINE_MAX_MS}`

function isDeadline(ms: unknown): ms is number {
  return typeof ms === 'number' && ms > 0 && ms <= DEADLINE_MAX_MS
}

function isCount(value: unknown, max: number): value is number {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= max
}
