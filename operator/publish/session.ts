import { status } from '@grpc/grpc-js'
import type { Held, Recalled } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createBlobs } from './blobs.ts'
import { type Course, LATE, type Phase, SESSION_LIMITS, type SessionNeeds } from './course.ts'
import { createLane, type Writes } from './lane.ts'
import { createOutbox, type What } from './outbox.ts'
import { createQuestions } from './questions.ts'
import { createRevokes } from './revokes.ts'
import { encode, type Request, readRequest } from './wire.ts'

export interface Session {
  receive(bytes: Buffer): void
  wake(): void
  beat(frame: Buffer): void
  /** Looks for what takes too long; about every second. */
  check(): void
  end(code: status, why: string): void
  phase(): Phase
  /** TokenIssuers that the sidecar believes now; undefined when that is not known. */
  believes(): readonly string[] | undefined
}

const NOTHING: Held = { generation: 0, revocationHead: 0, trustSequence: 0, policyDigest: Buffer.alloc(0) }
const RECALL = encode({ $case: 'recall', recall: {} })

/** One sidecar's stream. What is sent is decided at the moment of sending, in the order of `mostUrgent`. */
export function createSession(stream: Writes, needs: SessionNeeds): Session {
  const { now } = needs
  const outbox = createOutbox(needs, now)
  const blobs = createBlobs(outbox.references, needs.blob)
  const tokenIssuer = (iss: string) => needs.offer()?.projection.issuers.get(iss)?.tokenIssuer
  const questions = createQuestions({
    ask: needs.ask,
    now,
    wake: () => lane.wake(),
    tokenIssuer,
    inEffect: (iss) => outbox.inEffect()?.projection.issuers.get(iss)?.sha256,
  })
  const revokes = createRevokes({ ...needs, tokenIssuer, wake: () => lane.wake() })
  const lane = createLane(stream, () => mostUrgent(course), now)
  const begunAt = now()
  const course: Course = {
    needs,
    outbox,
    blobs,
    questions,
    revokes,
    lane,
    begunAt,
    phase: 'greeting',
    phaseSince: begunAt,
    heardAt: begunAt,
    requests: 0,
    recall: { asked: false, parts: 0, open: 0, lastAt: 0, held: NOTHING, problem: undefined },
    problems: new Map(),
  }
  return {
    wake: lane.wake,
    phase: () => course.phase,
    believes: () => {
      const named = outbox.inEffect()?.projection.named
      return named && [...named.values()]
    },
    end: (code, why) => end(course, code, why),
    beat(frame) {
      if (course.phase === 'serving') lane.beat(frame)
    },
    receive(bytes) {
      if (course.phase !== 'ended') receive(course, bytes)
    },
    check() {
      course.requests = 0
      questions.settle()
      settleRecall(course)
      const late = LATE.find(({ when }) => when(course))
      if (late) end(course, late.code, late.why)
      lane.wake()
    },
  }
}

function mostUrgent(course: Course): Buffer | undefined {
  const { phase, recall, outbox, questions, revokes, needs, blobs } = course
  if (phase === 'recalling' && !recall.asked) {
    recall.asked = true
    return RECALL
  }
  if (phase !== 'serving') return undefined
  return (
    // The first trust bundle goes before all else: it verifies the policy. From then on what denies goes before what allows.
    (outbox.untold() ? outbox.trust() : undefined) ??
    outbox.revocations() ??
    outbox.trust() ??
    outbox.freshness() ??
    questions.next() ??
    revokes.next() ??
    (needs.holding() ? undefined : outbox.snapshot()) ??
    blobs.next()
  )
}

function receive(course: Course, bytes: Buffer): void {
  const { needs, phase, lane } = course
  course.heardAt = needs.now()
  course.requests += 1
  const request = readRequest(bytes)
  if (course.requests > SESSION_LIMITS.requests) {
    end(course, status.RESOURCE_EXHAUSTED, 'too many requests on this stream')
  } else if (!request) {
    end(course, status.INVALID_ARGUMENT, 'this request cannot be read')
  } else if ((request.$case === 'hello') !== (phase === 'greeting')) {
    end(course, status.INVALID_ARGUMENT, 'the first request must be a hello, and no other may be one')
  } else if (request.$case === 'hello') {
    greet(course, request.hello.held ?? NOTHING)
  } else if (request.$case === 'recalled') {
    recalled(course, request.recalled)
  } else if (phase === 'serving') {
    answer(course, request)
    lane.wake()
  }
}

function greet(course: Course, held: Held): void {
  const place = course.needs.place(held)
  if (place === 'known') serve(course, held)
  else if (place === 'absurd') {
    const why = 'what this sidecar says it holds is too far ahead to be true'
    end(course, status.FAILED_PRECONDITION, why)
  } else {
    enter(course, 'recalling')
    course.lane.wake()
  }
}

function serve(course: Course, held: Held): void {
  course.outbox.begin(held)
  enter(course, 'serving')
  course.needs.heard({ held, problems: [] })
  course.needs.begun()
  course.lane.wake()
}

function recalled({ needs, phase, recall }: Course, told: Recalled): void {
  if (phase !== 'recalling' || recall.parts >= SESSION_LIMITS.recalls) return
  recall.parts += 1
  recall.open += 1
  recall.lastAt = needs.now()
  recall.held = told.held ?? recall.held
  void needs.recalled(recall.held, told).then((problem) => {
    recall.open -= 1
    recall.problem ??= problem
  })
}

// What is recalled may come in several messages, and none says that it is the last.
function settleRecall(course: Course): void {
  const { needs, phase, recall } = course
  if (phase !== 'recalling' || recall.parts === 0 || recall.open > 0) return
  if (recall.problem !== undefined) {
    end(course, status.UNAVAILABLE, `what was recalled could not be stored: ${recall.problem}`)
  } else if (needs.now() - recall.lastAt >= SESSION_LIMITS.quietMs) serve(course, recall.held)
}

function answer(course: Course, request: Exclude<Request, { $case: 'hello' | 'recalled' }>): void {
  const { needs, outbox, questions, revokes, blobs } = course
  switch (request.$case) {
    case 'ack': {
      const { nonce, held } = request.ack
      outcome(course, outbox.acked(nonce, held), held, undefined)
      questions.settle()
      return
    }
    case 'nack': {
      const { nonce, held, problems } = request.nack
      outcome(course, outbox.nacked(nonce, held), held, problems)
      return
    }
    case 'held':
      needs.heard({ held: request.held })
      return
    case 'kidUnknown':
      questions.asked(request.kidUnknown)
      return
    case 'revoke':
      revokes.asked(request.revoke)
      return
    case 'want':
      if (blobs.want(request.want.sha256)) return
      end(course, status.FAILED_PRECONDITION, 'this file is not referenced by the snapshot of this stream')
      return
    default:
      request satisfies never
  }
}

function outcome(
  { problems, needs }: Course,
  what: What | undefined,
  held: Held | undefined,
  refusal: readonly string[] | undefined,
): void {
  if (!what) return
  if (refusal) problems.set(what, refusal.length > 0 ? refusal : [`${what} refused without a reason`])
  else problems.delete(what)
  needs.heard({ ...(held && { held }), problems: [...problems.values()].flat() })
}

function enter(course: Course, phase: Phase): void {
  course.phase = phase
  course.phaseSince = course.needs.now()
}

function end(course: Course, code: status, why: string): void {
  if (course.phase === 'ended') return
  enter(course, 'ended')
  course.lane.close()
  course.needs.ended(code, why)
}
