// Configuration and files become snapshots: each carries the newest of keys and policy, and what is bad changes nothing.
import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createStandaloneFeed, type StandaloneFeed } from '../../../sidecar/feed/standalone.ts'
import type { FetchDocument } from '../../../sidecar/ports.ts'
import type { JwksLocation, StandaloneIssuer } from '../../../sidecar/settings.ts'
import { createInstall } from '../../../sidecar/trust/install.ts'
import { createTrustStore, type TrustStore } from '../../../sidecar/trust/store.ts'
import { jwksOf, type SigningKey, signingKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { forget, tempDirectory, until } from '../../fixtures/process.ts'
import { NO_TERMS } from '../../fixtures/terms.ts'
import { AUDIENCE, ISSUER } from '../../fixtures/tokens.ts'
import { createFakeTime, type FakeTime } from '../fake-time.ts'
import { preparePolicy } from '../trust/beliefs.ts'

const URI = 'https://idp.test.example/jwks'
const OLD = signingKey('RS256', 'old')
const NEW = signingKey('RS256', 'new')
const POLL_MS = 2_000
const STALE_MS = 3_600_000
const WALL = 1_790_000_000_000
const never = new AbortController().signal

let directory: string
let time: FakeTime
let store: TrustStore
let events: string[]
let web: () => Promise<readonly SigningKey[]>
/** Holds back the preparation of a policy, as a large one would. */
let preparing: Promise<void>
let preparations: number

beforeEach(() => {
  directory = tempDirectory('feed')
  cpSync(POLICY.invoices, bundle(), { recursive: true })
  time = createFakeTime()
  store = createTrustStore()
  events = []
  web = async () => [OLD]
  preparing = Promise.resolve()
  preparations = 0
})
afterEach(() => forget(directory))

const bundle = () => join(directory, 'bundle')

function issuer(location: JwksLocation = { kind: 'uri', uri: URI }, name = ISSUER): StandaloneIssuer {
  return {
    issuer: name,
    algorithms: new Set(['RS256']),
    location,
    insecureLoopback: false,
    privateAddresses: false,
    refreshMs: 300_000,
    skewS: 60,
    tenant: { $case: 'fixedTenant', fixedTenant: 'acme' },
    terms: NO_TERMS,
  }
}

function open(...issuers: readonly StandaloneIssuer[]): StandaloneFeed {
  const fetch: FetchDocument = async () => Buffer.from(JSON.stringify(jwksOf(await web())))
  const config = {
    audience: AUDIENCE,
    exclusiveAudience: false,
    maxTokenLifetimeS: 3600,
    issuers: issuers.length > 0 ? issuers : [issuer()],
    policyPath: bundle(),
    routes: [],
    tokens: undefined,
    jwksStaleMs: STALE_MS,
    client: undefined,
  }
  return createStandaloneFeed(config, {
    fetch,
    now: time.now,
    wall: () => WALL + time.now(),
    sleep: time.sleep,
    random: () => 0.5,
    report: (event) => void events.push(event),
    install: createInstall(store, async (files) => {
      preparations++
      await preparing
      return preparePolicy(files)
    }),
  })
}

const kids = (name = ISSUER) => [...(store.installed()?.issuers.get(name)?.keys.byKid.keys() ?? [])]
const revision = () => store.installed()?.policy.revision
const generation = () => store.installed()?.generation ?? 0

test('loading reads everything once and installs it', async () => {
  const feed = open()
  await feed.load(never)
  expect(kids()).toEqual(['old'])
  expect(feed.bundleProblem()).toBe('')
  expect(feed.activations).toEqual({ ok: 1, refused: 0 })
  expect(store.installed()?.issuers.get(ISSUER)?.keys).toMatchObject({
    notAfter: WALL + time.now() + STALE_MS,
    refreshable: true,
  })
})

test('loading ends well or badly, but ends: a provider that is down does not hold up the policy', async () => {
  web = async () => Promise.reject(new Error('down'))
  const feed = open()
  await feed.load(never)
  expect(revision()).toBeDefined()
  expect(kids()).toEqual([])
  expect(feed.sources[0]?.problem()).toBe('down')
})

test('keys that come before the first good bundle wait for it', async () => {
  rmSync(bundle(), { recursive: true })
  const feed = open()
  await feed.load(never)
  expect(store.installed()).toBeUndefined()
  expect(feed.bundleProblem()).toContain('no such bundle')
  cpSync(POLICY.invoices, bundle(), { recursive: true })
  await feed.reload(never)
  expect(kids()).toEqual(['old'])
})

test('a new bundle is noticed and swapped in; the keys stay', async () => {
  const feed = open()
  await feed.load(never)
  const stop = new AbortController()
  feed.run(stop.signal).catch(() => undefined)
  const before = revision()
  cpSync(POLICY.edited, bundle(), { recursive: true })
  await time.advance(POLL_MS)
  await until('new revision', () => (revision() !== before ? true : undefined))
  expect(kids()).toEqual(['old'])
  expect(feed.activations).toEqual({ ok: 2, refused: 0 })
  stop.abort()
})

test('a bad bundle is refused once, reported, and the one before goes on; a good one mends it', async () => {
  const feed = open()
  await feed.load(never)
  const before = store.installed()
  writeFileSync(join(bundle(), 'data.json'), '{"settings":{}}')
  await feed.reload(never)
  expect(store.installed()).toBe(before)
  expect(feed.bundleProblem()).toContain('data.json: its content is not what .manifest promises')
  expect(events.filter((event) => event === 'bundle_refused')).toHaveLength(1)
  expect(feed.activations).toEqual({ ok: 1, refused: 1 })
  cpSync(POLICY.edited, bundle(), { recursive: true })
  await feed.reload(never)
  expect(feed.bundleProblem()).toBe('')
  expect(generation()).toBeGreaterThan(before?.generation ?? 0)
})

test('a bad bundle that stays as it is is not tried again at every look', async () => {
  const feed = open()
  await feed.load(never)
  writeFileSync(join(bundle(), 'data.json'), '{}')
  const stop = new AbortController()
  feed.run(stop.signal).catch(() => undefined)
  for (let i = 0; i < 5; i++) {
    await time.advance(POLL_MS)
    await until('refusal', () => (feed.activations.refused > 0 ? true : undefined))
  }
  expect(feed.activations.refused).toBe(1)
  stop.abort()
})

test('keys that arrive while a bad bundle lies there are installed with the good one', async () => {
  const feed = open()
  await feed.load(never)
  const before = revision()
  writeFileSync(join(bundle(), 'data.json'), '{}')
  await feed.reload(never)
  web = async () => [OLD, NEW]
  expect(await feed.refreshKeys(ISSUER, never)).toBe(true)
  expect(kids()).toEqual(['old', 'new'])
  expect(revision()).toBe(before)
})

test.each(['keys', 'bundle'])('keys and bundle change together, %s first: neither is lost', async (first) => {
  const feed = open()
  await feed.load(never)
  const before = revision()
  const gate = Promise.withResolvers<void>()
  preparing = gate.promise
  web = async () => [OLD, NEW]
  cpSync(POLICY.edited, bundle(), { recursive: true })
  const changes = [() => feed.refreshKeys(ISSUER, never), () => feed.reload(never)]
  const under = (first === 'keys' ? changes : changes.toReversed()).map((change) => change())
  await setImmediate()
  gate.resolve()
  await Promise.all(under)
  expect(kids()).toEqual(['old', 'new'])
  expect(revision()).not.toBe(before)
  expect(feed.activations).toEqual({ ok: 2, refused: 0 })
})

test('keys that arrive while a policy is prepared do not bring the old policy back, nor it the old keys', async () => {
  const feed = open()
  await feed.load(never)
  const before = revision()
  const gate = Promise.withResolvers<void>()
  preparing = gate.promise
  cpSync(POLICY.edited, bundle(), { recursive: true })
  const swap = feed.reload(never)
  await until('preparation', () => (preparations > 1 ? true : undefined))
  web = async () => [OLD, NEW]
  const refresh = feed.refreshKeys(ISSUER, never)
  await setImmediate()
  gate.resolve()
  await Promise.all([swap, refresh])
  expect(kids()).toEqual(['old', 'new'])
  expect(revision()).not.toBe(before)
})

test('many refreshes and swaps at once end with the newest of both', async () => {
  const feed = open()
  await feed.load(never)
  const before = revision()
  cpSync(POLICY.edited, bundle(), { recursive: true })
  web = async () => {
    await setImmediate()
    return [OLD, NEW]
  }
  const changes = Array.from({ length: 20 }, (_, index) =>
    index % 3 === 0 ? feed.reload(never) : feed.refreshKeys(ISSUER, never),
  )
  await Promise.all(changes)
  expect(kids()).toEqual(['old', 'new'])
  expect(revision()).not.toBe(before)
})

test('a file of keys is read at start, cannot be refreshed by a miss, and never goes stale', async () => {
  const path = join(directory, 'jwks.json')
  writeFileSync(path, JSON.stringify(jwksOf([OLD])))
  const feed = open(issuer({ kind: 'file', path }))
  await feed.load(never)
  expect(store.installed()?.issuers.get(ISSUER)?.keys).toMatchObject({
    notAfter: Number.POSITIVE_INFINITY,
    refreshable: false,
  })
})

test('a file of keys that changes is read again; a spoilt one changes nothing', async () => {
  const path = join(directory, 'jwks.json')
  writeFileSync(path, JSON.stringify(jwksOf([OLD])))
  const feed = open(issuer({ kind: 'file', path }))
  await feed.load(never)
  const stop = new AbortController()
  feed.run(stop.signal).catch(() => undefined)
  await time.advance(0)
  await until('first look', () => (time.sleeping() > 1 ? true : undefined))
  writeFileSync(path, '{"keys":[]}')
  await time.advance(POLL_MS)
  await until('failure', () => feed.sources[0]?.problem() || undefined)
  expect(kids()).toEqual(['old'])
  writeFileSync(path, JSON.stringify(jwksOf([OLD, NEW])))
  await until('new key', async () => {
    await time.advance(POLL_MS)
    return kids().includes('new') || undefined
  })
  stop.abort()
})

test('issuers do not share fates: one that is down leaves the other’s keys alone', async () => {
  const other = 'https://other.test.example'
  const path = join(directory, 'jwks.json')
  writeFileSync(path, JSON.stringify(jwksOf([NEW])))
  web = async () => Promise.reject(new Error('down'))
  const feed = open(issuer(), issuer({ kind: 'file', path }, other))
  await feed.load(never)
  expect(kids()).toEqual([])
  expect(kids(other)).toEqual(['new'])
})

test('an issuer that nobody configured has no keys to refresh', async () => {
  const feed = open()
  expect(await feed.refreshKeys('https://evil.example', never)).toBe(false)
})
