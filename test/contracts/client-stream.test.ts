import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import { status as grpc } from '@grpc/grpc-js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { freeId } from '../../contracts/client/lane.ts'
import { type AuthorizerClient, createAuthorizerClient, type Decision } from '../../contracts/client.ts'
import {
  afterWarming,
  allow,
  allowing,
  encode,
  freshSocket,
  openSidecar,
  QUESTION,
  type Script,
  silence,
} from './scripted-sidecar.ts'

const PATIENT_MS = 20_000

/** Asks until permitted; the test's own timeout ends a client that never recovers. */
async function untilAllowed(client: AuthorizerClient): Promise<number> {
  for (let denials = 0; ; denials += 1) {
    const decision = await client.check(QUESTION, { deadlineMs: 500 })
    if (decision.kind === 'allow') return denials
  }
}

test('an answer whose id nobody asked under is ignored, and the question times out', async () => {
  const misnumbered: Script = ({ answer, id }) => answer(encode(allowing()), id + 1000)
  await using sidecar = await openSidecar(afterWarming(misnumbered))
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  await client.check({ ...QUESTION, url: '/warm' })
  expect(await client.check(QUESTION, { deadlineMs: 60 })).toMatchObject({ kind: 'deny', cause: 'timeout' })
})

test('an answer is never given to another question: a late one dies with its own', async () => {
  const held: (() => void)[] = []
  const script: Script = ({ question, answer }) => {
    const send = (): void => answer(encode({ ...allowing(), decisionId: question.url }))
    if (question.url === '/slow') return void held.push(send)
    for (const late of held.splice(0)) late()
    send()
  }
  await using sidecar = await openSidecar(script)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
  expect(await client.check({ ...QUESTION, url: '/slow' }, { deadlineMs: 40 })).toMatchObject({
    cause: 'timeout',
  })
  expect(await client.check({ ...QUESTION, url: '/next' })).toMatchObject({ decisionId: '/next' })
})

test('of two answers to one question the first counts, and the second harms no other', async () => {
  const twice: Script = ({ question, answer }) => {
    answer(encode({ ...allowing(), decisionId: question.url }))
    answer(encode({ ...allowing(), decisionId: 'again' }))
  }
  await using sidecar = await openSidecar(twice)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  for (const url of ['/1', '/2', '/3'])
    expect(await client.check({ ...QUESTION, url })).toMatchObject({ decisionId: url })
})

test('garbage inside an answer denies that question and leaves the stream alone', async () => {
  const script: Script = ({ question, answer }) =>
    answer(question.url === '/garbage' ? Buffer.from([0x0a, 0xff]) : encode(allowing()))
  await using sidecar = await openSidecar(script)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const [bad, good] = await Promise.all([
    client.check({ ...QUESTION, url: '/garbage' }),
    client.check(QUESTION),
  ])
  expect(bad).toMatchObject({ kind: 'deny', cause: 'invalid_answer' })
  expect(good).toMatchObject({ kind: 'allow' })
  expect(sidecar.streams()).toBe(1)
})

test('an envelope without answer denies its question', async () => {
  await using sidecar = await openSidecar(({ id, raw }) => raw(Buffer.from([0x08, id])))
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  expect(await client.check(QUESTION)).toMatchObject({ kind: 'deny', cause: 'invalid_answer' })
})

test('garbage instead of a message denies everything on the stream, and the next question gets a new one', async () => {
  let sane = false
  const script: Script = ({ question, answer, raw }) => {
    if (sane) answer(encode(allowing()))
    else if (question.url === '/last') raw(Buffer.from('not protobuf at all'))
  }
  await using sidecar = await openSidecar(script)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const urls = ['/a', '/b', '/last']
  const decisions = await Promise.all(urls.map((url) => client.check({ ...QUESTION, url })))
  for (const decision of decisions) expect(decision).toMatchObject({ kind: 'deny', cause: 'invalid_answer' })
  sane = true
  expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
})

test('a stream that breaks denies everything unanswered at once: unavailable', async () => {
  await using sidecar = await openSidecar(({ question, fail }) => {
    if (question.url === '/last') fail(grpc.INTERNAL)
  })
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const asked = ['/a', '/b', '/c', '/last'].map((url) => client.check({ ...QUESTION, url }))
  for (const decision of await Promise.all(asked))
    expect(decision).toMatchObject({ kind: 'deny', cause: 'unavailable' })
})

test('a sidecar killed in mid-flight denies at once, and one restarted on the same socket is found again', async () => {
  using socket = freshSocket()
  const first = await openSidecar(silence, socket.target)
  await using client = createAuthorizerClient({ target: socket.target, deadlineMs: PATIENT_MS })
  const pending = Array.from({ length: 10 }, () => client.check(QUESTION))
  setTimeout(first.kill, 50)
  for (const decision of await Promise.all(pending)) expect(decision).toMatchObject({ cause: 'unavailable' })
  expect(await client.check(QUESTION, { deadlineMs: 60 })).toMatchObject({
    kind: 'deny',
    cause: 'unavailable',
  })
  await using _second = await openSidecar(allow, socket.target)
  await untilAllowed(client)
})

test('a sidecar that drains answers what it holds, while new questions go to its successor', async () => {
  using socket = freshSocket()
  const held: (() => void)[] = []
  const first = await openSidecar(({ question, answer }) => {
    if (question.url === '/warm') answer(encode(allowing()))
    else held.push(() => answer(encode({ ...allowing(), decisionId: 'first' })))
  }, socket.target)
  await using client = createAuthorizerClient({ target: socket.target, deadlineMs: PATIENT_MS })
  await client.check({ ...QUESTION, url: '/warm' })
  const old = client.check(QUESTION)
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const drained = first.drain()
  await using _second = await openSidecar(allow, socket.target)
  await untilAllowed(client)
  for (const answer of held) answer()
  const decision = await old
  expect(decision).toMatchObject({ kind: 'allow', decisionId: 'first' })
  first.kill()
  await drained
})

test('a question asked before the sidecar is up waits for it within its own deadline', async () => {
  using socket = freshSocket()
  await using client = createAuthorizerClient({ target: socket.target, deadlineMs: PATIENT_MS })
  const early = client.check(QUESTION)
  expect(await client.check(QUESTION, { deadlineMs: 40 })).toMatchObject({
    kind: 'deny',
    cause: 'unavailable',
  })
  await using _sidecar = await openSidecar(allow, socket.target)
  expect(await early).toMatchObject({ kind: 'allow' })
})

test('a sidecar that falls silent with every slot taken is left for a new connection', async () => {
  let mute = true
  await using sidecar = await openSidecar(afterWarming((exchange) => (mute ? undefined : allow(exchange))))
  await using client = createAuthorizerClient({ target: sidecar.target, window: 2, deadlineMs: PATIENT_MS })
  await client.check({ ...QUESTION, url: '/warm' })
  const lost = await Promise.all(Array.from({ length: 4 }, () => client.check(QUESTION, { deadlineMs: 50 })))
  expect(lost.map((decision) => decision.kind === 'deny' && decision.cause).sort()).toEqual([
    'overloaded',
    'overloaded',
    'timeout',
    'timeout',
  ])
  mute = false
  await untilAllowed(client)
  expect(sidecar.streams()).toBe(2)
})

test('beyond window and queue a question is denied at once: overloaded', async () => {
  await using sidecar = await openSidecar(silence)
  await using client = createAuthorizerClient({
    target: sidecar.target,
    window: 1,
    queue: 2,
    deadlineMs: PATIENT_MS,
  })
  const waiting = [client.check(QUESTION), client.check(QUESTION)]
  while (sidecar.questions.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  waiting.push(client.check(QUESTION))
  expect(await client.check(QUESTION)).toMatchObject({ kind: 'deny', cause: 'overloaded' })
  client.close()
  await Promise.all(waiting)
})

describe('servers that are no sidecar', () => {
  test.each<[string, (socket: Socket) => void]>([
    ['hangs up', (socket) => socket.destroy()],
    ['speaks HTTP/1.1', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')],
    ['sends noise', (socket) => socket.write(Buffer.alloc(4096, 0xa5))],
    ['says nothing', () => undefined],
    ['greets and vanishes', (socket) => socket.end(Buffer.from('000000040000000000', 'hex'))],
  ])('one that %s is a denial: unavailable', async (_name, behave) => {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined))
      behave(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await using client = createAuthorizerClient({ target: `127.0.0.1:${portOf(server.address())}` })
      const decision: Decision = await client.check(QUESTION)
      expect(decision).toMatchObject({ kind: 'deny', client: { status: 503 } })
      expect(decision.kind === 'deny' && decision.cause).toMatch(/^(unavailable|timeout)$/)
    } finally {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
  })
})

function portOf(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0
}

test('ids come round after 2^32 and never meet an unanswered one', () => {
  expect(freeId(0xffff_ffff, () => false)).toBe(0)
  const property = fc.property(
    fc.uniqueArray(fc.nat(300), { maxLength: 128 }),
    fc.nat(300),
    (near, start) => {
      const taken = new Set(near.map((offset) => (0xffff_ff80 + offset) % 2 ** 32))
      const id = freeId((0xffff_ff80 + start) % 2 ** 32, (candidate) => taken.has(candidate))
      return !taken.has(id) && Number.isInteger(id) && id >= 0 && id < 2 ** 32
    },
  )
  fc.assert(property, { numRuns: 500 })
})
