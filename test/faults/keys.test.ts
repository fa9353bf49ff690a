// C8 to C11 and C18: the issuer publishes bad keys, changes them without warning, or somebody floods us with names of keys it never had.
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { MISS_LIMITS } from '../../sidecar/trust/keys.ts'
import {
  hmacSigner,
  jwksOf,
  publicSecrets,
  relabelled,
  type SigningKey,
  signingKey,
} from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { constant, forge } from '../fixtures/tokens.ts'
import { flood } from './flood.ts'
import { NEW, OLD, openStage } from './stage.ts'

const RSS_BYTES = 64 * 1024 * 1024

function smallKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'small', alg: 'RS256', use: 'sig' }
  return { alg: 'RS256', kid: 'small', privateKey, publicKey, jwk }
}

const BAD = signingKey('RS256', 'bad')
const CURVE = signingKey('ES256', 'curve')

describe('fault C8: bad keys in the set', () => {
  test.each<readonly [what: string, key: SigningKey, published: readonly object[]]>([
    ['a key for encryption', BAD, [{ ...BAD.jwk, use: 'enc' }]],
    ['key_ops without verify', BAD, [{ ...BAD.jwk, use: undefined, key_ops: ['encrypt'] }]],
    ['an alg of another kind of key', BAD, [{ ...BAD.jwk, alg: 'ES256' }]],
    ['an alg that is not allowed here', BAD, [{ ...BAD.jwk, alg: 'PS256' }]],
    ['an alg that is none', BAD, [{ ...BAD.jwk, alg: 'none' }]],
    ['RSA of 1024 bits', smallKey(), [smallKey().jwk]],
    ['a point that is not on the curve', CURVE, [{ ...CURVE.jwk, y: CURVE.jwk['x'] }]],
    ['exponent 1', BAD, [{ ...BAD.jwk, e: 'AQ' }]],
    ['two keys under one kid', BAD, [BAD.jwk, { ...NEW.jwk, kid: 'bad' }]],
    ['a key without a kid', BAD, [{ ...BAD.jwk, kid: undefined }]],
    ['a kind of key that nobody knows', BAD, [{ ...BAD.jwk, kty: 'XYZ' }]],
  ])('%s: no token under it passes, and the sound key beside it is taken', async (_what, key, published) => {
    await using stage = await openStage({
      before: (issuer) => issuer.say(JSON.stringify({ keys: [...published, OLD.jwk] })),
    })
    for (let i = 0; i < 3; i++) expect(await stage.ask(key)).not.toBe('allow')
    expect(await stage.ask(OLD)).toBe('allow')
    await stage.sound()
  })

  test.each<readonly [what: string, secret: object]>([
    ['a shared secret', { kty: 'oct', kid: 'secret', k: 'c2VjcmV0' }],
    ['a private key', { ...BAD.privateKey.export({ format: 'jwk' }), kid: 'bad', alg: 'RS256' }],
  ])(
    '%s in the set: whoever read it can sign, so that nothing passes until a sound set comes',
    async (_what, secret) => {
      await using stage = await openStage()
      expect(await stage.ask(OLD)).toBe('allow')
      stage.issuer.say(JSON.stringify({ keys: [secret, OLD.jwk] }))
      expect(await stage.ask(NEW)).not.toBe('allow')
      expect(await stage.ask(OLD)).not.toBe('allow')
      expect(await stage.ask(BAD)).not.toBe('allow')
      await stage.sidecar.event('jwks_secret_published')
      stage.issuer.publish([OLD, NEW])
      await stage.becomes(NEW, 'allow')
      await stage.sound()
    },
  )
})

test('fault C9: the issuer rotates without overlap: the first token under the new key passes, none under the old one does afterwards', async () => {
  await using stage = await openStage()
  expect(await stage.ask(OLD)).toBe('allow')
  const before = stage.issuer.askedAt.length
  stage.issuer.publish([NEW])
  // Nobody is refused: 50 at once under the new key, which no fetch has brought yet.
  const burst = await Promise.all(Array.from({ length: 50 }, () => stage.ask(NEW)))
  expect(new Set(burst)).toEqual(new Set(['allow']))
  expect(stage.issuer.askedAt.length - before).toBe(1)
  for (let i = 0; i < 20; i++) expect(await stage.ask(OLD)).toBe('kid_unknown')
  expect(await stage.ask(NEW)).toBe('allow')
  expect(stage.issuer.askedAt.length - before).toBe(2)
  await stage.sound()
})

test('fault C10: the issuer removes a key: the next scheduled fetch ends it, and no token under it passes again', async () => {
  await using stage = await openStage({
    limits: { jwksRefreshSeconds: 10 },
    before: (issuer) => issuer.publish([OLD, NEW]),
  })
  expect(await stage.ask(OLD)).toBe('allow')
  const before = stage.issuer.askedAt.length
  stage.issuer.publish([NEW])
  // Nothing asks us to fetch: every question is under a key that we have.
  await until('a scheduled fetch', () => stage.issuer.askedAt.length > before || undefined, {
    withinMs: 30_000,
  })
  await stage.becomes(OLD, 'kid_unknown')
  for (let i = 0; i < 20; i++) expect(await stage.ask(OLD)).toBe('kid_unknown')
  expect(await stage.ask(NEW)).toBe('allow')
  await stage.sound()
})

test('fault C11: a flood of kids that nobody has: known keys go on, one fetch in half a second, memory bounded', async () => {
  // Overload as by default.
  await using stage = await openStage({ limits: { eventLoopLagMs: 250 } })
  expect(await stage.ask(OLD)).toBe('allow')
  const rss = stage.sidecar.rssBytes()
  const before = stage.issuer.askedAt.length
  const startedAt = performance.now()
  const junk = constant(Buffer.alloc(256))
  const payload = forge({ key: OLD })
  const flooding = flood(stage.sidecar.unix, {
    forMs: 6_000,
    perSecond: 3_000,
    token: (serial) => forge({ key: OLD, header: { kid: `junk-${serial}` }, sign: junk }),
  })
  const known: string[] = []
  const ended = flooding.then(() => true)
  while (!(await Promise.race([ended, new Promise<false>((resolve) => setTimeout(resolve, 20, false))])))
    known.push(await stage.ask(payload))
  const { verdicts } = await flooding
  expect(verdicts.get('allow')).toBeUndefined()
  expect(
    [...verdicts.keys()].filter(
      (one) => !['kid_unknown', 'jwks_unavailable', 'overloaded', 'deadline'].includes(one),
    ),
  ).toEqual([])
  // What is shed for overload is shed of everybody alike; nobody with a known key waits for a fetch or is told of keys.
  expect(known.filter((one) => one !== 'allow' && one !== 'overloaded')).toEqual([])
  expect(known.filter((one) => one === 'allow').length).toBeGreaterThan(0)
  const elapsed = performance.now() - startedAt
  expect(stage.issuer.askedAt.length - before).toBeLessThanOrEqual(1 + elapsed / MISS_LIMITS.spacingMs)
  expect(stage.issuer.askedAt.length - before).toBeGreaterThan(1)
  expect(stage.sidecar.rssBytes() - rss).toBeLessThan(RSS_BYTES)
  await stage.becomes(OLD, 'allow')
  await stage.sound()
})

describe('fault C18: the issuer swaps the algorithm of its key', () => {
  const secrets = publicSecrets(OLD)
  test.each(['HS256', 'none', 'PS256', 'ES256', 'RS384'])(
    'to %s: the configured algorithms stay the only ones',
    async (alg) => {
      await using stage = await openStage()
      stage.issuer.say(JSON.stringify(jwksOf([OLD], { alg })))
      // Causes a fetch of the changed set.
      expect(await stage.ask(NEW)).not.toBe('allow')
      for (const secret of Object.values(secrets)) {
        const forged = forge({ key: OLD, header: { alg: 'HS256' }, sign: hmacSigner(secret) })
        expect(await stage.ask(forged)).toBe('alg_not_allowed')
      }
      expect(await stage.ask(forge({ key: OLD, header: { alg } }))).not.toBe('allow')
      expect(await stage.ask(forge({ key: relabelled(OLD, { alg: 'PS256' }) }))).not.toBe('allow')
      // The set was of no use and replaced nothing.
      expect(await stage.ask(OLD)).toBe('allow')
      await stage.sound()
    },
  )
})
