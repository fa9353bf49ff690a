import { constants, hash, privateEncrypt, sign } from 'node:crypto'
import { describe } from 'vitest'
import { type Signer, type SigningKey, signingKey } from '../fixtures/keys.ts'
import { type Attack, admits, openArena, refuses, trusting } from './arena.ts'

const rs256 = signingKey('RS256')
const ps256 = signingKey('PS256')
const arena = await openArena(trusting(rs256, ps256))

const SHA256 = Buffer.from('3031300d060960864801650304020105000420', 'hex')
const SHA256_WITHOUT_NULL = Buffer.from('302f300b0609608648016503040201 0420'.replace(' ', ''), 'hex')
const SHA512 = Buffer.from('3051300d060960864801650304020305000440', 'hex')
const SHA1 = Buffer.from('3021300906052b0e03021a05000414', 'hex')
const SHA256_LONG_LENGTH = Buffer.from('308131300d060960864801650304020105000420', 'hex')
const SIZE = 256

// The private key on bytes of our choice: what a forger with e = 3 could reach and a lax verifier would take.
const raw =
  (block: (digest: Buffer) => Buffer): Signer =>
  (input) =>
    privateEncrypt(
      { key: rs256.privateKey, padding: constants.RSA_NO_PADDING },
      block(hash('sha256', input, 'buffer')),
    )
const padded = (info: Buffer, { type = 1, fill = 0xff, first = 0, tail = Buffer.alloc(0) } = {}) =>
  Buffer.concat([
    Buffer.from([first, type]),
    Buffer.alloc(SIZE - 3 - info.length - tail.length, fill),
    Buffer.from([0]),
    info,
    tail,
  ])
const short = (info: Buffer) => {
  const head = Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(8, 0xff), Buffer.from([0]), info])
  return Buffer.concat([head, Buffer.alloc(SIZE - head.length, 0xab)])
}
const of = (prefix: Buffer) => (digest: Buffer) => Buffer.concat([prefix, digest])
const info = of(SHA256)

const BLOCKS: readonly (readonly [name: string, block: (digest: Buffer) => Buffer])[] = [
  ['garbage behind the digest', (digest) => short(info(digest))],
  ['zeros behind the digest', (digest) => padded(info(digest), { tail: Buffer.alloc(20) })],
  ['one byte behind the digest', (digest) => padded(info(digest), { tail: Buffer.from([7]) })],
  ['no digest info', (digest) => padded(digest)],
  ['digest info without NULL', (digest) => padded(of(SHA256_WITHOUT_NULL)(digest))],
  ['a length of two bytes', (digest) => padded(of(SHA256_LONG_LENGTH)(digest))],
  ['the name of SHA-1', (digest) => padded(Buffer.concat([SHA1, digest.subarray(0, 20)]))],
  ['the name of SHA-512', (digest) => padded(Buffer.concat([SHA512, digest, digest]))],
  ['block type 2', (digest) => padded(info(digest), { type: 2 })],
  ['block type 0', (digest) => padded(info(digest), { type: 0, fill: 0 })],
  ['a first byte that is not zero', (digest) => padded(info(digest), { first: 0x01 })],
  ['padding of zeros', (digest) => padded(info(digest), { fill: 0 })],
  ['padding of 0xfe', (digest) => padded(info(digest), { fill: 0xfe })],
  ['the digest of other bytes', () => padded(info(hash('sha256', 'other', 'buffer')))],
  ['the digest twice', (digest) => padded(Buffer.concat([info(digest), digest]))],
]
const pss =
  (saltLength: number, key: SigningKey): Signer =>
  (input) =>
    sign('sha256', input, { key: key.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength })

describe('attack 36: 001-09: RSA padding that only a lax verifier takes (Bleichenbacher 2006)', () => {
  refuses(
    arena,
    BLOCKS.map(([name, block]): Attack => [name, { sign: raw(block) }, 'sig_invalid']),
  )
  refuses(arena, [
    ['RS256 with PSS padding', { sign: pss(32, rs256) }, 'sig_invalid'],
    [
      'PS256 with PKCS#1 padding',
      { key: ps256, sign: (input) => sign('sha256', input, ps256.privateKey) },
      'sig_invalid',
    ],
    ['PS256 without salt', { key: ps256, sign: pss(0, ps256) }, 'sig_invalid'],
    ['PS256 with a salt of 20 bytes', { key: ps256, sign: pss(20, ps256) }, 'sig_invalid'],
    ['PS256 with the longest salt', { key: ps256, sign: pss(222, ps256) }, 'sig_invalid'],
    ['RS256 over SHA-512', { sign: (input) => sign('sha512', input, rs256.privateKey) }, 'sig_invalid'],
    ['RS256 over SHA-1', { sign: (input) => sign('sha1', input, rs256.privateKey) }, 'sig_invalid'],
  ])
  admits(arena, [
    ['the same arithmetic with the right padding', { sign: raw((digest) => padded(info(digest))) }],
    ['PS256 with a salt of 32 bytes', { key: ps256, sign: pss(32, ps256) }],
  ])
})
