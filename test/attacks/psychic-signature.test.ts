import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { constant } from '../fixtures/tokens.ts'
import { type Attack, admits, openArena, refuses, trusting } from './arena.ts'
import { CURVE, CURVE_ALGS, octets, pair } from './curves.ts'

const curves = CURVE_ALGS.map((alg) => signingKey(alg))
const rsa = signingKey('RS256')
const pss = signingKey('PS256')
const ed = signingKey('Ed25519')
const arena = await openArena(trusting(...curves, rsa, pss, ed))

const psychic = CURVE_ALGS.flatMap((alg): readonly Attack[] => {
  const { order, bytes } = CURVE[alg]
  const most = (1n << BigInt(8 * bytes)) - 1n
  const pairs: readonly (readonly [name: string, r: bigint, s: bigint])[] = [
    ['r = s = 0', 0n, 0n],
    ['r = 0, s = 1', 0n, 1n],
    ['r = 1, s = 0', 1n, 0n],
    ['r = s = 1', 1n, 1n],
    ['r = s = n', order, order],
    ['r = n, s = 0', order, 0n],
    ['r = 0, s = n', 0n, order],
    ['r = 1, s = n', 1n, order],
    ['r = n, s = 1', order, 1n],
    ['r = s = n - 1', order - 1n, order - 1n],
    ['r = n + 1, s = 1', order + 1n, 1n],
    ['r and s as large as they can be', most, most],
  ]
  return pairs.map(([name, r, s]) => [
    `${alg} with ${name}`,
    { key: signingKey(alg), sign: constant(pair(alg, r, s)) },
    'sig_invalid',
  ])
})
const ORDER_25519 = (1n << 252n) + 27742317777372353535851937790883648493n

describe('attack 34: 001-09: signatures that are genuine by arithmetic (CVE-2022-21449)', () => {
  refuses(arena, psychic)
  refuses(arena, [
    ['Ed25519 with zeros', { key: ed, sign: constant(Buffer.alloc(64)) }, 'sig_invalid'],
    [
      'Ed25519 with R the neutral point and S zero',
      { key: ed, sign: constant(Buffer.concat([Buffer.from([1]), Buffer.alloc(63)])) },
      'sig_invalid',
    ],
    [
      'Ed25519 with S the group order',
      { key: ed, sign: constant(Buffer.concat([Buffer.alloc(32), octets(ORDER_25519, 32).reverse()])) },
      'sig_invalid',
    ],
    ['RS256 with zeros', { key: rsa, sign: constant(Buffer.alloc(256)) }, 'sig_invalid'],
    ['RS256 with one', { key: rsa, sign: constant(octets(1n, 256)) }, 'sig_invalid'],
    ['RS256 with the largest number', { key: rsa, sign: constant(Buffer.alloc(256, 0xff)) }, 'sig_invalid'],
    [
      'RS256 with the modulus',
      { key: rsa, sign: constant(Buffer.from(String(rsa.jwk['n']), 'base64url')) },
      'sig_invalid',
    ],
    ['PS256 with zeros', { key: pss, sign: constant(Buffer.alloc(256)) }, 'sig_invalid'],
  ])
  admits(
    arena,
    [rsa, pss, ed, ...curves].map((key) => [`${key.alg} by its key`, { key }]),
  )
})
