import { describe } from 'vitest'
import { derSigner, type Signer, type SigningKey, signerOf, signingKey } from '../fixtures/keys.ts'
import { type Attack, admits, openArena, refuses, trusting } from './arena.ts'
import { CURVE_ALGS } from './curves.ts'

const curves = CURVE_ALGS.map((alg) => signingKey(alg))
const others = [signingKey('RS256'), signingKey('PS256'), signingKey('Ed25519')]
const keys = [...curves, ...others]
const arena = await openArena(trusting(...keys))

const changed =
  (key: SigningKey, change: (signature: Buffer) => Buffer): Signer =>
  (input) =>
    change(signerOf(key)(input))
const zero = Buffer.alloc(1)
const CHANGES: readonly (readonly [name: string, change: (signature: Buffer) => Buffer])[] = [
  ['one byte short', (bytes) => bytes.subarray(0, -1)],
  ['without its first byte', (bytes) => bytes.subarray(1)],
  ['half of it', (bytes) => bytes.subarray(0, bytes.length / 2)],
  ['with a zero byte after it', (bytes) => Buffer.concat([bytes, zero])],
  ['with a zero byte before it', (bytes) => Buffer.concat([zero, bytes])],
  [
    'with a zero byte before each half',
    (bytes) =>
      Buffer.concat([zero, bytes.subarray(0, bytes.length / 2), zero, bytes.subarray(bytes.length / 2)]),
  ],
  ['twice', (bytes) => Buffer.concat([bytes, bytes])],
  ['backwards', (bytes) => Buffer.from(bytes).reverse()],
  [
    'with its halves swapped',
    (bytes) => Buffer.concat([bytes.subarray(bytes.length / 2), bytes.subarray(0, bytes.length / 2)]),
  ],
  ['as text in hexadecimal', (bytes) => Buffer.from(bytes.toString('hex'))],
  ['empty', () => Buffer.alloc(0)],
]

describe('attack 35: 001-09: a signature in another form', () => {
  refuses(
    arena,
    curves.map(
      (key): Attack => [`an ${key.alg} signature in DER`, { key, sign: derSigner(key) }, 'sig_invalid'],
    ),
  )
  refuses(
    arena,
    keys.flatMap((key) =>
      CHANGES.map(
        ([name, change]): Attack => [
          `an ${key.alg} signature ${name}`,
          { key, sign: changed(key, change) },
          'sig_invalid',
        ],
      ),
    ),
  )
  admits(
    arena,
    keys.map((key) => [`an ${key.alg} signature as it is`, { key }]),
  )
})
