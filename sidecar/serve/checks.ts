import type { ServerDuplexStream, ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js'
import type { Now } from '../ports.ts'
import { type AnswerNeeds, createAnswer } from './answer.ts'
import { lineTo } from './caller.ts'
import { decodeRequest, encodeResponse } from './codec.ts'
import { serveStream } from './stream.ts'

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

const GRPC_INTERNAL = 13

/** The two ways to ask. Both end in the same `answer`; neither can throw into grpc-js, which would tell the caller why. */
export function createChecks(
  needs: AnswerNeeds & { readonly wall: Now },
  limits: CheckLimits,
  draining: AbortSignal,
): Checks {
  const answer = createAnswer(needs, limits.deadlineMs)
  return {
    check(call, reply) {
      const waitsMs = waitOf(call.getDeadline().valueOf(), needs.wall())
      answer(decodeRequest(call.request), waitsMs, lineTo(call))
        .then(({ outcome, decisionId, action }) => reply(null, encodeResponse(outcome, decisionId, action)))
        .catch(() => reply({ code: GRPC_INTERNAL, details: 'denied' }))
    },
    checkStream: (call) => serveStream(call, answer, limits.streamWindow, draining),
  }
}

/** Milliseconds until the transport's deadline. */
export function waitOf(deadline: number, wall: number): number {
  return Number.isFinite(deadline) ? Math.max(0, deadline - wall) : Number.POSITIVE_INFINITY
}
