import { createHash } from 'node:crypto'
import { describe } from 'vitest'
import { hmacSigner, publicSecrets } from '../fixtures/keys.ts'
import { bareJwk, CLIENT_KEY } from '../fixtures/proofs.ts'
import { constant, unsigned } from '../fixtures/tokens.ts'
import { type Call, judgesProofs, openDpopArena, type ProofAttack } from './dpop-arena.ts'

const arena = await openDpopArena()
const jwk = bareJwk(CLIENT_KEY)
const privateJwk = CLIENT_KEY.privateKey.export({ format: 'jwk' })
const oct = { kty: 'oct', k: Buffer.alloc(32, 1).toString('base64url') }
const octJkt = createHash('sha256')
  .update(JSON.stringify({ k: oct.k, kty: 'oct' }))
  .digest('base64url')
const header = (members: object, sign?: (input: Buffer) => Buffer): Call => ({
  proof: { header: { ...members }, ...(sign && { sign }) },
})
const ALGS = [
  'none',
  'None',
  'NONE',
  'HS256',
  'HS384',
  'HS512',
  'RS1',
  'RS1024',
  'ES256K',
  'ES224',
  'A128KW',
  'dir',
  'ML-DSA-44',
  'EdDSA2',
  '',
]

describe('attack 60: a proof whose algorithm or key proves nothing', () => {
  judgesProofs(
    arena,
    ALGS.map((alg): ProofAttack => [`attack 60: alg ${JSON.stringify(alg)}`, header({ alg }), 'dpop_alg']),
  )
  judgesProofs(
    arena,
    Object.entries(publicSecrets(CLIENT_KEY)).map(
      ([name, secret]): ProofAttack => [
        `attack 60: HS256 keyed with ${name}`,
        header({ alg: 'HS256' }, hmacSigner(secret)),
        'dpop_alg',
      ],
    ),
  )
  judgesProofs(arena, [
    ['attack 60: none, unsigned', header({ alg: 'none' }, unsigned), 'dpop_alg'],
    ['attack 60: signed with zeros', header({}, constant(Buffer.alloc(64))), 'dpop_sig'],
    ['attack 60: the private key shown', header({ jwk: privateJwk }), 'dpop_jwk'],
    ['attack 60: the private key shown, empty', header({ jwk: { ...jwk, d: '' } }), 'dpop_jwk'],
    ['attack 60: an RSA prime shown beside a curve', header({ jwk: { ...jwk, p: 'AA' } }), 'dpop_jwk'],
    ['attack 60: a symmetric member beside a curve', header({ jwk: { ...jwk, k: 'AA' } }), 'dpop_jwk'],
    [
      'attack 60: a symmetric key that the token is even bound to',
      {
        token: { claims: { cnf: { jkt: octJkt } } },
        ...header({ alg: 'HS256', jwk: oct }, hmacSigner(Buffer.from(oct.k, 'base64url'))),
      },
      'dpop_alg',
    ],
    ['attack 60: a symmetric key under an algorithm of curves', header({ jwk: oct }), 'dpop_jwk'],
    ['attack 60: no key', header({ jwk: undefined }), 'dpop_jwk'],
    ['attack 60: a key by name only', header({ jwk: undefined, kid: 'client' }), 'dpop_jwk'],
    [
      'attack 60: a key by address only',
      header({ jwk: undefined, jku: 'https://evil.example/jwks' }),
      'dpop_malformed',
    ],
    ['attack 60: a public key and its own signature', header({ jwk }), 'allow'],
  ])
})
