// The order of a verification, and that no answer of the key search is taken on trust.
import { beforeAll, expect, test } from 'vitest'
import { parseJwks, type VerificationKey } from '../../../contracts/jwks.ts'
import { type Denial, denied, deny } from '../../../sidecar/decision.ts'
import { present } from '../../../sidecar/token/credentials.ts'
import { createProve, createVerify, type FindKey, forgetful } from '../../../sidecar/token/verify.ts'
import type { Snapshot } from '../../../sidecar/trust/snapshot.ts'
import { relabelled, type SigningKey, signingKey } from '../../fixtures/keys.ts'
import { type Forge, forge } from '../../fixtures/tokens.ts'
import { openTrust } from '../trust/beliefs.ts'
import { NOW_S } from './desk.ts'

const KEY = signingKey('RS256', 'k1')
const never = () => new AbortController().signal
let trust: Snapshot

beforeAll(async () => {
  const { store, state } = openTrust()
  await state({ keys: [KEY], algorithms: ['RS256', 'PS256', 'ES256'] })
  const installed = store.installed()
  if (!installed) throw new Error('not installed')
  trust = installed
})

type Ask = (wish?: Forge) => Promise<string>

function asking(findKey: FindKey): Ask {
  const verify = createVerify(forgetful(createProve(findKey)))
  return async (wish = {}) => {
    const value = Buffer.from(`Bearer ${forge({ key: KEY, at: NOW_S, ...wish })}`)
    const stored = { type: '', id: '', tenant: '', owner: '', attributes: {} }
    const asked = {
      method: 'GET',
      url: '/',
      action: 'x',
      stored,
      sent: {},
      peerCertificate: undefined,
      timeoutMs: 0,
    }
    const presented = present({ ...asked, headers: [{ name: 'authorization', value }] })
    if (denied(presented)) return presented.reason
    const outcome = await verify(presented, trust, NOW_S * 1000, never)
    return denied(outcome) ? outcome.reason : 'verified'
  }
}

const verdict = (findKey: FindKey, wish?: Forge) => asking(findKey)(wish)

function imported({ jwk }: SigningKey): VerificationKey {
  const set = parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })), new Set(['RS256', 'PS256', 'ES256']))
  const [key] = set.ok ? set.keys : []
  if (!key) throw new Error('not imported')
  return key
}

const known = imported(KEY)

test.each<readonly [how: string, findKey: FindKey]>([
  ['at once', () => known],
  ['after a wait', () => Promise.resolve(known)],
])('a key that is found %s verifies the token', async (_how, findKey) => {
  expect(await verdict(findKey)).toBe('verified')
})

test.each<readonly [how: string, answer: Denial]>([
  ['kid_unknown', deny('kid_unknown')],
  ['jwks_unavailable', deny('jwks_unavailable')],
])('no key is no verification: %s', async (want, answer) => {
  expect(await verdict(() => answer)).toBe(want)
  expect(await verdict(() => Promise.resolve(answer))).toBe(want)
})

test.each<readonly [what: string, key: VerificationKey]>([
  ['the same key bound to another algorithm', imported(relabelled(KEY, { alg: 'PS256' }))],
  ['the same key under another kid', imported(relabelled(KEY, { kid: 'k2' }))],
  ['a key of another type', imported(signingKey('ES256', 'k1'))],
])('%s does not verify, even if it is what the search found', async (_what, key) => {
  expect(await verdict(() => key)).toBe('alg_key_mismatch')
})

test('an algorithm of the token is verified by a key for it only', async () => {
  const pss = relabelled(KEY, { alg: 'PS256' })
  expect(await verdict(() => imported(pss), { key: pss })).toBe('verified')
  expect(await verdict(() => known, { key: pss })).toBe('alg_key_mismatch')
})

test.each<readonly [what: string, wish: Forge, want: string]>([
  ['a malformed token', { tamper: ([header, payload]) => [header, payload] }, 'token_format'],
  ['an unknown issuer', { claims: { iss: 'https://evil.example' } }, 'iss_unknown'],
  ['a wrong type', { header: { typ: 'JWT' } }, 'typ_mismatch'],
  ['a forbidden algorithm', { key: signingKey('ES384', 'k1') }, 'alg_not_allowed'],
  ['no kid', { header: { kid: undefined } }, 'kid_missing'],
])('for %s no key is searched', async (_what, wish, want) => {
  const search: FindKey = () => {
    throw new Error('searched')
  }
  expect(await verdict(search, wish)).toBe(want)
})

test('the search is told issuer, header and time, and nothing of the claims', async () => {
  const told: unknown[] = []
  await verdict((issuer, header, at) => {
    told.push(issuer === trust.issuers.get(issuer.issuer), header, at)
    return known
  })
  expect(told).toEqual([true, { algorithm: 'RS256', type: 'at+jwt', kid: 'k1' }, NOW_S * 1000])
})

test('a header that was remembered vouches for nothing: the next token under it is verified in full', async () => {
  const ask = asking(() => known)
  expect(await ask({})).toBe('verified')
  expect(await ask({ sign: () => Buffer.alloc(256, 1) })).toBe('sig_invalid')
  expect(await ask({ claims: { exp: NOW_S - 100, iat: NOW_S - 200 } })).toBe('expired')
  expect(await ask({})).toBe('verified')
})
