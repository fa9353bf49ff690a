import { describe } from 'vitest'
import { type Alg, hmacSigner, publicSecrets, signingKey } from '../fixtures/keys.ts'
import { type Attack, admits, openArena, refuses, trusting } from './arena.ts'

const keys = (['ES256', 'ES384', 'ES512', 'Ed25519'] as const).map((alg: Alg) => signingKey(alg))
const arena = await openArena(trusting(...keys))

const confusions: readonly Attack[] = keys.flatMap((key) =>
  Object.entries(publicSecrets(key)).map(([spelling, secret]): Attack => {
    const weapon = { key, header: { alg: 'HS256' }, sign: hmacSigner(secret) }
    return [`HS256 with the ${spelling} of an ${key.alg} key as secret`, weapon, 'alg_not_allowed']
  }),
)

describe('attack 5: 001-07: ECDSA turned into HMAC with the public point as secret', () => {
  refuses(arena, confusions)
  admits(
    arena,
    keys.map((key) => [`a token under ${key.alg}`, { key }]),
  )
})
