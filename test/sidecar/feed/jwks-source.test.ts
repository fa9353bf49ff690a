// Where keys come from: a file, a URI or discovery; what is fit to be believed; and when it is fetched again.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { WrongStatus } from '../../../contracts/fetch.ts'
import { createJwksSource, type JwksSource } from '../../../sidecar/feed/jwks-source.ts'
import type { Fact, FetchDocument } from '../../../sidecar/ports.ts'
import type { JwksLocation } from '../../../sidecar/settings.ts'
import { jwksOf, signingKey } from '../../fixtures/keys.ts'
import { forget, tempDirectory } from '../../fixtures/process.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { createFakeTime, type FakeTime } from '../fake-time.ts'

const URI = 'https://idp.test.example/jwks'
const DISCOVERY = 'https://idp.test.example/.well-known/openid-configuration'
const KEY = signingKey('RS256', 'k1')
const GOOD = JSON.stringify(jwksOf([KEY]))
const REFRESH_MS = 300_000
const never = new AbortController().signal

let time: FakeTime
let web: Record<string, string | Error>
let asked: string[]
let published: string[]
let installs: boolean
let reports: (readonly [event: string, facts: Readonly<Record<string, Fact>> | undefined])[]
let random: number

beforeEach(() => {
  time = createFakeTime()
  web = { [URI]: GOOD }
  asked = []
  published = []
  installs = true
  reports = []
  random = 0.5
})

const fetch: FetchDocument = async (url) => {
  asked.push(url)
  const found = web[url] ?? new Error(`${url}: answered with status 404`)
  if (found instanceof Error) throw found
  return Buffer.from(found)
}

function open(location: JwksLocation = { kind: 'uri', uri: URI }, port: FetchDocument = fetch): JwksSource {
  const config = {
    issuer: ISSUER,
    algorithms: new Set(['RS256'] as const),
    location,
    insecureLoopback: false,
    privateAddresses: false,
    refreshMs: REFRESH_MS,
  }
  return createJwksSource(config, {
    fetch: port,
    now: time.now,
    sleep: time.sleep,
    random: () => random,
    report: (event, facts) => void reports.push([event, facts]),
    publish: async (_issuer, document) => {
      if (installs) published.push(document.toString())
      return installs
    },
  })
}

test('creating a source fetches nothing', () => {
  const source = open()
  expect(asked).toEqual([])
  expect(source.problem()).toBe('not fetched yet')
  expect(source.fetchedAt()).toBeUndefined()
})

test('a good document is published as fetched, and the success is noted', async () => {
  const source = open()
  expect(await source.refresh(never)).toBe(true)
  expect(published).toEqual([GOOD])
  expect(source.problem()).toBe('')
  expect(source.fetchedAt()).toBe(time.now())
  expect(source.counts).toEqual({ ok: 1, failed: 0 })
})

test.each<readonly [what: string, document: string | Error, why: string]>([
  ['an empty set', '{"keys":[]}', 'no usable key in the set, it is empty'],
  [
    'a set of unusable keys',
    JSON.stringify(jwksOf([KEY], { use: 'enc' })),
    'no usable key in the set; the first is refused because its "use"',
  ],
  [
    'a private key',
    JSON.stringify({ keys: [KEY.jwk, { ...KEY.jwk, kid: 'k2', d: 'AA' }] }),
    'the whole key set is refused: publishes a private key',
  ],
  [
    'a symmetric key',
    '{"keys":[{"kty":"oct","k":"AA"}]}',
    'the whole key set is refused: publishes a symmetric key',
  ],
  ['no JSON', '<html>', 'the whole key set is refused: not JSON'],
  ['an error document', '{"error":"x"}', 'the whole key set is refused: no "keys" array'],
  ['no answer', new Error(`${URI}: answered with status 503`), 'answered with status 503'],
])('%s never becomes keys, and is reported', async (_what, document, why) => {
  const source = open()
  await source.refresh(never)
  web[URI] = document
  expect(await source.refresh(never)).toBe(false)
  // A published secret takes the keys away; everything else leaves them.
  expect(published).toEqual(why.includes('publishes a') ? [GOOD, ''] : [GOOD])
  expect(source.problem()).toContain(why)
  expect(source.counts).toEqual({ ok: 1, failed: 1 })
  expect(reports.at(-1)).toEqual([
    'jwks_refresh_failed',
    { issuer: ISSUER, problem: expect.stringContaining(why) },
  ])
  web[URI] = GOOD
  expect(await source.refresh(never)).toBe(true)
  expect(source.problem()).toBe('')
})

test('a key that is refused beside a good one is reported by its kid, and the good one published', async () => {
  web[URI] = JSON.stringify({ keys: [{ ...KEY.jwk, kid: 'weak', e: 'Aw' }, KEY.jwk] })
  expect(await open().refresh(never)).toBe(true)
  expect(reports).toEqual([
    ['jwk_refused', { issuer: ISSUER, kid: 'weak', why: expect.stringContaining('exponent') }],
  ])
})

test('keys that were not installed are a failure, whatever the document', async () => {
  installs = false
  const source = open()
  expect(await source.refresh(never)).toBe(false)
  expect(source.problem()).toBe('the new keys were not installed')
  expect(source.fetchedAt()).toBeUndefined()
})

// The fetch under way may have been answered before the key in question was published.
test('all who ask while a fetch is under way share the next one', async () => {
  const gate = Promise.withResolvers<Buffer>()
  const source = open(undefined, (url) => {
    asked.push(url)
    return asked.length === 1 ? gate.promise : Promise.resolve(Buffer.from(GOOD))
  })
  const answers = Promise.all(Array.from({ length: 10 }, () => source.refresh(never)))
  expect(asked).toHaveLength(1)
  gate.resolve(Buffer.from(GOOD))
  expect(await answers).toEqual(Array.from({ length: 10 }, () => true))
  expect(asked).toHaveLength(2)
  await source.refresh(never)
  expect(asked).toHaveLength(3)
})

test('a fetch that fails does not fail those who came after it', async () => {
  const gate = Promise.withResolvers<Buffer>()
  const source = open(undefined, (url) => {
    asked.push(url)
    return asked.length === 1 ? gate.promise : Promise.resolve(Buffer.from(GOOD))
  })
  const answers = Promise.all([source.refresh(never), source.refresh(never)])
  gate.reject(new Error('down'))
  expect(await answers).toEqual([false, true])
  expect(source.problem()).toBe('')
})

test('a file is read without the network; one that is missing is a problem that names it', async () => {
  const directory = tempDirectory('jwks')
  const path = join(directory, 'jwks.json')
  const source = open({ kind: 'file', path })
  expect(await source.refresh(never)).toBe(false)
  expect(source.problem()).toContain(path)
  writeFileSync(path, GOOD)
  expect(await source.refresh(never)).toBe(true)
  expect(asked).toEqual([])
  forget(directory)
})

const discovery: JwksLocation = { kind: 'discovery', uri: DISCOVERY }
const metadata = (members: object) => JSON.stringify({ issuer: ISSUER, jwks_uri: URI, ...members })

test('discovery leads to the keys', async () => {
  web[DISCOVERY] = metadata({})
  expect(await open(discovery).refresh(never)).toBe(true)
  expect(asked).toEqual([DISCOVERY, URI])
})

test.each<readonly [what: string, document: string, why: string]>([
  [
    'another issuer',
    metadata({ issuer: 'https://evil.example' }),
    'its "issuer" is not exactly the configured one',
  ],
  [
    'the issuer with a slash',
    metadata({ issuer: `${ISSUER}/` }),
    'its "issuer" is not exactly the configured one',
  ],
  [
    'the issuer in upper case',
    metadata({ issuer: ISSUER.toUpperCase() }),
    'its "issuer" is not exactly the configured one',
  ],
  ['no issuer', JSON.stringify({ jwks_uri: URI }), 'its "issuer" is not exactly the configured one'],
  ['no jwks_uri', metadata({ jwks_uri: undefined }), 'it has no "jwks_uri"'],
  ['a jwks_uri that is a list', metadata({ jwks_uri: [URI] }), 'it has no "jwks_uri"'],
  ['no JSON', '<html>', 'not a JSON object'],
  ['null', 'null', 'not a JSON object'],
])('metadata with %s leads nowhere', async (_what, document, why) => {
  web[DISCOVERY] = document
  const source = open(discovery)
  expect(await source.refresh(never)).toBe(false)
  expect(source.problem()).toBe(`${DISCOVERY}: ${why}`)
  expect(asked).toEqual([DISCOVERY])
})

async function fetchesWithin(source: JwksSource, ms: number, stop: AbortController): Promise<number> {
  source.run(stop.signal).catch(() => undefined)
  await setImmediate()
  asked.length = 0
  await time.advance(ms)
  stop.abort()
  return asked.length
}

test.each([
  [0, 0.9],
  [0.5, 1],
  [0.999, 1.1],
])('keys are fetched again at 80 %% of their time, spread by a tenth (chance %d)', async (chance, factor) => {
  random = chance
  const source = open()
  await source.refresh(never)
  const due = REFRESH_MS * 0.8 * factor
  expect(await fetchesWithin(source, due - 1_000, new AbortController())).toBe(0)
  expect(await fetchesWithin(source, due + 1_000, new AbortController())).toBe(1)
})

test('after a failure it is tried again after 1, 2, 4 … at most 60 s', async () => {
  const source = open()
  await source.refresh(never)
  web[URI] = new Error('down')
  const stop = new AbortController()
  source.run(stop.signal).catch(() => undefined)
  await time.advance(REFRESH_MS * 0.8)
  for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    const before = asked.length
    await time.advance(seconds * 1000 - 1)
    expect(asked).toHaveLength(before)
    await time.advance(1)
    expect(asked).toHaveLength(before + 1)
  }
  web[URI] = GOOD
  await time.advance(60_000)
  expect(source.problem()).toBe('')
  asked.length = 0
  await time.advance(REFRESH_MS * 0.8 - 1)
  expect(asked).toEqual([])
  stop.abort()
})

test.each([
  ['as long as it asks for', 20_000, 20_000],
  ['at most a minute', 3_600_000, 60_000],
])('an issuer that asks to be left alone is: %s', async (_how, retryAfterMs, quietMs) => {
  const source = open()
  web[URI] = new WrongStatus(`${URI}: answered with status 429`, retryAfterMs)
  expect(await source.refresh(never)).toBe(false)
  web[URI] = GOOD
  await time.advance(quietMs - 1)
  expect(await source.refresh(never)).toBe(false)
  expect(asked).toHaveLength(1)
  expect(source.problem()).toContain('429')
  await time.advance(1)
  expect(await source.refresh(never)).toBe(true)
  expect(asked).toHaveLength(2)
})

test('a scheduled fetch waits as long as the issuer asks for, even if its own pause is shorter', async () => {
  const source = open()
  web[URI] = new WrongStatus(`${URI}: answered with status 503`, 20_000)
  expect(await source.refresh(never)).toBe(false)
  const ending = new AbortController()
  const running = source.run(ending.signal).catch(() => 'ended')
  await time.advance(19_999)
  expect(asked).toHaveLength(1)
  await time.advance(1)
  expect(asked).toHaveLength(2)
  ending.abort()
  expect(await running).toBe('ended')
})

test('a source that never succeeded tries again soon', async () => {
  web[URI] = new Error('down')
  const source = open()
  await source.refresh(never)
  expect(await fetchesWithin(source, 1_000, new AbortController())).toBe(1)
})

test('running ends with its signal', async () => {
  const stop = new AbortController()
  const running = open().run(stop.signal)
  await setImmediate()
  stop.abort()
  await expect(running).rejects.toThrow()
  expect(time.sleeping()).toBe(0)
})
