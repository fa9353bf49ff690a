import type { ServerDuplexStream, ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js'
import {
  CheckStreamRequest,
  CheckStreamResponse,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Decide, Outcome } from '../decide.ts'
import { type Decision, type Denial, denied, deny, denyRequest } from '../decision.ts'
import type { Monotonic, Now } from '../ports.ts'
import type { Principal } from '../principal.ts'
import type { CheckRequest } from '../request.ts'
import type { Admission } from './admission.ts'
import { type CallerNeeds, trackCaller } from './caller.ts'
import { decodeRequest, encodeResponse, readRequest, toMessage } from './codec.ts'

/** What the log and the metrics are told of a finished check. */
export interface Finished {
  readonly decision: Decision
  readonly principal: Principal | undefined
  readonly policyRevision: string
  readonly trustGeneration: number
  readonly request: CheckRequest | undefined
  readonly decisionId: string
  readonly elapsedMs: number
}

export interface ChecksNeeds extends CallerNeeds {
  readonly decide: Decide
  readonly record: (finished: Finished) => void
  readonly nextId: () => string
  readonly wall: Now
  readonly now: Monotonic
  readonly admission: Admission
}

export interface CheckLimits {
  /** Unanswered questions on one stream. */
  readonly streamWindow: number
  /** Longest wait for one answer; also the one that counts when the caller names none. */
  readonly deadlineMs: number
}

export interface Checks {
  readonly check: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void
  readonly checkStream: (call: ServerDuplexStream<Buffer, Buffer>) => void
}

/** The two ways to ask. Both end in the same `answer`; neither can throw into grpc-js, which would tell the caller why. */
export function createChecks(needs: ChecksNeeds, limits: CheckLimits, draining: AbortSignal): Checks {
  const refusal = (decision: Denial): Outcome => ({ decision, principal: undefined, trust: undefined })

  const answer = async (
    request: CheckRequest | Denial,
    waitsMs: number,
    hungUp: () => boolean,
  ): Promise<Answered> => {
    const startedAt = needs.now()
    const decisionId = needs.nextId()
    const finish = (outcome: Outcome, asked?: CheckRequest): Answered => {
      const { decision, principal, trust } = outcome
      const policyRevision = trust?.policy.revision ?? ''
      const trustGeneration = trust?.generation ?? 0
      const elapsedMs = needs.now() - startedAt
      needs.record({
        decision,
        principal,
        policyRevision,
        trustGeneration,
        request: asked,
        decisionId,
        elapsedMs,
      })
      return { outcome, decisionId, action: asked?.action ?? '' }
    }
    if (denied(request)) return finish(refusal(request))
    if (!needs.admission.enter()) return finish(refusal(deny('overloaded')), request)
    const caller = trackCaller(patience(request, waitsMs, limits.deadlineMs), hungUp, needs)
    try {
      return finish(await needs.decide(request, needs.wall(), caller), request)
    } finally {
      caller.release()
      needs.admission.leave()
    }
  }
  return {
    check(call, reply) {
      answer(
        decodeRequest(call.request),
        waitOf(call.getDeadline().valueOf(), needs.wall()),
        () => call.cancelled,
      ).then(
        ({ outcome, decisionId, action }) =>
          reply(null, asBuffer(encodeResponse(outcome, decisionId, action))),
        () => reply({ code: GRPC_INTERNAL, details: 'denied' }),
      )
    },
    checkStream(call) {
      serveStream(call, answer, limits.streamWindow, {
        draining,
        overloaded: () => answer(denyOverload(), 0, () => false),
      })
    },
  }
}

interface Answered {
  readonly outcome: Outcome
  readonly decisionId: string
  readonly action: string
}
type Answer = (request: CheckRequest | Denial, waitsMs: number, hungUp: () => boolean) => Promise<Answered>

const GRPC_INVALID_ARGUMENT = 3
const GRPC_INTERNAL = 13

const denyOverload = (): Denial => deny('overloaded')

// The smaller of the transport's deadline, the message's own and our longest wait.
function patience(request: CheckRequest, waitsMs: number, longestMs: number): number {
  return Math.min(waitsMs, request.timeoutMs || longestMs, longestMs)
}

function waitOf(deadline: number, wall: number): number {
  return Number.isFinite(deadline) ? Math.max(0, deadline - wall) : Number.POSITIVE_INFINITY
}

function serveStream(
  call: ServerDuplexStream<Buffer, Buffer>,
  answer: Answer,
  window: number,
  mode: { readonly draining: AbortSignal; readonly overloaded: () => Promise<Answered> },
): void {
  let unanswered = 0
  let ending = false
  const hungUp = () => call.cancelled
  const endWhenIdle = () => {
    if (ending && unanswered === 0 && !call.cancelled) call.end()
  }
  const stop = () => {
    ending = true
    endWhenIdle()
  }
  const send = (id: number, { outcome, decisionId, action }: Answered) => {
    unanswered--
    if (call.cancelled || call.destroyed || call.writableEnded) return
    const bytes = CheckStreamResponse.encode({ id, check: toMessage(outcome, decisionId, action) }).finish()
    if (!call.write(asBuffer(bytes))) {
      call.pause()
      call.once('drain', () => call.resume())
    }
    endWhenIdle()
  }
  const fail = () => {
    unanswered--
    call.destroy()
  }
  call.on('data', (bytes: Buffer) => {
    if (ending) return
    const question = readQuestion(bytes)
    if (!question) {
      ending = true
      call.emit('error', { code: GRPC_INVALID_ARGUMENT, details: 'a message is not a CheckStreamRequest' })
      return
    }
    unanswered++
    const answered =
      unanswered > window ? mode.overloaded() : answer(question.request, Number.POSITIVE_INFINITY, hungUp)
    answered.then((one) => send(question.id, one), fail)
  })
  call.on('end', stop)
  call.on('error', () => undefined)
  mode.draining.addEventListener('abort', stop, { once: true })
  call.on('close', () => mode.draining.removeEventListener('abort', stop))
}

function readQuestion(
  bytes: Buffer,
): { readonly id: number; readonly request: CheckRequest | Denial } | undefined {
  try {
    const { id, check } = CheckStreamRequest.decode(bytes)
    const request = check ? readRequest(check) : denyRequest('check: required')
    return { id, request }
  } catch {
    return undefined
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
