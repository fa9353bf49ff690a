import type { ServerDuplexStream } from '@grpc/grpc-js'
import { CheckStreamRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { type Denial, deny, denyRequest } from '../decision.ts'
import type { CheckRequest } from '../request.ts'
import type { Answer, Answered } from './answer.ts'
import { lineTo } from './caller.ts'
import { encodeStreamResponse, readRequest, whole } from './codec.ts'

const GRPC_INVALID_ARGUMENT = 3

/** Serves one CheckStream: answers in any order, at most `window` questions unanswered, ends when both sides are done. */
export function serveStream(
  call: ServerDuplexStream<Buffer, Buffer>,
  answer: Answer,
  window: number,
  draining: AbortSignal,
): void {
  let unanswered = 0
  let ending = false
  const line = lineTo(call)
  const stop = () => {
    ending = true
    if (unanswered === 0 && !call.cancelled) call.end()
  }
  const write = (id: number, { outcome, decisionId, action }: Answered) => {
    if (call.cancelled || call.destroyed || call.writableEnded) return
    const bytes = encodeStreamResponse(id, outcome, decisionId, action)
    // Reading waits until the caller has taken its answers: it cannot make us hold more of them than that.
    if (!call.write(bytes)) call.pause()
  }
  const settle = (id: number, answered: Answered | undefined) => {
    try {
      if (answered) write(id, answered)
      else call.destroy()
    } catch {
      call.destroy()
    }
    unanswered--
    if (ending) stop()
  }
  call.setMaxListeners(0)
  call.on('drain', () => call.resume())
  call.on('data', (bytes: Buffer) => {
    if (ending) return
    const question = readQuestion(bytes)
    if (!question) {
      ending = true
      call.emit('error', { code: GRPC_INVALID_ARGUMENT, details: 'a message is not a CheckStreamRequest' })
      return
    }
    unanswered++
    const request = unanswered > window ? deny('overloaded') : question.request
    answer(request, Number.POSITIVE_INFINITY, line).then(
      (answered) => settle(question.id, answered),
      () => settle(question.id, undefined),
    )
  })
  call.on('end', stop)
  call.on('error', () => undefined)
  draining.addEventListener('abort', stop, { once: true })
  call.on('close', () => draining.removeEventListener('abort', stop))
}

function readQuestion(
  bytes: Buffer,
): { readonly id: number; readonly request: CheckRequest | Denial } | undefined {
  try {
    const { id, check } = whole(bytes, CheckStreamRequest.decode)
    return { id, request: check ? readRequest(check) : denyRequest('check: required') }
  } catch {
    return undefined
  }
}
