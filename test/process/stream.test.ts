import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  AuthorizerService,
  type CheckStreamResponse,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { question, statusOf, verdictOf } from '../fixtures/question.ts'
import { openRaw, type RawClient, type RawStream } from '../fixtures/raw.ts'
import type { Sidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { type Ground, openGround } from './ground.ts'
import { openH2 } from './h2.ts'
import { type KeyServer, startFetching, startKeyServer } from './key-server.ts'
import { counterAt } from './scrape.ts'

// CheckStream: its window, its ids, and what ends it.

const WINDOW = 64
const later = signingKey('RS256', 'later')
const { path, requestSerialize } = AuthorizerService.checkStream
const good = () => question({ token: forge() })
const parked = () => question({ token: forge({ key: later }) })

let ground: Ground
let keys: KeyServer
let sidecar: Sidecar
let raw: RawClient

beforeAll(async () => {
  ground = openGround()
  keys = await startKeyServer()
  sidecar = await startFetching(ground, keys)
  keys.hang()
})

beforeEach(() => {
  raw = openRaw(sidecar.unix)
  return async () => {
    raw.close()
    // Nothing of one test may hold a place in the next one.
    const idle = async () => (await counterAt(sidecar, 'portcullis_checks_in_flight')) === 0 || undefined
    await until('an idle sidecar', idle)
  }
})

afterAll(async () => {
  expect(sidecar.noise).toEqual([])
  await sidecar.kill()
  await keys[Symbol.asyncDispose]()
  ground[Symbol.dispose]()
})

async function take(stream: RawStream, count: number): Promise<CheckStreamResponse[]> {
  const answers: CheckStreamResponse[] = []
  while (answers.length < count) {
    const answer = await stream.next(20_000)
    if (!answer) break
    answers.push(answer)
  }
  return answers
}

const verdicts = (answers: readonly CheckStreamResponse[]) =>
  answers.map(({ check }) => (check ? verdictOf(check) : 'nothing'))

describe('the window of a stream', () => {
  test('one question beyond 64 unanswered ones is refused at once as overloaded, the others keep their place', async () => {
    const stream = raw.stream()
    for (let id = 1; id <= WINDOW + 6; id++) stream.send({ id, check: parked() })
    const first = await take(stream, 6)
    expect(first.map(({ id }) => id)).toEqual([65, 66, 67, 68, 69, 70])
    expect(new Set(verdicts(first))).toEqual(new Set(['overloaded']))
    expect(first.map(({ check }) => check && statusOf(check))).toEqual([503, 503, 503, 503, 503, 503])
    const rest = await take(stream, WINDOW)
    expect(new Set(rest.map(({ id }) => id)).size).toBe(WINDOW)
    expect(verdicts(rest)).not.toContain('overloaded')
    expect(verdicts(rest)).not.toContain('allow')
  })

  test('64 at once are all taken, and the window is free again after the answers', async () => {
    const stream = raw.stream()
    for (let round = 0; round < 5; round++) {
      for (let id = 1; id <= WINDOW; id++) stream.send({ id: round * 100 + id, check: good() })
      expect(new Set(verdicts(await take(stream, WINDOW)))).toEqual(new Set(['allow']))
    }
  })

  test('a full window of one stream takes nothing from another', async () => {
    const full = raw.stream()
    for (let id = 1; id <= WINDOW + 1; id++) full.send({ id, check: parked() })
    expect(verdicts(await take(full, 1))).toEqual(['overloaded'])
    const other = raw.stream()
    other.send({ id: 1, check: good() })
    expect(verdicts(await take(other, 1))).toEqual(['allow'])
    full.cancel()
  })

  test('10,000 questions pushed without reading are each answered or refused, never lost', async () => {
    // How fast is the benchmarks' business: the stream's own deadline shall not end it on a busy machine.
    const stream = raw.stream({ deadlineMs: 60_000 })
    const check = good()
    const total = 10_000
    for (let id = 1; id <= total; id++) stream.send({ id, check })
    const answers = await take(stream, total)
    expect(new Set(answers.map(({ id }) => id)).size).toBe(total)
    expect(verdicts(answers).filter((one) => one !== 'allow' && one !== 'overloaded')).toEqual([])
  })
})

describe('the ids of a stream', () => {
  test('belong to the client: 0, the largest, and the same one twice come back as they were', async () => {
    const stream = raw.stream()
    const ids = [0, 4_294_967_295, 7, 7]
    for (const id of ids) stream.send({ id, check: good() })
    const answers = await take(stream, ids.length)
    expect(answers.map(({ id }) => id).sort()).toEqual([...ids].sort())
    expect(new Set(answers.map(({ check }) => check?.decisionId)).size).toBe(ids.length)
    expect(new Set(verdicts(answers))).toEqual(new Set(['allow']))
  })

  test('one id for two different questions mixes nothing: each has its own decision', async () => {
    const stream = raw.stream()
    stream.send({ id: 1, check: good() })
    stream.send({ id: 1, check: question() })
    expect(verdicts(await take(stream, 2)).sort()).toEqual(['allow', 'token_missing'])
  })
})

describe('a message on a stream', () => {
  test('without a question is denied under its id', async () => {
    const stream = raw.stream()
    stream.send({ id: 9, check: undefined })
    const [answer] = await take(stream, 1)
    expect([answer?.id, verdicts(answer ? [answer] : [])]).toEqual([9, ['request_invalid']])
  })

  test.each([
    ['random bytes', Buffer.from('ffffffffffffffffffff01', 'hex')],
    ['a truncated question', requestSerialize({ id: 3, check: good() }).subarray(0, -5)],
    ['a lying inner length', Buffer.from('080112ff7f0a', 'hex')],
    ['wire type 7', Buffer.from('0f', 'hex')],
    ['field number 0', Buffer.from('0000', 'hex')],
    [
      'a question and more behind a stop',
      Buffer.concat([requestSerialize({ id: 3, check: good() }), Buffer.alloc(9)]),
    ],
  ])('that is %s ends that stream with INVALID_ARGUMENT, and only that one', async (_what, bytes) => {
    const other = raw.stream()
    await using h2 = await openH2(sidecar.unix)
    const call = h2.open(path)
    call.message(bytes)
    const { trailers } = await call.ended
    expect(trailers['grpc-status']).toBe('3')
    expect(trailers['grpc-message'] ?? '').not.toMatch(/\bat \/|node_modules|index out of range|Error:/)
    other.send({ id: 1, check: good() })
    expect(verdicts(await take(other, 1))).toEqual(['allow'])
  })

  test('that is garbage while others are parked ends the stream, and nothing else', async () => {
    await using h2 = await openH2(sidecar.unix)
    const call = h2.open(path)
    for (let id = 1; id <= 20; id++) call.message(requestSerialize({ id, check: parked() }))
    call.message(Buffer.from('0f', 'hex'))
    call.message(requestSerialize({ id: 21, check: good() }))
    expect((await call.ended).trailers['grpc-status']).toBe('3')
    expect(await verdictAt(raw, good())).toBe('allow')
  })

  test('with fields of a newer contract is understood without them', async () => {
    await using h2 = await openH2(sidecar.unix)
    const call = h2.open(path)
    const unknown = Buffer.from('9a060568656c6c6fa006ffffffff0f', 'hex')
    call.message(Buffer.concat([requestSerialize({ id: 1, check: good() }), unknown]))
    call.end()
    const { trailers, messages } = await call.ended
    expect(trailers['grpc-status']).toBe('0')
    expect(
      messages.map((bytes) => verdicts([AuthorizerService.checkStream.responseDeserialize(bytes)])),
    ).toEqual([['allow']])
  })
})

describe('the end of a stream', () => {
  test('by the client comes after the answers to what it asked', async () => {
    const stream = raw.stream()
    for (let id = 1; id <= 10; id++) stream.send({ id, check: parked() })
    stream.end()
    expect((await take(stream, 10)).length).toBe(10)
    expect((await stream.status).code).toBe(0)
  })

  test('without a single question is a plain OK', async () => {
    const stream = raw.stream()
    stream.end()
    expect((await stream.status).code).toBe(0)
  })
})
