import type { CheckRequest, CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { statusOf, verdictOf } from '../fixtures/question.ts'
import { openRaw, type RawClient } from '../fixtures/raw.ts'

// One question and its answer, whichever way it goes.

export const WAYS = ['unary', 'stream'] as const
export type Way = (typeof WAYS)[number]

export interface Asker extends Disposable {
  ask(request: CheckRequest): Promise<CheckResponse>
}

export function openAsker(target: string, way: Way = 'unary'): Asker {
  const client = openRaw(target)
  const ask = way === 'unary' ? (request: CheckRequest) => askUnary(client, request) : streamOver(client)
  return { ask, [Symbol.dispose]: () => client.close() }
}

async function askUnary(client: RawClient, request: CheckRequest): Promise<CheckResponse> {
  const reply = await client.check(request, { deadlineMs: 10_000 })
  if ('response' in reply) return reply.response
  throw new Error(`status ${reply.status.code}: ${reply.status.details}`)
}

function streamOver(client: RawClient): (request: CheckRequest) => Promise<CheckResponse> {
  const stream = client.stream({ deadlineMs: 120_000 })
  const waiting = new Map<number, PromiseWithResolvers<CheckResponse>>()
  let last = 0
  const read = async () => {
    for (;;) {
      const message = await stream.next(120_000)
      if (!message) break
      const { id, check } = message
      if (check) waiting.get(id)?.resolve(check)
      waiting.delete(id)
    }
    const { code, details } = await stream.status
    for (const one of waiting.values()) one.reject(new Error(`stream ended with ${code}: ${details}`))
  }
  read().catch(() => undefined)
  return (check) => {
    const id = ++last
    const answer = Promise.withResolvers<CheckResponse>()
    waiting.set(id, answer)
    stream.send({ id, check })
    return answer.promise
  }
}

export interface Seen {
  readonly verdict: string
  readonly status: number
  readonly challenge: string
}

export function seen(response: CheckResponse): Seen {
  return { verdict: verdictOf(response), status: statusOf(response), challenge: challengeOf(response) }
}

function challengeOf({ outcome }: CheckResponse): string {
  if (outcome?.$case !== 'deny') return ''
  const line = outcome.deny.client?.headers.find(({ name }) => name === 'www-authenticate')
  return line ? Buffer.from(line.value).toString() : ''
}

// `allow`, a reason, or `status <code>` when there was no answer at all.
export async function verdictAt(client: RawClient, request: CheckRequest): Promise<string> {
  const reply = await client.check(request)
  return 'response' in reply ? verdictOf(reply.response) : `status ${reply.status.code}`
}
