// What is remembered of tokens, and what never is: NC-1 to NC-5 and NC-8 (NC-6 is a law, NC-7 has the shadow).
import { beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { type Denial, deny } from '../../../sidecar/decision.ts'
import type { KnownToken } from '../../../sidecar/token/cache.ts'
import { createTokenCache, LONGEST_KNOWN_MS } from '../../../sidecar/token/cache.ts'
import { createFingerprint, isCanonical } from '../../../sidecar/token/fingerprint.ts'
import type { LookupResult } from '../../../sidecar/token/memory.ts'
import {
  createNegativeCache,
  type KnownRefusal,
  NEGATIVE_LIMITS,
  refusalOf,
} from '../../../sidecar/token/negative.ts'
import type { ProveInFull } from '../../../sidecar/token/verify.ts'
import { AT_S, openArena, tokenOf, trusting } from '../../attacks/arena.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { question } from '../../fixtures/question.ts'
import { AUDIENCE, forge, noncanonical } from '../../fixtures/tokens.ts'

const KEY = signingKey('ES256', 'memory')
const ISSUERS = trusting(KEY)
const OTHER = 'https://other.test.example'

interface Counted {
  readonly seen: Record<LookupResult, number>
  readonly verdict: (token: string) => Promise<string>
  readonly install: (plan: object) => Promise<unknown>
}

async function openCounted(plan: object = {}): Promise<Counted> {
  const seen: Record<LookupResult, number> = { hit: 0, miss: 0, negative_hit: 0, recheck_failed: 0 }
  const { pipeline } = await openArena({ ...ISSUERS, lookedUp: (result) => void seen[result]++, ...plan })
  return { seen, verdict: (token) => pipeline.reason(question({ token })), install: pipeline.install }
}

let counted: Counted
beforeEach(async () => {
  counted = await openCounted()
})

test('NC-1: what was refused is a type of its own, that becomes a denial and nothing else', () => {
  expectTypeOf<KnownRefusal>().not.toExtend<KnownToken>()
  expectTypeOf<KnownToken>().not.toExtend<KnownRefusal>()
  expectTypeOf(refusalOf).returns.toEqualTypeOf<Denial>()
  expectTypeOf<Parameters<ProveInFull>[1]>().toEqualTypeOf<KnownToken | undefined>()
  const readAsKnown = (prove: ProveInFull, refusal: KnownRefusal) =>
    // @ts-expect-error: a refusal is nothing that a verification could begin with.
    prove({} as never, refusal)
  expect(readAsKnown).toBeTypeOf('function')
})

test('NC-1: 000-27: a remembered refusal is a refusal, for its reason', async () => {
  const token = tokenOf({ key: KEY, tamper: ([header, payload]) => [header, payload, 'AAAA'] })
  for (let count = 0; count < 3; count++) expect(await counted.verdict(token)).toBe('sig_invalid')
  expect(counted.seen).toMatchObject({ miss: 1, negative_hit: 2, hit: 0 })
})

describe('NC-2: 000-27: no audience, another audience and a denied audience are three reasons', () => {
  test('a corrected configuration forgives the first two at once, and a denied audience stays denied', async () => {
    const missing = tokenOf({ key: KEY, claims: { aud: undefined } })
    const other = tokenOf({ key: KEY, claims: { aud: OTHER } })
    const denied = tokenOf({ key: KEY, claims: { aud: [AUDIENCE, 'https://denied.example'] } })
    const ask = () => Promise.all([missing, other, denied].map(counted.verdict))
    const tokens = { deniedAudiences: ['https://denied.example'] }
    await counted.install({ tokens })
    for (let count = 0; count < 2; count++)
      expect(await ask()).toEqual(['aud_missing', 'aud_mismatch', 'aud_denied'])
    await counted.install({ audience: OTHER })
    expect(await ask()).toEqual(['aud_missing', 'allow', 'aud_denied'])
    await counted.install({ audience: AUDIENCE, tokens: { deniedAudiences: [] } })
    expect(await ask()).toEqual(['aud_missing', 'aud_mismatch', 'allow'])
  })
})

test('NC-3: what was refused as one kind is not refused as another', () => {
  const refusals = createNegativeCache()
  const fingerprint = createFingerprint(Buffer.alloc(32))(Buffer.from(forge({ key: KEY }))) ?? ''
  const as = (profile: 'access_token' | 'id_token', generation = 1) => ({ fingerprint, profile, generation })
  refusals.admit(as('id_token'), deny('typ_mismatch'), 1_000)
  expect(refusals.get(as('id_token'), 1_001)?.reason).toBe('typ_mismatch')
  expect(refusals.get(as('access_token'), 1_001)).toBeUndefined()
  expect(refusals.get(as('id_token', 2), 1_001)).toBeUndefined()
  expect(refusals.get(as('id_token', 1), 1_001)).toBeUndefined()
})

test('NC-4: a flood of refused tokens takes nothing from those that are known', async () => {
  const good = forge({ key: KEY, at: AT_S })
  expect(await counted.verdict(good)).toBe('allow')
  const [header, payload] = good.split('.')
  for (let count = 0; count < NEGATIVE_LIMITS.entries + 100; count++) {
    const junk = Buffer.alloc(64, 1)
    junk.writeUInt32BE(count)
    await counted.verdict(`${header}.${payload}.${junk.toString('base64url')}`)
  }
  const before = counted.seen.hit
  expect(await counted.verdict(good)).toBe('allow')
  expect(counted.seen.hit).toBe(before + 1)
}, 60_000)

test('NC-4: refusals are bounded, and the oldest goes first', () => {
  const refusals = createNegativeCache()
  const basis = (name: number) => ({
    fingerprint: String(name).padStart(32),
    profile: 'access_token' as const,
    generation: 1,
  })
  for (let name = 0; name <= NEGATIVE_LIMITS.entries; name++) refusals.admit(basis(name), deny('expired'), 0)
  expect(refusals.size()).toBe(NEGATIVE_LIMITS.entries)
  expect(refusals.get(basis(0), 1)).toBeUndefined()
  expect(refusals.get(basis(NEGATIVE_LIMITS.entries), 1)?.reason).toBe('expired')
})

describe('NC-5: a token in another spelling is never remembered, neither as good nor as refused', () => {
  const token = forge({ key: KEY, at: AT_S })
  const [header = '', payload = '', signature = ''] = token.split('.')
  const fingerprint = createFingerprint(Buffer.alloc(32, 3))
  test.each([
    ['unused bits set', [header, payload, noncanonical(signature)].join('.')],
    ['padding', `${token}==`],
    ['a blank', `${token} `],
    ['a line feed', `${header}.${payload}\n.${signature}`],
    ['another alphabet', token.replace(/.$/, '+')],
    ['a fourth segment', `${token}.e30`],
    ['two segments', `${header}.${payload}`],
    ['an empty segment', `${header}..${signature}`],
    ['more than 8 KiB', `${header}.${payload}.${'A'.repeat(8192)}`],
    ['nothing', ''],
  ])('%s', async (_what, text) => {
    const spelt = fingerprint(Buffer.from(text))
    expect(spelt === undefined || spelt !== fingerprint(Buffer.from(token))).toBe(true)
    expect(await counted.verdict(token)).toBe('allow')
    const before = { ...counted.seen }
    for (let count = 0; count < 2; count++) expect(await counted.verdict(text)).not.toBe('allow')
    expect(counted.seen).toEqual(before)
    expect(isCanonical(Buffer.from(text)) && spelt !== undefined).toBe(false)
  })
  test('the one canonical spelling is, under a name that depends on the salt', () => {
    const name = fingerprint(Buffer.from(token))
    expect(name).toHaveLength(32)
    expect(createFingerprint(Buffer.alloc(32, 4))(Buffer.from(token))).not.toBe(name)
  })
})

describe('NC-8: the name of a token is all of its bytes, and nothing of it can be chosen', () => {
  test('every single bit counts', () => {
    const fingerprint = createFingerprint(Buffer.alloc(32))
    const token = Buffer.from(forge({ key: KEY, at: AT_S }))
    const names = new Set([fingerprint(token)])
    let spelt = 1
    for (let at = 0; at < token.length; at++) {
      const changed = Buffer.from(token)
      changed[at] = changed[at] === 0x41 ? 0x51 : 0x41
      const name = fingerprint(changed)
      if (name === undefined) continue
      names.add(name)
      spelt++
    }
    expect(names.size).toBe(spelt)
    expect(spelt).toBeGreaterThan(token.length - 8)
  })
})

describe('what is known is bounded and ends', () => {
  const cacheOf = (entries: number, bytes = 1 << 20) => createTokenCache({ entries, bytes })
  const jwt = (exp: number, text = '{}') =>
    ({
      header: {},
      newHeader: undefined,
      claims: { exp },
      claimsJson: text,
      signed: Buffer.from('x'),
      signature: Buffer.from('y'),
    }) as never
  const key = {} as never
  test('entries', () => {
    const cache = cacheOf(10)
    for (let name = 0; name < 100; name++) cache.admit(String(name), jwt(1_000), key, 0)
    expect(cache.size()).toBeLessThanOrEqual(10)
    expect(cache.get('99', 1)).toBeDefined()
    expect(cache.get('0', 1)).toBeUndefined()
  })
  test('bytes, and they come back', () => {
    const cache = cacheOf(1_000, 20_000)
    for (let name = 0; name < 100; name++) cache.admit(String(name), jwt(1_000, 'x'.repeat(500)), key, 0)
    expect(cache.bytes()).toBeLessThanOrEqual(20_000)
    for (let name = 0; name < 100; name++) cache.forget(String(name))
    expect([cache.size(), cache.bytes()]).toEqual([0, 0])
    cache.admit('too large', jwt(1_000, 'x'.repeat(20_000)), key, 0)
    expect(cache.size()).toBe(0)
  })
  test('whoever is asked for stays, whoever is not goes', () => {
    const cache = cacheOf(10)
    cache.admit('asked', jwt(1_000), key, 0)
    for (let name = 0; name < 100; name++) {
      cache.admit(String(name), jwt(1_000), key, 0)
      expect(cache.get('asked', 1)).toBeDefined()
    }
  })
  test('after min(exp, 300 s) it must be shown anew', () => {
    const cache = cacheOf(10)
    cache.admit('short', jwt(100), key, 0)
    cache.admit('long', jwt(100_000), key, 0)
    expect(cache.get('short', 99_999)).toBeDefined()
    expect(cache.get('short', 100_000)).toBeUndefined()
    expect(cache.get('long', LONGEST_KNOWN_MS - 1)).toBeDefined()
    expect(cache.get('long', LONGEST_KNOWN_MS)).toBeUndefined()
  })
  test('the claims are frozen to the last member, and the signed bytes are not kept', () => {
    const cache = cacheOf(10)
    cache.admit(
      't',
      { ...(jwt(1_000) as object), claims: { exp: 1_000, a: { b: [{ c: 1 }] } } } as never,
      key,
      0,
    )
    const known = cache.get('t', 1)
    expect(known?.jwt.signed.length).toBe(0)
    const { a } = (known?.jwt.claims ?? {}) as { a?: { b: object[] } }
    expect(() => Object.assign(a?.b[0] ?? {}, { c: 2 })).toThrow(TypeError)
  })
})
