import { generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fetchVersion } from '../../../contracts/fetch.ts'
import {
  createJwksSource,
  type JwksFound,
  type JwksNeeds,
  type JwksWanted,
  LEAST_GAP_MS,
} from '../../../operator/gather/jwks.ts'

const jwk = (kid: string) => ({
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
  kid,
  alg: 'ES256',
  use: 'sig',
})
const K1 = jwk('k1')
const K2 = jwk('k2')

let server: Server
let origin: string
let document: object
let etag: string | undefined
let asked: IncomingMessage[]
let status: number

beforeEach(async () => {
  document = { keys: [K1] }
  etag = undefined
  asked = []
  status = 200
  server = createServer((request, response) => {
    asked.push(request)
    const conditional = etag !== undefined && request.headers['if-none-match'] === etag
    response.writeHead(conditional ? 304 : status, {
      'content-type': 'application/json',
      ...(etag === undefined ? {} : { etag }),
    })
    response.end(
      conditional
        ? undefined
        : JSON.stringify(request.url === '/doc' ? { issuer: said, jwks_uri: `${origin}/jwks` } : document),
    )
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(() => server.close())

let said = 'https://id.example'

/** A clock that moves only when somebody sleeps. */
function fakeTime() {
  let at = 1_000_000
  const slept: number[] = []
  return {
    slept,
    advance: (ms: number) => {
      at += ms
    },
    now: () => at,
    random: () => 0.5,
    sleep: async (ms: number, signal: AbortSignal) => {
      signal.throwIfAborted()
      slept.push(ms)
      at += ms
      await delay(1)
      signal.throwIfAborted()
    },
  }
}

function open(change: Partial<JwksWanted> = {}, last?: JwksFound) {
  const time = fakeTime()
  const found: JwksFound[] = []
  const failed: { problem: string; leaked: boolean }[] = []
  const needs: JwksNeeds = {
    ...time,
    // The guard itself is tested elsewhere; here the server is on the loopback without TLS.
    fetch: (url, rules, signal) => fetchVersion(url, { ...rules, insecureLoopback: true }, signal),
    report: () => undefined,
    listener: {
      found: (_key, one) => void found.push(one),
      failed: (_key, problem, leaked) => void failed.push({ problem, leaked }),
    },
  }
  const wanted: JwksWanted = {
    key: 'ns/idp',
    issuer: 'https://id.example',
    location: { kind: 'uri', uri: `${origin}/jwks` },
    algorithms: new Set(['ES256']),
    refreshMs: 15_000,
    maxStaleMs: 900_000,
    ca: undefined,
    privateAddresses: false,
    ...change,
  }
  return { source: createJwksSource(wanted, needs, last), time, found, failed }
}

const life = new AbortController().signal

test('a set that did not change is confirmed by its entity tag, and its term grows', async () => {
  etag = '"v1"'
  const { source, time, found } = open()
  const first = await source.refresh(life)
  time.advance(20_000)
  const second = await source.refresh(life)
  expect(asked.map(({ headers }) => headers['if-none-match'])).toEqual([undefined, '"v1"'])
  expect(second?.sha256).toBe(first?.sha256)
  expect(second?.notAfterMs).toBe((first?.notAfterMs ?? 0) + 20_000)
  expect(found).toHaveLength(2)
})

test('a rotated key is found by the fetch that its first token asks for', async () => {
  const { source, time } = open()
  await source.refresh(life)
  document = { keys: [K1, K2] }
  time.advance(100)
  expect((await source.refresh(life))?.kids.map(({ kid }) => kid)).toEqual(['k1', 'k2'])
  // The least gap was kept, and no longer.
  expect(time.slept).toEqual([0, LEAST_GAP_MS - 100])
})

test('a thousand junk kids at once cost one fetch, and the real one among them is found by it', async () => {
  const { source } = open()
  await source.refresh(life)
  document = { keys: [K1, K2] }
  const answers = await Promise.all(Array.from({ length: 1000 }, () => source.refresh(life)))
  expect(asked).toHaveLength(2)
  expect(new Set(answers).size).toBe(1)
  expect(answers[0]?.kids).toHaveLength(2)
})

test('a question during a fetch is answered by the next one: an answer may be older than its question', async () => {
  const { source } = open()
  const first = source.refresh(life)
  while (asked.length === 0) await delay(1)
  const second = source.refresh(life)
  await Promise.all([first, second])
  expect(asked).toHaveLength(2)
})

test.each<readonly [what: string, change: () => void, problem: RegExp, leaked: boolean]>([
  ['a private key in the set', () => (document = { keys: [{ ...K1, d: 'AAAA' }] }), /refused/, true],
  ['an empty set', () => (document = { keys: [] }), /the set is empty/, false],
  ['an answer that is an error', () => (status = 500), /status 500/, false],
])('%s keeps what was held, and says so', async (_what, change, problem, leaked) => {
  const { source, time, failed } = open()
  await source.refresh(life)
  change()
  time.advance(20_000)
  expect(await source.refresh(life)).toBeUndefined()
  expect(failed).toEqual([{ problem: expect.stringMatching(problem), leaked }])
})

test.each([
  ['https://id.example', true],
  ['https://id.example/', false],
])('a discovery document about %s: %s', async (issuer, fine) => {
  said = issuer
  const { source } = open({ location: { kind: 'discovery', uri: `${origin}/doc` } })
  expect((await source.refresh(life)) !== undefined).toBe(fine)
})

test('the schedule backs off after failures and returns to its pace', async () => {
  status = 503
  const { source, time } = open()
  const leaving = new AbortController()
  const running = source.run(leaving.signal).catch(() => undefined)
  while (asked.length < 5) await delay(2)
  status = 200
  while (!time.slept.includes(15_000)) await delay(2)
  leaving.abort()
  await running
  expect(time.slept.filter((ms) => ms >= 1_000).slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000])
})

test('keys that the object itself holds never go stale', async () => {
  const { source } = open({ location: { kind: 'inline', document: JSON.stringify({ keys: [K1] }) } })
  expect((await source.refresh(life))?.notAfterMs).toBe(0)
  expect(asked).toHaveLength(0)
})
