import { describe, expect, test } from 'vitest'
import { type Alg, jwksOf, relabelled, type SigningKey, signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses, tokenOf, trusting } from './arena.ts'

const strong = signingKey('RS512', 'strong')
const plain = signingKey('RS256', 'plain')
const p256 = signingKey('ES256', 'p256')
const ed = signingKey('Ed25519', 'ed')
const arena = await openArena({
  issuers: [
    {
      keys: [strong, plain, p256, ed],
      algorithms: ['RS256', 'RS384', 'RS512', 'PS256', 'PS512', 'ES256', 'ES384', 'Ed25519'],
    },
  ],
})
const as = (key: SigningKey, alg: Alg) => ({ key: relabelled(key, { alg }) })

describe('attack 6: J5, 001-08: a key made to serve another algorithm than its own', () => {
  refuses(arena, [
    ['RS256 by an RS512 key', as(strong, 'RS256'), 'alg_key_mismatch'],
    ['RS384 by an RS512 key', as(strong, 'RS384'), 'alg_key_mismatch'],
    ['PS512 by an RS512 key', as(strong, 'PS512'), 'alg_key_mismatch'],
    ['PS256 by an RS256 key', as(plain, 'PS256'), 'alg_key_mismatch'],
    ['RS512 by an RS256 key', as(plain, 'RS512'), 'alg_key_mismatch'],
    ['ES384 by a P-256 key', as(p256, 'ES384'), 'alg_key_mismatch'],
    ['RS256 under the name of an EC key', { key: relabelled(plain, { kid: 'p256' }) }, 'alg_key_mismatch'],
    ['ES256 under the name of an RSA key', { key: relabelled(p256, { kid: 'plain' }) }, 'alg_key_mismatch'],
    ['ES256 under the name of an Ed25519 key', { key: relabelled(p256, { kid: 'ed' }) }, 'alg_key_mismatch'],
    [
      'RS256 by the key of another kid',
      { key: relabelled(strong, { alg: 'RS256', kid: 'plain' }) },
      'sig_invalid',
    ],
    [
      'RS512 in the header over an RS256 signature',
      { key: plain, header: { alg: 'RS512' } },
      'alg_key_mismatch',
    ],
  ])
  admits(arena, [
    ['RS512 by the RS512 key', { key: strong }],
    ['RS256 by the RS256 key', { key: plain }],
    ['ES256 by the P-256 key', { key: p256 }],
    ['Ed25519 by its key', { key: ed }],
    ['Ed25519 under its older name EdDSA', { key: ed, header: { alg: 'EdDSA' } }],
  ])

  test('an algorithm that nobody configured is refused before any key is looked up', async () => {
    const narrow = await openArena(trusting(plain))
    expect(await narrow.verdict(as(plain, 'PS256'))).toBe('alg_not_allowed')
    expect(await narrow.verdict({ key: p256 })).toBe('alg_not_allowed')
    expect(await narrow.verdict({ key: plain })).toBe('allow')
  })

  test('a key without "alg" serves nobody while two algorithms would fit it', async () => {
    const { keys } = jwksOf([plain], { alg: undefined })
    const document = JSON.stringify({ keys: [...keys, p256.jwk] })
    const both = await openArena({ issuers: [{ document, algorithms: ['RS256', 'PS256', 'ES256'] }] })
    expect(await both.verdict({ key: plain })).toBe('kid_unknown')
    expect(await both.verdict(as(plain, 'PS256'))).toBe('kid_unknown')
    expect(await both.verdict({ key: p256 })).toBe('allow')
    const one = await openArena({ issuers: [{ document, algorithms: ['PS256', 'ES256'] }] })
    expect(await one.verdict({ key: plain })).toBe('alg_not_allowed')
    expect(await one.verdict(as(plain, 'PS256'))).toBe('allow')
  })

  test('two keys under one kid are told apart by algorithm, or both refused', async () => {
    const shared = [relabelled(plain, { kid: 'k' }), relabelled(p256, { kid: 'k' })]
    const apart = await openArena(trusting(...shared))
    for (const key of shared) expect(await apart.verdict({ key })).toBe('allow')
    const twins = [relabelled(plain, { kid: 'k' }), relabelled(signingKey('RS256', 'twin'), { kid: 'k' })]
    const ambiguous = await openArena(trusting(...twins))
    for (const key of twins) expect(await ambiguous.verdict(tokenOf({ key }))).toBe('kid_ambiguous')
  })
})
