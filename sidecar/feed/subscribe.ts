import type { ClientDuplexStream } from '@grpc/grpc-js'
import type { SubscribeRequest, SubscribeResponse } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Monotonic, Sleep } from '../ports.ts'
import { createReceiver, type ReceiverNeeds, type Request } from './receive.ts'

/** The client's end of `portcullis.feed.v1.Feed/Subscribe`. */
export type FeedStream = Pick<
  ClientDuplexStream<SubscribeRequest, SubscribeResponse>,
  'on' | 'write' | 'end' | 'cancel'
>

export interface SessionNeeds extends ReceiverNeeds {
  readonly version: string
  readonly now: Monotonic
  readonly sleep: Sleep
}

const HELD_MS = 10_000
const WATCH_MS = 1_000
/** Silence after which another stream is tried. */
const SILENCE_MS = 10_000
const REASON_LENGTH = 512
/** How long the other end may take to end a stream that we have ended. */
const GOODBYE_MS = 1_000

/**
 * One stream, from Hello to its end; resolves with why it ended. What denies takes effect the moment it is read; what could allow waits
 * its turn, in order of arrival.
 */
export async function subscribe(
  stream: FeedStream,
  needs: SessionNeeds,
  signal: AbortSignal,
): Promise<string> {
  const life = new AbortController()
  const within = AbortSignal.any([signal, life.signal])
  const { promise: ended, resolve } = Promise.withResolvers<string>()
  const end = (why: string): void => {
    life.abort(new Error('the stream ended'))
    resolve(why)
  }
  const send = (request: Request): void => {
    if (!within.aborted) stream.write({ request })
  }
  stream.on('error', (cause: Error) => end(cause.message.slice(0, REASON_LENGTH)))
  stream.on('end', () => end('the operator ended the stream'))
  const stop = () => end('this program stops')
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()

  // Before Hello: whatever is heard was sent after this moment.
  needs.believe.greet()
  const receive = createReceiver(needs, { send, end, signal: within })
  stream.on('data', (message: SubscribeResponse) => {
    if (within.aborted) return
    try {
      receive(message)
    } catch {
      // Thrown here it would end the program, and with it every answer.
      end('a message broke what takes it')
    }
  })
  send({ $case: 'hello', hello: { held: needs.held(), version: needs.version } })
  needs.questions.through((kidUnknown) => send({ $case: 'kidUnknown', kidUnknown }))
  needs.revokes.through((revoke) => send({ $case: 'revoke', revoke }))
  for (const loop of [keepTelling(needs, send, within), watch(needs, end, within)])
    loop.catch(() => undefined)
  const why = await ended
  needs.questions.through(undefined)
  needs.revokes.through(undefined)
  signal.removeEventListener('abort', stop)
  leave(stream, needs, signal)
  return why
}

// The last words, such as why something was refused, are sent before the line is cut.
function leave(stream: FeedStream, { sleep }: SessionNeeds, signal: AbortSignal): void {
  const cut = () => stream.cancel()
  stream.end()
  sleep(GOODBYE_MS, signal).then(cut, cut)
}

async function keepTelling(needs: SessionNeeds, send: (request: Request) => void, signal: AbortSignal) {
  for (;;) {
    await needs.sleep(HELD_MS, signal)
    needs.believe.sweep()
    send({ $case: 'held', held: needs.held() })
  }
}

// A stream on which nothing confirms that we know every revocation is none, whatever TCP says.
async function watch({ believe, now, sleep }: SessionNeeds, end: (why: string) => void, signal: AbortSignal) {
  const since = now()
  for (;;) {
    await sleep(WATCH_MS, signal)
    if (now() - since >= SILENCE_MS && believe.silenceMs() >= SILENCE_MS)
      return end(`no heartbeat for ${SILENCE_MS / 1000} s that covers what we know`)
  }
}
