import { type Denial, refuse } from './answer.ts'
import type { Asked, Lane, LaneSettings } from './lane.ts'
import { createLine } from './line.ts'
import { after, monotonicMs } from './timing.ts'

export interface WindowSettings<A> extends LaneSettings<A> {
  readonly addresses: readonly string[]
  /** Questions that may wait for a slot or a connection. */
  readonly queue: number
}

/** Questions in, answers out; never more than a window of them unanswered on the wire. */
export interface Window<A> {
  /** Always resolves, at the latest when `deadlineMs` is over or `signal` aborts. */
  readonly ask: (
    question: Uint8Array,
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ) => Promise<A | Denial>
  readonly close: () => void
}

export function createWindow<A>(settings: WindowSettings<A>): Window<A> {
  const queue = new Set<Waiting<A>>()
  const line = createLine(settings.addresses, settings, pump)
  let closed = false

  function ask(
    question: Uint8Array,
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ): Promise<A | Denial> {
    if (closed) return Promise.resolve(refuse('unavailable', 'the client is closed'))
    if (signal?.aborted)
      return Promise.resolve(refuse('cancelled', 'the signal was aborted before the question'))
    if (queue.size >= settings.queue)
      return Promise.resolve(refuse('overloaded', 'too many questions are waiting'))
    return new Promise((resolve) => {
      const waiting = createWaiting<A>(question, deadlineMs, settle)
      const stopTimer = after(deadlineMs, () => settle(expired(waiting)))
      const abort = (): void => settle(refuse('cancelled', 'the signal was aborted'))
      signal?.addEventListener('abort', abort)

      function settle(answer: A | Denial): void {
        stopTimer()
        signal?.removeEventListener('abort', abort)
        queue.delete(waiting)
        waiting.lane?.abandon(waiting)
        resolve(answer)
      }

      queue.add(waiting)
      pump()
    })
  }

  function expired(waiting: Waiting<A>): Denial {
    if (waiting.lane !== undefined) return refuse('timeout', 'the sidecar did not answer within the deadline')
    // Asking for a lane here replaces one that has gone silent with every slot taken.
    pump()
    const trouble = line.trouble()
    if (trouble === undefined) return refuse('overloaded', 'no free slot in the window within the deadline')
    return refuse('unavailable', `no connection to the sidecar within the deadline: ${trouble}`)
  }

  function pump(): void {
    for (const waiting of queue) {
      const lane = closed ? undefined : line.lane()
      if (!lane?.isFree()) return
      queue.delete(waiting)
      waiting.lane = lane
      lane.send(waiting)
    }
  }

  function close(): void {
    closed = true
    line.close()
    for (const waiting of queue) waiting.decide(refuse('unavailable', 'the client is closed'))
  }

  return { ask, close }
}

interface Waiting<A> extends Asked<A> {
  lane: Lane<A> | undefined
}

/** A permission that comes too late is none: the caller may have been told no, or be gone. */
function createWaiting<A>(
  bytes: Uint8Array,
  deadlineMs: number,
  settle: (answer: A | Denial) => void,
): Waiting<A> {
  const deadlineAt = monotonicMs() + deadlineMs
  return {
    bytes,
    deadlineAt,
    lane: undefined,
    decide: (answer) =>
      settle(monotonicMs() > deadlineAt ? refuse('timeout', 'the answer came after the deadline') : answer),
  }
}
