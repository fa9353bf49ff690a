// Which key a token's header names.
import { beforeEach, expect, test } from 'vitest'
import type { KeyName } from '../../../sidecar/trust/keys.ts'
import { relabelled, signingKey } from '../../fixtures/keys.ts'
import type { Stated } from './beliefs.ts'
import { AT, type KeyWorld, NEW, OLD, OTHER_ISSUER, openKeyWorld } from './key-world.ts'

let world: KeyWorld

beforeEach(async () => {
  world = await openKeyWorld()
})

test('a known kid is answered at once, from memory, and counted as a hit', () => {
  const answer = world.keys.find(world.issuer(), { kid: 'old', algorithm: 'RS256' }, AT, () => {
    throw new Error('nobody waits')
  })
  expect(answer instanceof Promise).toBe(false)
  expect(world.keys.counts).toEqual({ hits: 1, misses: 0 })
  expect(world.fetches).toEqual([])
})

test('J11, 001-11: a key is found for its own issuer only', async () => {
  expect(await world.ask('old', { issuer: OTHER_ISSUER })).not.toBe('key old')
})

test.each([
  ['with keys', 'kid_unknown', [OLD]],
  ['without keys', 'jwks_unavailable', []],
])('a set %s that cannot be refreshed is the whole truth: %s', async (_what, want, known) => {
  await world.trust.state({ keys: known, refreshable: false })
  expect(await world.ask('nobody')).toBe(want)
  expect(world.fetches).toEqual([])
})

test.each([
  [-1, 'key old'],
  [0, 'jwks_unavailable'],
  [1, 'jwks_unavailable'],
])('a key asked for %i ms from the end of its set: %s', async (after, want) => {
  await world.trust.state({ keys: [OLD], notAfterMs: AT })
  expect(await world.ask('old', { at: AT + after })).toBe(want)
})

test('a set that has gone stale is renewed by whoever asks for a new kid', async () => {
  await world.trust.state({ keys: [OLD], notAfterMs: AT })
  world.script(() => [OLD, NEW])
  expect(await world.ask('new', { at: AT })).toBe('key new')
  expect(await world.ask('old', { at: AT })).toBe('key old')
})

const TWIN = signingKey('RS256', 'twin')
const ES_TWIN = signingKey('ES256', 'twin')
const SAME_AGAIN = relabelled(signingKey('RS256', 'spare'), { kid: 'twin' })

test.each<readonly [what: string, stated: Stated, name: KeyName, want: string]>([
  ['the algorithm of the key', { keys: [OLD] }, { kid: 'old', algorithm: 'RS256' }, 'key old'],
  ['another algorithm', { keys: [OLD] }, { kid: 'old', algorithm: 'ES256' }, 'alg_key_mismatch'],
  [
    'Z7: one of two keys under a kid, by algorithm',
    { keys: [TWIN, ES_TWIN] },
    { kid: 'twin', algorithm: 'ES256' },
    'key twin',
  ],
  [
    'none of two keys under a kid',
    { keys: [TWIN, ES_TWIN] },
    { kid: 'twin', algorithm: 'PS256' },
    'alg_key_mismatch',
  ],
  [
    'Z7: two keys under one kid and algorithm',
    { keys: [TWIN, SAME_AGAIN] },
    { kid: 'twin', algorithm: 'RS256' },
    'kid_ambiguous',
  ],
  [
    'one of three keys under a kid',
    { keys: [TWIN, SAME_AGAIN, ES_TWIN] },
    { kid: 'twin', algorithm: 'ES256' },
    'key twin',
  ],
  [
    'a kid in another case',
    { keys: [OLD], refreshable: false },
    { kid: 'OLD', algorithm: 'RS256' },
    'kid_unknown',
  ],
  [
    'a name that objects have',
    { keys: [OLD], refreshable: false },
    { kid: 'constructor', algorithm: 'RS256' },
    'kid_unknown',
  ],
])('%s', async (_what, stated, { kid, algorithm }, want) => {
  await world.trust.state(stated)
  expect(await world.ask(kid, { algorithm })).toBe(want)
  expect(world.fetches).toEqual([])
})

test('a kid whose key was published too weak is key_weak, and no fetch is spent on it', async () => {
  const weak = { ...OLD.jwk, kid: 'weak', e: 'Aw' }
  await world.trust.state({ document: Buffer.from(JSON.stringify({ keys: [OLD.jwk, weak] })) })
  expect(await world.ask('weak')).toBe('key_weak')
  expect(world.fetches).toEqual([])
})
