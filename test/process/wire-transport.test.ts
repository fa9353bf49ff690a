import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { openRaw, type RawClient } from '../fixtures/raw.ts'
import type { Sidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { type Ground, openGround } from './ground.ts'
import { openH2, socketTo } from './h2.ts'
import { type KeyServer, startFetching, startKeyServer } from './key-server.ts'
import { alive, connectionsTo, counterAt, openDescriptors } from './scrape.ts'

// Connections that no honest client makes. One of them may be closed; the process and everybody else go on.

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const CONNECTIONS = 64
const later = signingKey('RS256', 'later')
const { path, requestSerialize } = AuthorizerService.check
const good = () => question({ token: forge() })

let ground: Ground
let keys: KeyServer
let sidecar: Sidecar
let other: RawClient
let descriptors: number

beforeAll(async () => {
  ground = openGround()
  keys = await startKeyServer()
  sidecar = await startFetching(ground, keys)
  keys.hang()
  other = openRaw(sidecar.tcp)
  await verdictAt(other, good())
  descriptors = openDescriptors(sidecar.pid)
})

beforeEach(() => async () => {
  // A client on the other listener saw nothing of it, and what it left behind is gone.
  expect(await verdictAt(other, good())).toBe('allow')
  expect(alive(sidecar.pid)).toBe(true)
  expect(sidecar.noise).toEqual([])
  const clean = () => (openDescriptors(sidecar.pid) <= descriptors + 3 ? true : undefined)
  await until('descriptors as before', clean, { withinMs: 60_000 })
})

afterAll(async () => {
  other.close()
  await sidecar.kill()
  await keys[Symbol.asyncDispose]()
  ground[Symbol.dispose]()
})

// Everything it says until it closes, or until `patienceMs` of our own.
async function talk(bytes: Uint8Array, target = sidecar.unix): Promise<Buffer> {
  const socket = socketTo(target)
  socket.on('error', () => undefined)
  const heard: Buffer[] = []
  socket.on('data', (chunk: Buffer) => heard.push(chunk))
  socket.write(bytes)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const said = until('a word', () => (heard.length > 0 || socket.closed ? true : undefined), {
    withinMs: 3_000,
  })
  await said.catch(() => undefined)
  socket.end()
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 200))])
  socket.destroy()
  return Buffer.concat(heard)
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const SETTINGS = frame(4, 0, 0)

describe('bytes that are no HTTP/2', () => {
  test.each([
    ['HTTP/1.1', Buffer.from('POST /portcullis.authorizer.v1.Authorizer/Check HTTP/1.1\r\nhost: x\r\n\r\n')],
    [
      'an upgrade to h2c',
      Buffer.from('GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n'),
    ],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex')],
    ['64 KiB of noise', randomBytes(65_536)],
    ['half a preface', PREFACE.subarray(0, 12)],
  ])('%s on the socket is hung up on, without a word about why', async (_what, bytes) => {
    for (const target of [sidecar.unix, sidecar.tcp]) {
      const heard = (await talk(bytes, target)).toString('latin1')
      expect(heard).not.toMatch(/node_modules|\.js|stack/)
      expect(heard).not.toContain('HTTP/1.1 200')
    }
  })
})

describe('frames that break the protocol', () => {
  test.each([
    ['DATA on a stream that is not open', frame(0, 1, 1, Buffer.from('x'))],
    ['HEADERS that are no HPACK', frame(1, 4 | 1, 1, randomBytes(200))],
    ['HEADERS on stream 0', frame(1, 4, 0, Buffer.from([0x82]))],
    ['CONTINUATION without HEADERS', frame(9, 4, 1, Buffer.from([0x82]))],
    ['a window update of 0', frame(8, 0, 0, Buffer.alloc(4))],
    [
      'a window update beyond 2^31',
      Buffer.concat([
        frame(8, 0, 0, Buffer.from('7fffffff', 'hex')),
        frame(8, 0, 0, Buffer.from('7fffffff', 'hex')),
      ]),
    ],
    ['SETTINGS of an odd length', frame(4, 0, 0, Buffer.alloc(5))],
    ['a push from the client', frame(5, 4, 1, Buffer.from('00000002', 'hex'))],
    ['a frame larger than allowed', frame(0, 0, 1, Buffer.alloc(20_000))],
    ['a frame type nobody knows', frame(0xee, 0xff, 7, randomBytes(50))],
  ])('%s: at worst that connection ends', async (_what, bytes) => {
    await talk(Buffer.concat([PREFACE, SETTINGS, bytes]))
  })

  test.each([
    ['SETTINGS', () => SETTINGS],
    ['PING', () => frame(6, 0, 0, Buffer.alloc(8))],
    ['empty DATA', () => frame(0, 0, 1)],
    ['PRIORITY', (i: number) => frame(2, 0, 2 * i + 1, Buffer.from('0000000010', 'hex'))],
    ['RST_STREAM', (i: number) => frame(3, 0, 2 * i + 1, Buffer.alloc(4))],
  ])('20,000 %s frames in one go: memory stays where it was', async (_what, one) => {
    const before = sidecar.rssBytes()
    await talk(Buffer.concat([PREFACE, SETTINGS, ...Array.from({ length: 20_000 }, (_, i) => one(i))]))
    expect(sidecar.rssBytes() - before).toBeLessThan(96 * 1024 * 1024)
  })

  test('CONTINUATION without end is cut off', async () => {
    const before = sidecar.rssBytes()
    const more = frame(
      9,
      0,
      1,
      Buffer.concat(Array.from({ length: 500 }, () => Buffer.from('400161017a', 'hex'))),
    )
    const flood = [frame(1, 0, 1, Buffer.from([0x82])), ...Array.from({ length: 5_000 }, () => more)]
    await talk(Buffer.concat([PREFACE, SETTINGS, ...flood]))
    expect(sidecar.rssBytes() - before).toBeLessThan(96 * 1024 * 1024)
  })
})

describe('connections', () => {
  test('beyond 64 on a listener are closed, the 64 stay usable, and a place that is free is given again', async () => {
    await until('no connection', () => connectionsTo(sidecar.unix) === 0 || undefined)
    const patient: Socket[] = []
    let closed = 0
    for (let i = 0; i < CONNECTIONS + 6; i++) {
      const socket = socketTo(sidecar.unix)
      socket.on('error', () => undefined)
      socket.once('close', () => closed++)
      socket.resume()
      socket.write(Buffer.concat([PREFACE, SETTINGS]))
      patient.push(socket)
      await new Promise<void>((resolve) => socket.once('connect', resolve))
    }
    await until('six closed', () => (closed >= 6 ? true : undefined), { withinMs: 60_000 })
    expect(closed).toBe(6)
    expect(await verdictAt(other, good())).toBe('allow')
    for (const socket of patient.slice(0, 32)) socket.destroy()
    using raw = openRaw(sidecar.unix)
    const served = async () => ((await verdictAt(raw, good())) === 'allow' ? true : undefined)
    await until('service on a free place', served, { withinMs: 60_000 })
    for (const socket of patient) socket.destroy()
  })

  test('opened and dropped 1,000 times, with and without a question, leave nothing behind', async () => {
    const bytes = requestSerialize(good())
    for (let round = 0; round < 100; round++) {
      await Promise.all(
        Array.from({ length: 10 }, async (_, i) => {
          if (i > 1) {
            const socket = socketTo(i % 2 === 0 ? sidecar.unix : sidecar.tcp)
            socket.on('error', () => undefined)
            await new Promise<void>((resolve) => socket.once('connect', resolve))
            socket.write(PREFACE.subarray(0, 3 * i))
            socket.destroy()
            return
          }
          const h2 = await openH2(sidecar.unix)
          const call = h2.open(path)
          call.message(bytes)
          if (i === 1) call.end()
          await h2[Symbol.asyncDispose]()
        }),
      )
    }
  })

  test('that are half closed by the client get what they asked for, or an end, and keep no place', async () => {
    const halves = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const h2 = await openH2(sidecar.unix)
        const call = h2.open(path)
        call.message(requestSerialize(good()))
        call.end()
        h2.socket.end()
        return h2
      }),
    )
    await until('their end', () => (halves.every(({ socket }) => socket.closed) ? true : undefined), {
      withinMs: 10_000,
    })
  })

  test('that say nothing at all do not keep others out', async () => {
    const silent = Array.from({ length: 40 }, () => socketTo(sidecar.unix))
    for (const socket of silent) socket.on('error', () => undefined)
    using raw = openRaw(sidecar.unix)
    expect(await verdictAt(raw, good())).toBe('allow')
    for (const socket of silent) socket.destroy()
  })
})

describe('resets', () => {
  test('of 5,000 calls as soon as they are asked (rapid reset) starve nobody', async () => {
    await using h2 = await openH2(sidecar.unix)
    const bytes = requestSerialize(good())
    for (let i = 0; i < 5_000 && !h2.session.destroyed && !h2.session.closed; i++) {
      const call = h2.open(path)
      call.message(bytes)
      call.end()
      call.reset()
      if (i % 500 === 0) expect(await verdictAt(other, good())).toBe('allow')
    }
  })

  test('while the question is parked give the place back', async () => {
    await using h2 = await openH2(sidecar.unix)
    const bytes = requestSerialize(question({ token: forge({ key: later }) }))
    const calls = Array.from({ length: 100 }, () => {
      const call = h2.open(path)
      call.message(bytes)
      call.end()
      return call
    })
    const parked = async () =>
      (await counterAt(sidecar, 'portcullis_checks_in_flight')) >= 50 ? true : undefined
    await until('parked questions', parked)
    for (const call of calls) call.reset()
    const idle = async () => (await counterAt(sidecar, 'portcullis_checks_in_flight')) === 0 || undefined
    await until('an idle sidecar', idle, { withinMs: 60_000 })
  })

  test('more calls at once on one connection than allowed are refused or wait, and all good ones are answered', async () => {
    using raw = openRaw(sidecar.unix)
    const verdicts = await Promise.all(Array.from({ length: 600 }, () => verdictAt(raw, good())))
    expect(new Set(verdicts)).toEqual(new Set(['allow']))
  })
})
