// C1 to C7: the key set of an issuer cannot be had, or what comes is none. Keys that were believed are believed on, nothing else is.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { jwksOf } from '../fixtures/keys.ts'
import { forget, tempDirectory, until } from '../fixtures/process.ts'
import { counterAt } from '../process/scrape.ts'
import { makeCertificates } from './certificates.ts'
import { dripping, late, openIssuer, pouring } from './issuer.ts'
import { NEW, OLD, openStage, type Stage } from './stage.ts'

const RSS_BYTES = 48 * 1024 * 1024
const SET = JSON.stringify(jwksOf([OLD, NEW]))

// While the fault lasts, what was known is known and what is new is not; once it is over, the new key comes by itself.
async function survives(
  stage: Stage,
  during: string | readonly string[] = 'jwks_unavailable',
): Promise<void> {
  const asked = stage.issuer.askedAt.length
  expect(await stage.ask(OLD)).toBe('allow')
  expect(during).toContain(await stage.ask(NEW))
  expect(await stage.ask(OLD)).toBe('allow')
  expect((await stage.sidecar.admin('/readyz')).status).toBe(200)
  expect(stage.issuer.askedAt.length - asked).toBeLessThanOrEqual(2)
}

async function heals(stage: Stage): Promise<void> {
  stage.issuer.publish([OLD, NEW])
  await stage.becomes(NEW, 'allow')
  expect(await stage.ask(OLD)).toBe('allow')
  await stage.sound()
}

test('fault C1: the issuer is down: known keys go on, a new one is jwks_unavailable, and it comes once the issuer is back', async () => {
  await using stage = await openStage()
  await stage.issuer.down()
  await survives(stage)
  expect(await counterAt(stage.sidecar, 'jwks_refresh_total', 'result="failed"')).toBeGreaterThan(0)
  await stage.issuer.up()
  await heals(stage)
})

test('fault C1: the issuer is down at the start: nothing is allowed before its keys are there', async () => {
  await using stage = await openStage({
    wait: 'listening',
    before: (issuer) => issuer.behave((request) => request.socket.destroy()),
  })
  for (let i = 0; i < 20; i++) expect(await stage.ask(OLD)).not.toBe('allow')
  expect((await stage.sidecar.admin('/readyz')).status).toBe(503)
  await heals(stage)
})

describe('fault C2: the issuer is slow', () => {
  test.each([
    ['answers after 30 s', late(SET, 30_000)],
    ['drips a byte at a time', dripping(Buffer.from(' '), 100)],
    ['takes the question and says nothing', () => undefined],
  ] as const)(
    '%s: 50 questions for a new key share one fetch and are all answered; known ones need not wait',
    async (_how, listener) => {
      await using stage = await openStage()
      const before = stage.issuer.askedAt.length
      stage.issuer.behave(listener)
      const order: string[] = []
      const waiting = Array.from({ length: 50 }, () =>
        stage.ask(NEW).then((verdict) => {
          order.push('new')
          return verdict
        }),
      )
      await until('a fetch', () => stage.issuer.askedAt.length > before || undefined)
      for (let i = 0; i < 5; i++) {
        expect(await stage.ask(OLD)).toBe('allow')
        order.push('old')
      }
      expect(new Set(await Promise.all(waiting))).toEqual(new Set(['jwks_unavailable']))
      expect(order).toEqual([...Array(5).fill('old'), ...Array(50).fill('new')])
      expect(stage.issuer.askedAt.length - before).toBe(1)
      await heals(stage)
    },
  )
})

describe('fault C3: the issuer is overloaded', () => {
  test.each([500, 502, 503, 429])(
    'status %i: asked ever more seldom, whatever is asked of us',
    async (status) => {
      await using stage = await openStage()
      const before = stage.issuer.askedAt.length
      const startedAt = performance.now()
      stage.issuer.behave((_request, response) => void response.writeHead(status).end('{}'))
      for (let i = 0; i < 200; i++) expect(await stage.ask(NEW)).toBe('jwks_unavailable')
      await survives(stage)
      const since = stage.issuer.askedAt.slice(before)
      // Two may ask, the schedule and the questions, each after pauses that double from a second on.
      const doublings = Math.log2(1 + (performance.now() - startedAt) / 1_000)
      expect(since.length).toBeLessThanOrEqual(4 + 2 * doublings)
      await heals(stage)
    },
  )

  test.each([500, 503, 429])('status %i with Retry-After: not asked before it is over', async (status) => {
    const AFTER_S = 4
    await using stage = await openStage()
    const before = stage.issuer.askedAt.length
    let refusedAt = 0
    stage.issuer.behave((_request, response) => {
      refusedAt = performance.now()
      response.writeHead(status, { 'retry-after': String(AFTER_S) }).end()
    })
    expect(await stage.ask(NEW)).toBe('jwks_unavailable')
    stage.issuer.publish([OLD, NEW])
    await stage.becomes(NEW, 'allow')
    const [, second = 0] = stage.issuer.askedAt.slice(before)
    expect(second - refusedAt).toBeGreaterThanOrEqual(AFTER_S * 1_000 - 50)
    await stage.sound()
  })
})

describe('fault C4: what comes is no key set', () => {
  const html = '<!doctype html><title>Sign in</title>'
  test.each<readonly [what: string, body: string, type?: string]>([
    ['a page', html, 'text/html'],
    ['a page that says it is JSON', html],
    ['a sound set under a wrong type', SET, 'text/plain'],
    ['an empty set', '{"keys":[]}'],
    ['no keys at all', '{}'],
    ['null', 'null'],
    ['a list', '[]'],
    ['keys that are none', '{"keys":[1,"2",null]}'],
    ['half a set', SET.slice(0, -30)],
    ['nothing', ''],
    ['bytes that are no UTF-8', '{"keys":["\xff\xfe"]}'],
  ])('%s never replaces what was there', async (_what, body = '', type = 'application/json') => {
    await using stage = await openStage()
    stage.issuer.say(Buffer.from(body, 'latin1'), type)
    await survives(stage)
    await stage.sidecar.event('jwks_refresh_failed')
    await heals(stage)
  })
})

describe('fault C5: too much comes', () => {
  test('100 MB: cut off after a fraction, and no memory is taken for it', async () => {
    await using stage = await openStage()
    expect(await stage.ask(OLD)).toBe('allow')
    const rss = stage.sidecar.rssBytes()
    const { listener, sent } = pouring(100_000_000)
    stage.issuer.behave(listener)
    await survives(stage)
    expect(sent()).toBeLessThan(10_000_000)
    expect(stage.sidecar.rssBytes() - rss).toBeLessThan(RSS_BYTES)
    await heals(stage)
  })

  const many = (count: number) =>
    JSON.stringify({ keys: Array.from({ length: count }, (_, i) => ({ ...NEW.jwk, kid: `key-${i}` })) })
  const nested = (depth: number) => `{"keys":[${'['.repeat(depth)}${']'.repeat(depth)}]}`
  test.each<readonly [what: string, body: string]>([
    ['100,000 keys', many(100_000)],
    ['65 keys', many(65)],
    ['JSON 100,000 deep', nested(100_000)],
    ['a key 50,000 deep', `{"keys":[{"kty":${'['.repeat(50_000)}${']'.repeat(50_000)}}]}`],
    ['one key of 200 KB', JSON.stringify({ keys: [{ ...NEW.jwk, x5c: ['A'.repeat(200_000)] }] })],
  ])('%s: refused, and no memory is taken for it', async (_what, body) => {
    await using stage = await openStage()
    expect(await stage.ask(OLD)).toBe('allow')
    const rss = stage.sidecar.rssBytes()
    stage.issuer.say(body)
    await survives(stage)
    expect(stage.sidecar.rssBytes() - rss).toBeLessThan(RSS_BYTES)
    await heals(stage)
  })

  test('64 keys are the most, and all of them are taken', async () => {
    await using stage = await openStage()
    const keys = Array.from({ length: 62 }, (_, i) => ({ ...OLD.jwk, kid: `filler-${i}` }))
    stage.issuer.say(JSON.stringify({ keys: [OLD.jwk, ...keys, NEW.jwk] }))
    await stage.becomes(NEW, 'allow')
    await stage.sound()
  })
})

describe('fault C6: the issuer sends us elsewhere', () => {
  const loop = '/jwks'
  test.each<readonly [status: number, to: string]>([
    ...[301, 302, 303, 307, 308].map((status) => [status, 'another server'] as const),
    [302, loop],
    [302, 'http://169.254.169.254/latest/meta-data'],
    [302, 'file:///etc/passwd'],
    [300, loop],
  ])('status %i to %s: nobody is asked there', async (status, to) => {
    await using elsewhere = await openIssuer()
    elsewhere.publish([OLD, NEW])
    await using stage = await openStage()
    const location = to === 'another server' ? elsewhere.uri : to
    const before = stage.issuer.askedAt.length
    stage.issuer.behave((_request, response) => void response.writeHead(status, { location }).end())
    expect(await stage.ask(NEW)).toBe('jwks_unavailable')
    // A loop is not walked either.
    expect(stage.issuer.askedAt.length - before).toBe(1)
    expect((await stage.sidecar.event('jwks_refresh_failed'))['problem']).toContain('redirect')
    await survives(stage)
    await heals(stage)
    expect(elsewhere.askedAt).toEqual([])
  })

  test.each(['http://169.254.169.254/jwks', 'https://169.254.169.254/jwks', 'https://[fe80::1]/jwks'])(
    'the configured address itself is link-local: %s is never asked, and nothing is allowed',
    async (uri) => {
      await using stage = await openStage({ issuer: { jwks: { uri } }, wait: 'listening' })
      const failed = await stage.sidecar.event('jwks_refresh_failed')
      expect(failed['problem']).toMatch(/its address is \w+, which is refused/)
      expect(await stage.ask(OLD)).not.toBe('allow')
      expect(stage.issuer.askedAt).toEqual([])
      await stage.sound()
    },
  )
})

describe('fault C7: the certificate of the issuer is wrong', () => {
  const certificates = makeCertificates()
  const directory = tempDirectory('authority')
  const file = join(directory, 'authority.pem')
  writeFileSync(file, certificates.authority)
  afterAll(() => forget(directory))
  test.each(Object.entries(certificates.wrong))(
    '%s: refused, until a sound one is shown',
    async (_how, identity) => {
      await using stage = await openStage({
        identity: certificates.sound,
        env: { NODE_EXTRA_CA_CERTS: file },
      })
      stage.issuer.show(identity)
      stage.issuer.publish([OLD, NEW])
      const before = stage.issuer.askedAt.length
      expect(await stage.ask(NEW)).toBe('jwks_unavailable')
      expect(await stage.ask(OLD)).toBe('allow')
      // The handshake failed, so that nothing was asked.
      expect(stage.issuer.askedAt).toHaveLength(before)
      expect(String((await stage.sidecar.event('jwks_refresh_failed'))['problem'])).toMatch(
        /certificate|altnames/i,
      )
      stage.issuer.show(certificates.sound)
      await heals(stage)
    },
  )
})
