import {
  AuthorizerService,
  CheckStreamResponse,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { openStream } from '../bench/grpc-lane.ts'
import type { Lane } from '../bench/lane.ts'
import { framed, type Question } from '../bench/workload.ts'
import { question, verdictOf } from '../fixtures/question.ts'

// Questions that are made the moment they are asked, over streams on bare node:http2.

export interface Sender extends Disposable {
  // Asks with this token; `told` hears the verdict and the milliseconds it took. `false`: every stream is full.
  send(token: string, told: (verdict: string, tookMs: number) => void): boolean
  waiting(): number
}

/** As a sidecar allows a stream, less a few. */
const WINDOW = 60
const EMPTY = Buffer.alloc(0)

export async function openSender(socket: string, streams: number): Promise<Sender> {
  const pools = Array.from({ length: streams }, (): Question[] => [])
  const lanes: readonly Lane[] = await Promise.all(pools.map((pool) => openStream(socket, pool)))
  // Numbers of the questions that each stream has room for.
  const free = pools.map(() => Array.from({ length: WINDOW }, (_, index) => index))
  let turn = 0
  let waiting = 0
  return {
    waiting: () => waiting,
    send(token, told) {
      for (let tries = 0; tries < streams; tries++) {
        const which = turn++ % streams
        const [index, pool, lane] = [free[which]?.pop(), pools[which], lanes[which]]
        if (index === undefined || !pool || !lane) continue
        const message = { id: index + 1, check: question({ token }) }
        const streamed = framed(AuthorizerService.checkStream.requestSerialize(message))
        pool[index] = { want: '', message: EMPTY, unary: EMPTY, http: EMPTY, streamed }
        const sentAt = performance.now()
        waiting++
        lane.ask(index, (_index, answer) => {
          waiting--
          free[which]?.push(index)
          const check = answer && CheckStreamResponse.decode(answer).check
          told(check ? verdictOf(check) : 'nothing', performance.now() - sentAt)
        })
        return true
      }
      return false
    },
    [Symbol.dispose]: () => {
      for (const lane of lanes) lane.close()
    },
  }
}
