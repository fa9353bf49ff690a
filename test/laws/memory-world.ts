import { parseJwks, type VerificationKey } from '../../contracts/jwks.ts'
import { denied } from '../../sidecar/decision.ts'
import { NOTHING_EXPECTED } from '../../sidecar/token/evidence.ts'
import { type LookupResult, rememberTokens } from '../../sidecar/token/memory.ts'
import { PROFILES } from '../../sidecar/token/profiles.ts'
import { createProve, forgetful, type Prove } from '../../sidecar/token/verify.ts'
import { createKeys } from '../../sidecar/trust/keys.ts'
import type { Issuer, Snapshot } from '../../sidecar/trust/snapshot.ts'
import { AT_S } from '../attacks/arena.ts'
import { openSteps } from '../attacks/steps.ts'
import { relabelled, type SigningKey, signingKey } from '../fixtures/keys.ts'
import { AUDIENCE, type Forge, forge, ISSUER, noncanonical } from '../fixtures/tokens.ts'

// A small world in which everything that decides about a token changes all the time, and two verifiers: one with a memory, one without.

const OTHER = 'https://other.test.example'
const STRANGER = 'https://stranger.test.example'
const FIRST = relabelled(signingKey('RS256', 'memory-a'), { kid: 'k1' })
const SECOND = relabelled(signingKey('RS256', 'memory-b'), { kid: 'k1' })
const SPARE = relabelled(signingKey('RS256', 'memory-c'), { kid: 'k2' })

/** Signed once: 10^5 interleavings take their tokens from here. */
export const TOKENS: readonly Buffer[] = [
  ...[FIRST, SECOND, SPARE].flatMap((key) => [
    made({ key }),
    made({ key, claims: { exp: AT_S + 45 } }),
    made({ key, claims: { exp: AT_S + 900 } }),
    made({ key, claims: { aud: OTHER } }),
    made({ key, claims: { aud: [AUDIENCE, OTHER] } }),
    made({ key, header: { typ: 'JWT' } }),
    made({ key, claims: { nbf: AT_S + 90 } }),
  ]),
  made({ key: FIRST, header: { typ: 'logout+jwt' } }),
  made({ key: FIRST, claims: { iss: STRANGER } }),
  made({ key: FIRST, claims: { aud: undefined } }),
  ...twins(),
]

// Tokens that share all but their last or their first bytes, and one in a spelling that is not canonical.
function twins(): readonly Buffer[] {
  const genuine = forge({ key: FIRST, at: AT_S, claims: { exp: AT_S + 500, jti: 'twin' } })
  const other = forge({ key: FIRST, at: AT_S, claims: { exp: AT_S + 500, jti: 'rival' } })
  const [header = '', payload = '', signature = ''] = genuine.split('.')
  const [, , foreign = ''] = other.split('.')
  return [
    genuine,
    other,
    [header, payload, foreign].join('.'),
    [header, payload, `${signature.slice(0, -4)}AAAA`].join('.'),
    [header, `${payload.slice(0, -4)}AAAA`, signature].join('.'),
    [header, payload, noncanonical(signature)].join('.'),
    `${genuine}=`,
  ].map((text) => Buffer.from(text))
}

function made(wish: Forge): Buffer {
  return Buffer.from(forge({ at: AT_S, ...wish }))
}

/** Uniform numbers from a seed (mulberry32). */
export function chanceOf(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below)
  }
}

interface Wishes {
  readonly audience: string
  readonly exclusiveAudience: boolean
  readonly maxTokenLifetimeS: number
  readonly denied: boolean
  readonly skewS: number
  readonly legacy: boolean
  readonly believed: boolean
  readonly first: VerificationKey | undefined
  readonly spare: VerificationKey | undefined
  readonly revoked: readonly string[]
  readonly notAfterS: number
}

export interface World {
  /** One random change of what is believed. */
  readonly changes: Readonly<
    Record<'reconfigure' | 'rotate' | 'revoke', (chance: (below: number) => number) => void>
  >
  /** The two verdicts about one token: with the memory and without. */
  ask(token: Buffer, atMs: number): Promise<readonly [remembered: string, anew: string]>
  /** A verifier that has seen nothing yet. */
  restart(): void
  readonly seen: Readonly<Record<LookupResult, number>>
}

export async function openWorld(entries: number): Promise<World> {
  const { trust: base } = await openSteps({ issuers: [{ keys: [FIRST], algorithms: ['RS256'] }] })
  const [issuer] = base.issuers.values()
  if (!issuer) throw new Error('nobody is believed')
  const keyRing = [FIRST, SECOND].map(imported)
  let wishes: Wishes = {
    ...{ audience: AUDIENCE, exclusiveAudience: false, maxTokenLifetimeS: 3600, denied: false, skewS: 0 },
    ...{ legacy: false, believed: true, first: keyRing[0], spare: imported(SPARE), revoked: [] },
    notAfterS: AT_S + 100_000,
  }
  let generation = 1
  let trust = snapshotOf(base, issuer, wishes, generation)
  const set = (change: Partial<Wishes>): void => {
    wishes = { ...wishes, ...change }
    generation++
    trust = snapshotOf(base, issuer, wishes, generation)
  }
  const keys = createKeys({
    ...{ refresh: async () => false, installed: () => trust, now: () => 0, inFlight: 16 },
    sleep: async () => undefined,
    lifetime: new AbortController().signal,
  })
  const seen: Record<LookupResult, number> = { hit: 0, miss: 0, negative_hit: 0, recheck_failed: 0 }
  const inFull = createProve(keys.find)
  const remembering = () =>
    rememberTokens(inFull, {
      limits: { entries, bytes: 8_388_608 },
      salt: Buffer.alloc(32, 1),
      counted: (result) => void seen[result]++,
      hit: () => undefined,
    }).prove
  const anew = forgetful(createProve(keys.find))
  let prove = remembering()
  const verdict = async (by: Prove, token: Buffer, at: number): Promise<string> => {
    const inquiry = { token, profile: PROFILES.access_token, expected: NOTHING_EXPECTED, trust, at }
    const proven = await by({ ...inquiry, signal: () => new AbortController().signal })
    return denied(proven) ? proven.reason : `${proven.kid} ${proven.claimsJson}`
  }
  return {
    seen,
    restart: () => {
      prove = remembering()
    },
    ask: async (token, at) => [await verdict(prove, token, at), await verdict(anew, token, at)],
    changes: {
      reconfigure: (chance) => set(RECONFIGURE[chance(RECONFIGURE.length)]?.(wishes) ?? {}),
      rotate: (chance) => set(rotated(wishes, keyRing, chance)),
      revoke: (chance) => set({ revoked: [[], ['k1'], ['k2'], [], []][chance(5)] ?? [] }),
    },
  }
}

const RECONFIGURE: readonly ((now: Wishes) => Partial<Wishes>)[] = [
  ({ audience }) => ({ audience: audience === AUDIENCE ? OTHER : AUDIENCE }),
  ({ exclusiveAudience }) => ({ exclusiveAudience: !exclusiveAudience }),
  ({ maxTokenLifetimeS }) => ({ maxTokenLifetimeS: maxTokenLifetimeS === 3600 ? 300 : 3600 }),
  ({ denied }) => ({ denied: !denied }),
  ({ skewS }) => ({ skewS: skewS === 0 ? 60 : 0 }),
  ({ legacy }) => ({ legacy: !legacy }),
  ({ believed }) => ({ believed: !believed }),
  ({ notAfterS }) => ({ notAfterS: notAfterS > AT_S + 5_000 ? AT_S + 100 : AT_S + 100_000 }),
]

// Another key under the same name, the same one imported again, or none.
function rotated(
  { first, spare }: Wishes,
  ring: readonly VerificationKey[],
  chance: (below: number) => number,
): Partial<Wishes> {
  const choices: readonly Partial<Wishes>[] = [
    { first: first === ring[0] ? ring[1] : ring[0] },
    { first: imported(FIRST) },
    { first: undefined },
    { spare: spare ? undefined : imported(SPARE) },
    { first: ring[0] },
  ]
  return choices[chance(choices.length)] ?? {}
}

function snapshotOf(base: Snapshot, issuer: Issuer, wishes: Wishes, generation: number): Snapshot {
  const { audience, exclusiveAudience, maxTokenLifetimeS, first, spare, skewS } = wishes
  const byKid = Map.groupBy(
    [first, spare].filter((key) => key !== undefined),
    ({ kid }) => kid,
  )
  const notAfter = wishes.notAfterS * 1000
  const keys = { ...issuer.keys, byKid, revokedKids: new Set(wishes.revoked), notAfter }
  const legacyTypUntil = wishes.legacy ? (AT_S + 200) * 1000 : 0
  const now: Issuer = { ...issuer, keys, skewS, legacyTypUntil }
  const deniedAudiences = new Set(wishes.denied ? [OTHER] : [])
  return {
    ...base,
    ...{ generation, audience, exclusiveAudience, maxTokenLifetimeS },
    tokens: { ...base.tokens, deniedAudiences },
    issuers: new Map(wishes.believed ? [[ISSUER, now]] : []),
  }
}

function imported({ jwk }: SigningKey): VerificationKey {
  const set = parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })), new Set(['RS256']))
  const [key] = set.ok ? set.keys : []
  if (!key) throw new Error('not imported')
  return key
}
