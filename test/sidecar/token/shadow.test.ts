// NC-7: one hit of a hundred is verified again by another library; whatever it does not confirm ends the memory.
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { denied } from '../../../sidecar/decision.ts'
import { NOTHING_EXPECTED } from '../../../sidecar/token/evidence.ts'
import { type LookupResult, rememberTokens } from '../../../sidecar/token/memory.ts'
import { PROFILES } from '../../../sidecar/token/profiles.ts'
import { createShadow, SHADOW_LIMITS } from '../../../sidecar/token/shadow.ts'
import { createProve, type Inquiry, type Proof } from '../../../sidecar/token/verify.ts'
import { createKeys } from '../../../sidecar/trust/keys.ts'
import type { Snapshot } from '../../../sidecar/trust/snapshot.ts'
import { AT_S } from '../../attacks/arena.ts'
import { openSteps } from '../../attacks/steps.ts'
import { type Alg, relabelled, signingKey } from '../../fixtures/keys.ts'
import { forge, ISSUER } from '../../fixtures/tokens.ts'

const KEY = signingKey('ES256', 'shadow')

interface Watched {
  readonly ask: (token: string, trust?: Snapshot) => Promise<string>
  readonly seen: Record<LookupResult, number>
  readonly diverged: string[]
  readonly trust: Snapshot
  readonly size: () => { readonly entries: number; readonly refusals: number }
  /** Lets the samples that wait be verified. */
  readonly settle: () => Promise<void>
  readonly pauses: () => number
}

interface Plan {
  readonly alg?: Alg
  readonly chance?: number
  readonly limits?: { readonly entries: number; readonly bytes: number }
  /** What the shadow is told in place of the truth. */
  readonly lie?: (proof: Proof, inquiry: Inquiry) => readonly [Inquiry, Proof]
  readonly pause?: () => Promise<void>
}

async function openWatched({ alg = 'ES256', chance = 0, lie, limits, pause }: Plan = {}): Promise<Watched> {
  const key = alg === 'ES256' ? KEY : signingKey(alg, 'shadow')
  const algorithm = alg === 'EdDSA' ? 'Ed25519' : alg
  const { trust } = await openSteps({ issuers: [{ keys: [key], algorithms: [algorithm] }] })
  const keys = createKeys({
    ...{ refresh: async () => false, installed: () => trust, now: () => 0, inFlight: 4 },
    sleep: async () => undefined,
    lifetime: new AbortController().signal,
  })
  const seen: Record<LookupResult, number> = { hit: 0, miss: 0, negative_hit: 0, recheck_failed: 0 }
  const diverged: string[] = []
  const memory = rememberTokens(createProve(keys.find), {
    limits: limits ?? { entries: 100, bytes: 1 << 20 },
    salt: Buffer.alloc(32, 5),
    counted: (result) => void seen[result]++,
    hit: (inquiry, proof) => shadow(...(lie?.(proof, inquiry) ?? [inquiry, proof])),
  })
  let pauses = 0
  const shadow = createShadow({
    random: () => chance,
    sleep: async () => {
      pauses++
      await pause?.()
    },
    lifetime: new AbortController().signal,
    diverged: (issuer) => {
      diverged.push(issuer)
      memory.disable()
    },
  })
  return {
    seen,
    diverged,
    trust,
    size: memory.size,
    async ask(token, believed = trust) {
      const inquiry = { profile: PROFILES.access_token, expected: NOTHING_EXPECTED, trust: believed }
      const proven = await memory.prove({
        ...inquiry,
        token: Buffer.from(token),
        at: AT_S * 1000,
        signal: () => new AbortController().signal,
      })
      return denied(proven) ? proven.reason : 'verified'
    },
    settle: async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise((done) => setTimeout(done, 5))
    },
    pauses: () => pauses,
  }
}

describe('NC-7: the reference agrees with what is genuine', () => {
  test.each(['RS256', 'PS256', 'ES256', 'ES384', 'Ed25519', 'EdDSA'] as const)('under %s', async (alg) => {
    const watched = await openWatched({ alg })
    const key = alg === 'ES256' ? KEY : signingKey(alg, 'shadow')
    const tokens = [forge({ key, at: AT_S }), forge({ key, at: AT_S, claims: { name: 'Zoë \u{1f511}' } })]
    for (const token of [...tokens, ...tokens, ...tokens]) expect(await watched.ask(token)).toBe('verified')
    await watched.settle()
    expect([watched.diverged, watched.seen.hit]).toEqual([[], 4])
  })
  test('the two names of Ed25519 are one', async () => {
    const watched = await openWatched({ alg: 'EdDSA' })
    const token = forge({ key: relabelled(signingKey('EdDSA', 'shadow'), { alg: 'Ed25519' }), at: AT_S })
    for (let count = 0; count < 2; count++) expect(await watched.ask(token)).toBe('verified')
    await watched.settle()
    expect(watched.diverged).toEqual([])
  })
})

describe('NC-7: a divergence flushes what is remembered and turns it off for good', () => {
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
  const document = Buffer.from(
    JSON.stringify({ keys: [{ ...stranger, kid: KEY.kid, alg: 'ES256', use: 'sig' }] }),
  )
  const withIssuer = ({ token, ...proof }: Proof, change: object): Proof => ({
    ...proof,
    token: { ...token, issuer: { ...token.issuer, ...change } },
  })
  test.each<readonly [what: string, lie: NonNullable<Plan['lie']>]>([
    [
      'another key',
      (proof, inquiry) => [inquiry, withIssuer(proof, { keys: { ...proof.token.issuer.keys, document } })],
    ],
    [
      'a key set that is none',
      (proof, inquiry) => [
        inquiry,
        withIssuer(proof, { keys: { ...proof.token.issuer.keys, document: Buffer.from('{') } }),
      ],
    ],
    ['another issuer', (proof, inquiry) => [inquiry, withIssuer(proof, { issuer: 'https://other.example' })]],
    [
      'an algorithm that is not allowed',
      (proof, inquiry) => [inquiry, withIssuer(proof, { algorithms: new Set(['RS256']) })],
    ],
    [
      'other claims',
      (proof, inquiry) => [
        inquiry,
        { ...proof, jwt: { ...proof.jwt, claimsJson: proof.jwt.claimsJson.replace('alice', 'admin') } },
      ],
    ],
    [
      'another audience',
      (proof, inquiry) => [
        { ...inquiry, trust: { ...inquiry.trust, audience: 'https://other.example' } },
        proof,
      ],
    ],
    ['another time', (proof, inquiry) => [{ ...inquiry, at: inquiry.at + 3_600_000 }, proof]],
    ['too early a time', (proof, inquiry) => [{ ...inquiry, at: inquiry.at - 3_600_000 }, proof]],
    [
      'other bytes',
      (proof, inquiry) => [{ ...inquiry, token: Buffer.from(forge({ key: KEY, at: AT_S })) }, proof],
    ],
  ])('%s', async (_what, lie) => {
    const watched = await openWatched({ lie })
    const token = forge({ key: KEY, at: AT_S })
    for (let count = 0; count < 3; count++) expect(await watched.ask(token)).toBe('verified')
    await watched.settle()
    // Once, whatever waits behind it, and without a word of the token.
    expect(watched.diverged).toHaveLength(1)
    expect(watched.size()).toMatchObject({ entries: 0, refusals: 0 })
    const before = { ...watched.seen }
    expect(await watched.ask(token)).toBe('verified')
    expect(await watched.ask(`${token.slice(0, -8)}AAAAAAAA`)).toBe('sig_invalid')
    expect(watched.size()).toMatchObject({ entries: 0, refusals: 0 })
    expect(watched.seen).toEqual(before)
  })
})

test('those that wait are all verified after one pause', async () => {
  const held = Promise.withResolvers<void>()
  const hits = 5
  let told = 0
  const watched = await openWatched({
    pause: () => held.promise,
    // The last one is a lie.
    lie: (proof, inquiry) => [
      inquiry,
      ++told < hits ? proof : { ...proof, jwt: { ...proof.jwt, claimsJson: '{}' } },
    ],
  })
  const token = forge({ key: KEY, at: AT_S })
  for (let count = 0; count <= hits; count++) expect(await watched.ask(token)).toBe('verified')
  expect(watched.diverged).toEqual([])
  held.resolve()
  await watched.settle()
  expect([watched.diverged, watched.pauses()]).toEqual([[ISSUER], 1])
})

test('one of a hundred: chance decides, and no more wait than may', async () => {
  const never = await openWatched({ chance: SHADOW_LIMITS.share, lie: () => expect.unreachable() as never })
  const token = forge({ key: KEY, at: AT_S })
  await never.ask(token)
  const offered: unknown[] = []
  const shadow = createShadow({
    random: () => SHADOW_LIMITS.share,
    sleep: async () => void offered.push('slept'),
    lifetime: new AbortController().signal,
    diverged: () => expect.unreachable(),
  })
  shadow({} as never, { jwt: {}, token: {} } as never)
  await never.settle()
  expect(offered).toEqual([])
})

test.each([
  [0, 1 << 20],
  [100, 0],
])('nothing is remembered with %i entries and %i bytes', async (entries, bytes) => {
  const watched = await openWatched({ limits: { entries, bytes } })
  const token = forge({ key: KEY, at: AT_S })
  for (let count = 0; count < 3; count++) expect(await watched.ask(token)).toBe('verified')
  expect(watched.seen).toEqual({ hit: 0, miss: 0, negative_hit: 0, recheck_failed: 0 })
})
