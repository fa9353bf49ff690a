import { randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw, type RawClient, type Reply } from '../fixtures/raw.ts'
import { SHIPPED_MEMORY, type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { type Ground, openGround } from './ground.ts'
import { type H2, openH2 } from './h2.ts'
import { alive } from './scrape.ts'

// Messages and calls that no honest client sends. The process never ends, others are served, no text leaks.

const { path, requestSerialize } = AuthorizerService.check
const REQUEST_BYTES = 65_536
// What an exception, a stack or a library would say of itself.
const INTERNALS =
  /node_modules|\bat \S+:\d+|\.ts\b|\.js:|Error:|threw|index out of range|invalid wire type|undefined/

let ground: Ground
let sidecar: Sidecar
let raw: RawClient
let h2: H2

const good = () => question({ token: forge() })
const goodBytes = () => requestSerialize(good())

beforeAll(async () => {
  ground = openGround()
  sidecar = await startSidecar({ config: ground.config(), env: SHIPPED_MEMORY })
  raw = openRaw(sidecar.unix)
})

beforeEach(async () => {
  h2 = await openH2(sidecar.unix)
  return async () => {
    await h2[Symbol.asyncDispose]()
    // After each of them: alive, serving, and not a word of a crash.
    expect(await verdictAt(raw, good())).toBe('allow')
    expect(alive(sidecar.pid)).toBe(true)
    expect(sidecar.noise).toEqual([])
  }
})

afterAll(async () => {
  raw.close()
  await sidecar.kill()
  ground[Symbol.dispose]()
})

function outcomeOf(reply: Reply): string {
  if ('response' in reply) return verdictOf(reply.response)
  expect(reply.status.details).not.toMatch(INTERNALS)
  return `status ${reply.status.code}`
}

describe('bytes that are no question', () => {
  test.each([
    ['no bytes at all', Buffer.alloc(0)],
    ['a byte of nothing', Buffer.from([0x0f])],
    ['an endless varint', Buffer.alloc(40, 0xff)],
    ['a field cut short', requestSerialize(question()).subarray(0, -3)],
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['JSON', Buffer.from('{"method":"GET"}')],
    ['a length beyond the end', Buffer.from('0affffffff07', 'hex')],
    ['a deep nest of groups', Buffer.alloc(1_000, 0x0b)],
    ['60,000 random bytes', randomBytes(60_000)],
    ['a good question and more behind a stop', Buffer.concat([goodBytes(), Buffer.alloc(9)])],
    ['a good question and the end of a group', Buffer.concat([goodBytes(), Buffer.from('0c6869', 'hex')])],
  ])('%s: refused as a bad request, in the contract', async (_what, bytes) => {
    expect(outcomeOf(await raw.checkBytes(bytes))).toBe('request_invalid')
  })

  test('1,000 random ones are all refused the same way', async () => {
    const replies = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => raw.checkBytes(randomBytes(1 + (i % 300)))),
    )
    expect(new Set(replies.map(outcomeOf))).toEqual(new Set(['request_invalid']))
  })

  test('a good question cut at any byte is never an allow', async () => {
    const bytes = goodBytes()
    const replies = await Promise.all(
      Array.from({ length: bytes.length - 1 }, (_, length) => raw.checkBytes(bytes.subarray(0, length))),
    )
    const allowed = replies.flatMap((reply, length) => (outcomeOf(reply) === 'allow' ? [length] : []))
    // A message ends where a field ends: only what follows the URL and the action may be missing, and the token never.
    const tail = allowed.filter((length) => !bytes.subarray(0, length).includes(Buffer.from('invoice:read')))
    expect(tail).toEqual([])
  })

  test('a struct 10,000 deep is refused, not followed to the end of the stack', async () => {
    const deep = nested(10_000)
    expect(deep.length).toBeLessThan(REQUEST_BYTES)
    expect(outcomeOf(await raw.checkBytes(Buffer.concat([goodBytes(), deep])))).toBe('request_invalid')
  })
})

describe('a question with more than it needs', () => {
  test('fields of a newer contract are ignored', async () => {
    const unknown = Buffer.from('9a060568656c6c6fa006ffffffff0f', 'hex')
    expect(outcomeOf(await raw.checkBytes(Buffer.concat([goodBytes(), unknown])))).toBe('allow')
  })

  test('just below the size limit it is read, above it is refused without being read', async () => {
    const padded = (size: number) => {
      const bytes = goodBytes()
      // Field 99, length-delimited with a three-byte length: no meaning, just weight.
      const filling = Buffer.alloc(size - bytes.length - 5)
      const length = Buffer.from([
        (filling.length & 0x7f) | 0x80,
        ((filling.length >> 7) & 0x7f) | 0x80,
        filling.length >> 14,
      ])
      return Buffer.concat([bytes, Buffer.from([0x9a, 0x06]), length, filling])
    }
    expect(outcomeOf(await raw.checkBytes(padded(REQUEST_BYTES)))).toBe('allow')
    expect(outcomeOf(await raw.checkBytes(padded(REQUEST_BYTES + 1)))).toBe('status 8')
    expect(outcomeOf(await raw.checkBytes(Buffer.alloc(3_000_000)))).toBe('status 8')
  })
})

describe('a call that is none of ours', () => {
  test.each([
    '/portcullis.authorizer.v1.Authorizer/Nothing',
    '/portcullis.authorizer.v2.Authorizer/Check',
    '/portcullis.authorizer.v1.authorizer/check',
    '/',
    '/__proto__/constructor',
    '/portcullis.authorizer.v1.Authorizer/__proto__',
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.channelz.v1.Channelz/GetServers',
  ])('%s is UNIMPLEMENTED', async (name) => {
    const reply = await raw.callBytes(name, goodBytes())
    expect(reply).toMatchObject({ status: { code: 12 } })
  })

  test.each<readonly [string, Readonly<Record<string, string>>]>([
    ['by GET', { ':method': 'GET' }],
    ['as a web page', { 'content-type': 'text/html' }],
    ['without a content type', { 'content-type': '' }],
    ['as JSON', { 'content-type': 'application/json' }],
  ])('%s gets no answer of ours', async (_what, headers) => {
    const call = h2.open(path, headers)
    call.message(goodBytes())
    call.end()
    const { trailers, messages } = await call.ended
    expect(messages).toEqual([])
    expect(trailers['grpc-status']).not.toBe('0')
  })
})

describe('a message frame that lies', () => {
  test.each([
    ['longer than what follows', 1_000],
    ['shorter than what follows', -10],
    ['a gigabyte', 1_000_000_000],
    ['4 GiB less one', -1],
  ])('its prefix claims %s: no allow', async (_what, difference) => {
    const bytes = goodBytes()
    const length = difference === -1 ? 0xffffffff : difference > 1e6 ? difference : bytes.length + difference
    const call = h2.open(path)
    call.message(bytes, { length })
    call.end()
    const { trailers, messages } = await call.ended
    const answers = messages.map((one) => verdictOf(AuthorizerService.check.responseDeserialize(one)))
    expect(answers).not.toContain('allow')
    if (answers.length === 0) expect(trailers['grpc-status'] ?? '13').not.toBe('0')
    expect(trailers['grpc-message'] ?? '').not.toMatch(INTERNALS)
  })

  test('a prefix of a gigabyte keeps nothing: memory stays where it was', async () => {
    const before = sidecar.rssBytes()
    for (let round = 0; round < 200; round++) {
      const call = h2.open(path)
      call.message(Buffer.alloc(100), { length: 1_000_000_000 })
      await call.ended
    }
    expect(sidecar.rssBytes() - before).toBeLessThan(64 * 1024 * 1024)
  })

  test.each([
    ['with no grpc-encoding', {}],
    ['with gzip', { 'grpc-encoding': 'gzip' }],
    ['with deflate', { 'grpc-encoding': 'deflate' }],
    ['with an encoding nobody knows', { 'grpc-encoding': 'br' }],
  ])('flagged as compressed %s, 200 MB of zeros do not unfold', async (_what, headers) => {
    const bomb = gzipSync(Buffer.alloc(50_000_000))
    expect(bomb.length).toBeLessThan(REQUEST_BYTES)
    const before = sidecar.rssBytes()
    for (let round = 0; round < 4; round++) {
      const call = h2.open(path, headers)
      call.message(bomb, { flag: 1 })
      call.end()
      const { trailers, messages } = await call.ended
      const answers = messages.map((one) => verdictOf(AuthorizerService.check.responseDeserialize(one)))
      expect(answers).not.toContain('allow')
      expect(trailers['grpc-message'] ?? '').not.toMatch(INTERNALS)
    }
    expect(sidecar.rssBytes() - before).toBeLessThan(64 * 1024 * 1024)
  })

  test('two messages in a unary call: at most one answer, and only to the first', async () => {
    const call = h2.open(path)
    call.message(requestSerialize(question()))
    call.message(goodBytes())
    call.end()
    const { messages } = await call.ended
    expect(messages.map((one) => verdictOf(AuthorizerService.check.responseDeserialize(one)))).not.toContain(
      'allow',
    )
  })
})

describe('metadata', () => {
  test.each([
    ['garbage', 'soon'],
    ['no unit', '100'],
    ['a unit nobody knows', '1x'],
    ['a negative time', '-5S'],
    ['nine digits', '123456789S'],
    ['nothing', ''],
    ['a fraction', '1.5S'],
    ['two of them', '1S,100S'],
  ])(
    'with %s as grpc-timeout ends in an answer or a refusal, never in a wait without end',
    async (_what, text) => {
      const call = h2.open(path, { 'grpc-timeout': text })
      call.message(goodBytes())
      call.end()
      const { trailers, messages } = await call.ended
      expect(messages.length === 1 || trailers['grpc-status'] !== '0').toBe(true)
      expect(trailers['grpc-message'] ?? '').not.toMatch(INTERNALS)
    },
  )

  test.each(['0n', '0S', '1n'])('grpc-timeout %s is over before it began: no allow', async (text) => {
    const call = h2.open(path, { 'grpc-timeout': text })
    call.message(goodBytes())
    call.end()
    const { messages } = await call.ended
    const answers = messages.map((one) => verdictOf(AuthorizerService.check.responseDeserialize(one)))
    expect(answers).not.toContain('allow')
  })

  test('in a flood is refused without ending the process', async () => {
    const flood = Object.fromEntries(
      Array.from({ length: 3_000 }, (_, i) => [`x-flood-${i}`, 'y'.repeat(100)]),
    )
    const call = h2.open(path, flood)
    call.message(goodBytes())
    call.end()
    const { messages } = await call.ended
    expect(messages).toEqual([])
  })

  test('is no credential: a token in it counts for nothing', async () => {
    const reply = await raw.check(question(), { metadata: { authorization: `Bearer ${forge()}` } })
    expect(outcomeOf(reply)).toBe('token_missing')
  })
})

// `resource.request` with lists in lists: field 4, field 2, and so on down.
function nested(depth: number): Buffer {
  let value: Buffer = Buffer.alloc(0)
  for (let level = 0; level < depth && value.length < 60_000; level++) {
    // ListValue{ values: [Value] } inside Value{ list_value }.
    value = delimited(0x32, delimited(0x0a, value))
  }
  const entry = Buffer.concat([Buffer.from('0a0161', 'hex'), delimited(0x12, value)])
  return delimited(0x22, delimited(0x12, delimited(0x0a, entry)))
}

function delimited(tag: number, bytes: Buffer): Buffer {
  const length: number[] = []
  for (let rest = bytes.length; ; rest >>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest)
    if (rest <= 0x7f) break
  }
  return Buffer.concat([Buffer.from([tag, ...length]), bytes])
}
