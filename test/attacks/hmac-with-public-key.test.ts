import { describe, expect, test } from 'vitest'
import { type Alg, hmacSigner, publicSecrets, signingKey } from '../fixtures/keys.ts'
import { type Attack, admits, openArena, refuses, trusting } from './arena.ts'

const key = signingKey('RS256')
const arena = await openArena()
const BITS = [256, 384, 512] as const

const confusions: readonly Attack[] = BITS.flatMap((bits) =>
  Object.entries(publicSecrets(key)).map(([spelling, secret]): Attack => {
    const alg = `HS${bits}`
    return [
      `${alg} with the ${spelling} as secret`,
      { header: { alg }, sign: hmacSigner(secret, bits) },
      'alg_not_allowed',
    ]
  }),
)

describe('attack 4: 001-07, 004-16: RS256 turned into HMAC with the public key as secret', () => {
  refuses(arena, confusions)
  refuses(arena, [
    [
      'HS256 without a kid',
      { header: { alg: 'HS256', kid: undefined }, sign: hmacSigner('') },
      'alg_not_allowed',
    ],
    ['HS256 with an empty secret', { header: { alg: 'HS256' }, sign: hmacSigner('') }, 'alg_not_allowed'],
    ['hs256 in lower case', { header: { alg: 'hs256' }, sign: hmacSigner('') }, 'alg_not_allowed'],
    ['an HMAC under the name RS256', { sign: hmacSigner(publicSecrets(key)['pem'] ?? '') }, 'sig_invalid'],
  ])
  admits(arena, [['the same token under RS256', {}]])

  test.each(['HS256', 'HS384', 'HS512', 'none', 'RS1', 'ES256K', 'A256GCM'])(
    '%s cannot be configured',
    async (name) => {
      const [issuer] = trusting(key).issuers
      const installed = await arena.pipeline.install({ issuers: [{ ...issuer, algorithms: [name as Alg] }] })
      expect(installed).toMatchObject({ ok: false, problems: [expect.stringContaining('algorithms')] })
    },
  )
})
