import { describe, expect, test } from 'vitest'
import { ALGORITHMS, type Algorithm, parseJwks } from '../../contracts/jwks.ts'
import { type Jwk, signingKey } from '../fixtures/keys.ts'
import { openArena } from './arena.ts'

const good = signingKey()
const EVERY = new Set(Object.keys(ALGORITHMS) as Algorithm[])
const exported = (alg: 'RS256' | 'ES256' | 'Ed25519'): Jwk => {
  const key = signingKey(alg, 'leaked')
  return { ...key.privateKey.export({ format: 'jwk' }), kid: 'leaked', alg, use: 'sig' }
}
const LEAKS: readonly (readonly [name: string, jwk: Jwk])[] = [
  ['a private RSA key', exported('RS256')],
  ['a private EC key', exported('ES256')],
  ['a private Ed25519 key', exported('Ed25519')],
  ['a symmetric key', { kty: 'oct', k: 'c2VjcmV0', kid: 'leaked', alg: 'HS256' }],
  ['a symmetric key without its value', { kty: 'oct', kid: 'leaked' }],
  ['a symmetric value on an RSA key', { ...good.jwk, kid: 'leaked', k: 'c2VjcmV0' }],
  ['a private key for encryption', { ...exported('RS256'), use: 'enc', alg: 'RSA-OAEP' }],
  ['a private key without kid', { ...exported('ES256'), kid: undefined }],
  [
    'a private key of a type nobody knows',
    { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AA', priv: 'AA', kid: 'leaked' },
  ],
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'].map(
    (member) => [`only "${member}"`, { ...good.jwk, kid: 'leaked', [member]: 'AQ' }] as const,
  ),
  ['"d" null', { ...good.jwk, kid: 'leaked', d: null }],
]

describe('attack 39: J19: a secret among published keys', () => {
  test.each(LEAKS)('%s refuses the whole set, in any place of it', (_, jwk) => {
    for (const keys of [[jwk], [jwk, good.jwk], [good.jwk, jwk]]) {
      const parsed = parseJwks(Buffer.from(JSON.stringify({ keys })), EVERY)
      expect(parsed).toEqual({
        ok: false,
        leaked: true,
        why: expect.stringContaining('withdraw it and rotate'),
      })
      expect(JSON.stringify(parsed)).not.toContain(String(jwk['d'] ?? jwk['k'] ?? 'nothing secret'))
    }
  })

  test.each(LEAKS)('%s leaves what was believed before untouched', async (_, jwk) => {
    const arena = await openArena()
    const installed = await arena.pipeline.install({
      issuers: [{ document: JSON.stringify({ keys: [good.jwk, jwk] }) }],
    })
    expect(installed).toMatchObject({
      ok: false,
      problems: [expect.stringContaining('issuers[0].keys.jwks')],
    })
    expect(await arena.verdict({})).toBe('allow')
    expect(await arena.verdict({ key: signingKey('RS256', 'leaked') })).toBe('kid_unknown')
  })

  test('a set of public keys of many kinds is taken', async () => {
    const keys = [
      good.jwk,
      signingKey('ES256').jwk,
      { ...good.jwk, kid: 'enc', use: 'enc' },
      { kty: 'AKP', kid: 'pq', pub: 'AA' },
    ]
    const arena = await openArena({ issuers: [{ document: JSON.stringify({ keys }) }] })
    expect(await arena.verdict({})).toBe('allow')
  })
})
