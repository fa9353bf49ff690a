import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js'
import { type Denial, denied, deny } from '../decision.ts'
import type { Monotonic, Now } from '../ports.ts'
import type { Vouch, Vouched, VouchOutcome, VouchRequest } from '../token/vouch.ts'
import type { Admission } from './admission.ts'
import { type CallerNeeds, type Line, lineTo, trackCaller } from './caller.ts'
import { waitOf } from './checks.ts'
import { decodeVouch, encodeVouch } from './vouch-codec.ts'

/** A finished answer, as the log and the metrics are told of it. */
export interface VouchedFor {
  /** `undefined`: the question was no question. */
  readonly asked: VouchRequest['tokenKind'] | undefined
  readonly outcome: Vouched | Denial
  readonly trustGeneration: number
  readonly decisionId: string
  readonly elapsedMs: number
}

export interface VerifyTokenNeeds extends CallerNeeds {
  readonly vouch: Vouch
  readonly recordVouched: (answer: VouchedFor) => void
  readonly nextId: () => string
  readonly wall: Now
  readonly now: Monotonic
  readonly admission: Admission
}

export type VerifyTokenCall = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void

const GRPC_INTERNAL = 13

/** Serves VerifyToken under the limits of Check: the same admission, the same deadlines, recorded exactly once. */
export function createVerifyToken(needs: VerifyTokenNeeds, longestMs: number): VerifyTokenCall {
  const answer = createAnswer(needs, longestMs)
  return (call, reply) => {
    const waitsMs = waitOf(call.getDeadline().valueOf(), needs.wall())
    answer(decodeVouch(call.request), waitsMs, lineTo(call))
      .then((bytes) => reply(null, bytes))
      .catch(() => reply({ code: GRPC_INTERNAL, details: 'denied' }))
  }
}

function createAnswer(needs: VerifyTokenNeeds, longestMs: number) {
  const refusal = (outcome: Denial): VouchOutcome => ({ outcome, trust: undefined })
  return async (request: VouchRequest | Denial, waitsMs: number, line: Line): Promise<Buffer> => {
    const startedAt = needs.now()
    const decisionId = needs.nextId()
    const finish = (answered: VouchOutcome): Buffer => {
      const { outcome, trust } = answered
      needs.recordVouched({
        ...{ outcome, decisionId },
        asked: denied(request) ? undefined : request.tokenKind,
        trustGeneration: trust?.generation ?? 0,
        elapsedMs: needs.now() - startedAt,
      })
      return encodeVouch(answered, decisionId)
    }
    if (denied(request)) return finish(refusal(request))
    if (!needs.admission.enter()) return finish(refusal(deny('overloaded')))
    const patienceMs = Math.min(waitsMs, request.timeoutMs || longestMs, longestMs)
    const caller = trackCaller(patienceMs, line, needs)
    try {
      return finish(await needs.vouch(request, caller))
    } finally {
      caller.release()
      needs.admission.leave()
    }
  }
}
