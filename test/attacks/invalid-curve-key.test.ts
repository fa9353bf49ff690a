import { describe, expect, test } from 'vitest'
import { type Algorithm, parseJwks } from '../../contracts/jwks.ts'
import { type Jwk, signingKey } from '../fixtures/keys.ts'
import { openArena } from './arena.ts'

const p256 = signingKey('ES256', 'p256').jwk
const p384 = signingKey('ES384', 'p384').jwk
const ed = signingKey('Ed25519', 'ed').jwk
const good = signingKey('ES256', 'good')
const ALGORITHMS: readonly Algorithm[] = ['ES256', 'ES384', 'Ed25519']

const bytesOf = (member: unknown) => Buffer.from(String(member), 'base64url')
const text = (bytes: Buffer) => bytes.toString('base64url')
const flipped = (member: unknown) => {
  const bytes = bytesOf(member)
  bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20)
  return text(bytes)
}
const bad = (jwk: Jwk, change: Jwk): Jwk => ({ ...jwk, kid: 'bad', ...change })
const PRIME_P256 = Buffer.from('ffffffff00000001000000000000000000000000ffffffffffffffffffffffff', 'hex')

const WEAK: readonly (readonly [name: string, jwk: Jwk])[] = [
  ['a point beside the curve', bad(p256, { y: flipped(p256['y']) })],
  ['another point beside the curve', bad(p256, { x: flipped(p256['x']) })],
  ['the point (0, 0)', bad(p256, { x: text(Buffer.alloc(32)), y: text(Buffer.alloc(32)) })],
  ['a coordinate that is the prime', bad(p256, { x: text(PRIME_P256), y: text(Buffer.alloc(32)) })],
  ['a coordinate one byte short', bad(p256, { x: text(bytesOf(p256['x']).subarray(1)) })],
  [
    'a coordinate one byte long',
    bad(p256, { x: text(Buffer.concat([Buffer.alloc(1), bytesOf(p256['x'])])) }),
  ],
  ['coordinates of P-384 under the name P-256', bad(p384, { crv: 'P-256', alg: 'ES256' })],
  ['coordinates of P-256 under the name P-384', bad(p256, { crv: 'P-384', alg: 'ES384' })],
  ['padding in a coordinate', bad(p256, { x: `${p256['x']}=` })],
  ['a coordinate that is a list', bad(p256, { x: [p256['x']] })],
  ['no y', bad(p256, { y: undefined })],
  ['an empty x', bad(p256, { x: '' })],
  ['x and y swapped', bad(p256, { x: p256['y'], y: p256['x'] })],
  ['an Ed25519 x of 31 bytes', bad(ed, { x: text(bytesOf(ed['x']).subarray(1)) })],
  ['an Ed25519 x of 33 bytes', bad(ed, { x: text(Buffer.concat([bytesOf(ed['x']), Buffer.alloc(1)])) })],
  ['an algorithm of another curve', bad(p384, { alg: 'ES256' })],
  ['an algorithm of another curve, the other way round', bad(p256, { alg: 'ES384' })],
]
const UNFIT: readonly (readonly [name: string, jwk: Jwk])[] = [
  ['a curve that nobody configured', bad(p256, { crv: 'secp256k1', alg: undefined })],
  ['a curve that does not exist', bad(p256, { crv: 'P-257', alg: undefined })],
  ['a curve in lower case', bad(p256, { crv: 'p-256', alg: undefined })],
  ['the curve of an agreement key', bad(ed, { crv: 'X25519', alg: undefined })],
  ['the purpose of encryption', bad(p256, { use: 'enc' })],
  ['operations without verify', bad(p256, { use: undefined, key_ops: ['deriveBits'] })],
  ['operations that are text', bad(p256, { use: undefined, key_ops: 'verify' })],
]

async function arenaWith(jwk: Jwk) {
  return openArena({
    issuers: [{ document: JSON.stringify({ keys: [jwk, good.jwk] }), algorithms: ALGORITHMS }],
  })
}

describe('attack 38: J19: a key that is not a point of its curve', () => {
  test.each(WEAK)('a key with %s is refused at the door as weak', async (_, jwk) => {
    const parsed = parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })), new Set(ALGORITHMS))
    expect(parsed).toMatchObject({ ok: true, keys: [], refused: [{ kid: 'bad', weak: true }] })
    const arena = await arenaWith(jwk)
    expect(await arena.verdict({ key: signingKey('ES256', 'p256'), header: { kid: 'bad' } })).toBe('key_weak')
    expect(await arena.verdict({ key: good })).toBe('allow')
  })

  test.each(UNFIT)('a key with %s is left out', async (_, jwk) => {
    const parsed = parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })), new Set(ALGORITHMS))
    expect(parsed).toMatchObject({ ok: true, keys: [], refused: [{ kid: 'bad', weak: false }] })
    const arena = await arenaWith(jwk)
    expect(await arena.verdict({ key: signingKey('ES256', 'p256'), header: { kid: 'bad' } })).toBe(
      'kid_unknown',
    )
    expect(await arena.verdict({ key: good })).toBe('allow')
  })

  test.each([
    ['as published', {}],
    ['without "use"', { use: undefined }],
    ['with key_ops verify', { use: undefined, key_ops: ['sign', 'verify'] }],
    ['with members nobody knows', { x5t: 'AAAA', ext: true, custom: {} }],
    ['with Ed25519 under its older name', { ...ed, kid: 'ed', alg: 'EdDSA' }],
  ])('a sound key %s is taken', (_, change) => {
    const document = Buffer.from(JSON.stringify({ keys: [{ ...p256, ...change }] }))
    expect(parseJwks(document, new Set(ALGORITHMS))).toMatchObject({ ok: true, keys: [{}], refused: [] })
  })
})
