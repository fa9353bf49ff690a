import type { Decide, Outcome } from '../decide.ts'
import { type Decided, type Denial, denied, deny } from '../decision.ts'
import type { Monotonic } from '../ports.ts'
import type { CheckRequest } from '../request.ts'
import type { Admission } from './admission.ts'
import { type CallerNeeds, type Line, trackCaller } from './caller.ts'

export interface AnswerNeeds extends CallerNeeds {
  readonly decide: Decide
  readonly record: (decided: Decided) => void
  readonly nextId: () => string
  readonly now: Monotonic
  readonly admission: Admission
}

/** A finished answer, ready to be written down. */
export interface Answered {
  readonly outcome: Outcome
  readonly decisionId: string
  readonly action: string
}
/** Decides one question, or records its refusal; `waitsMs` is the transport's deadline. */
export type Answer = (request: CheckRequest | Denial, waitsMs: number, line: Line) => Promise<Answered>

/** One question to one answer: admitted, decided, recorded exactly once, whatever way it came in. */
export function createAnswer(needs: AnswerNeeds, longestMs: number): Answer {
  const refusal = (decision: Denial): Outcome => ({ decision, principal: undefined, trust: undefined })
  return async (request, waitsMs, line) => {
    const startedAt = needs.now()
    const decisionId = needs.nextId()
    const finish = (outcome: Outcome, asked?: CheckRequest): Answered => {
      const { decision, principal, trust } = outcome
      needs.record({
        decision,
        principal,
        policyRevision: trust?.policy.revision ?? '',
        trustGeneration: trust?.generation ?? 0,
        request: asked,
        decisionId,
        elapsedMs: needs.now() - startedAt,
      })
      return { outcome, decisionId, action: asked?.action ?? '' }
    }
    if (denied(request)) return finish(refusal(request))
    if (!needs.admission.enter()) return finish(refusal(deny('overloaded')), request)
    const caller = trackCaller(patience(request, waitsMs, longestMs), line, needs)
    try {
      return finish(await needs.decide(request, caller), request)
    } finally {
      caller.release()
      needs.admission.leave()
    }
  }
}

// The smaller of the transport's deadline, the message's own and our longest wait.
function patience(request: CheckRequest, waitsMs: number, longestMs: number): number {
  return Math.min(waitsMs, request.timeoutMs || longestMs, longestMs)
}
