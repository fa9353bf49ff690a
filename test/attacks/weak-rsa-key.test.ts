import { generateKeyPairSync, hash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type Algorithm, parseJwks } from '../../contracts/jwks.ts'
import { type Jwk, type SigningKey, signingKey } from '../fixtures/keys.ts'
import { constant, type Forge } from '../fixtures/tokens.ts'
import { AT_S, openArena, tokenOf } from './arena.ts'

const good = signingKey()
const GOOD_E = 'AQAB'

const b64 = (value: bigint) => {
  const hex = value.toString(16)
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url')
}
const modulus = (bits: number, low = 1n) => (1n << BigInt(bits - 1)) + (1n << BigInt(bits - 2)) + low
const rsaJwk = (n: unknown, e: unknown = GOOD_E): Jwk => ({
  kty: 'RSA',
  kid: 'weak',
  alg: 'RS256',
  use: 'sig',
  n,
  e,
})

// CVE-2017-15361: a modulus that is a power of 65537 modulo the product of the first primes.
function rocaModulus(): bigint {
  const primes = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109,
  ]
  const product = [...primes, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167].reduce(
    (all, prime) => all * BigInt(prime),
    1n,
  )
  const residue = Array.from({ length: 29 }).reduce<bigint>((power) => (power * 65537n) % product, 1n)
  return residue + product * ((modulus(2048) - residue) / product + 1n)
}
const n = BigInt(`0x${Buffer.from(String(good.jwk['n']), 'base64url').toString('hex')}`)

const WEAK: readonly (readonly [name: string, jwk: Jwk])[] = [
  ['an exponent of 1', rsaJwk(good.jwk['n'], b64(1n))],
  ['an exponent of 3', rsaJwk(good.jwk['n'], b64(3n))],
  ['an exponent of 17', rsaJwk(good.jwk['n'], b64(17n))],
  ['an exponent of 65535', rsaJwk(good.jwk['n'], b64(65535n))],
  ['an even exponent', rsaJwk(good.jwk['n'], b64(65538n))],
  ['an exponent of zero', rsaJwk(good.jwk['n'], b64(0n))],
  ['an exponent of 33 bits', rsaJwk(good.jwk['n'], b64((1n << 32n) + 1n))],
  ['an exponent as large as the modulus', rsaJwk(good.jwk['n'], b64(n - 2n))],
  ['an exponent with padding', rsaJwk(good.jwk['n'], 'AQAB====')],
  ['an exponent that is a number', rsaJwk(good.jwk['n'], 65537)],
  ['no exponent', { ...rsaJwk(good.jwk['n']), e: undefined }],
  ['the ROCA fingerprint', rsaJwk(b64(rocaModulus()))],
  ['a modulus of 512 bits', rsaJwk(b64(modulus(512)))],
  ['a modulus of 1024 bits', rsaJwk(b64(modulus(1024)))],
  ['a modulus of 2047 bits', rsaJwk(b64(modulus(2047)))],
  [
    'a modulus of 2047 bits behind a zero byte',
    rsaJwk(
      Buffer.concat([Buffer.alloc(1), Buffer.from(b64(modulus(2047)), 'base64url')]).toString('base64url'),
    ),
  ],
  ['a modulus of 8193 bits', rsaJwk(b64(modulus(8193)))],
  ['an even modulus', rsaJwk(b64(modulus(2048, 2n)))],
  ['no modulus', rsaJwk(undefined)],
  ['an empty modulus', rsaJwk('')],
  ['a modulus in plain base64', rsaJwk(Buffer.from(String(good.jwk['n']), 'base64url').toString('base64'))],
]

describe('attack 37: J19: an RSA key too weak to believe', () => {
  test.each(WEAK)('a key with %s is refused at the door, and its tokens with it', async (_, jwk) => {
    const document = JSON.stringify({ keys: [jwk, good.jwk] })
    const parsed = parseJwks(Buffer.from(document), new Set<Algorithm>(['RS256']))
    expect(parsed).toMatchObject({
      ok: true,
      keys: [{ kid: good.kid }],
      refused: [{ kid: 'weak', weak: true }],
    })
    const arena = await openArena({ issuers: [{ document }] })
    expect(await arena.verdict({ header: { kid: 'weak' } })).toBe('key_weak')
    expect(await arena.verdict({})).toBe('allow')
  })

  test('with an exponent of 1 the padded digest is its own signature, and is refused', async () => {
    const document = JSON.stringify({ keys: [rsaJwk(good.jwk['n'], b64(1n))] })
    const arena = await openArena({ issuers: [{ document }] })
    expect(await arena.verdict(forgedForExponentOne())).toBe('key_weak')
  })

  test('a genuine token of a genuine key of 1024 bits is refused', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'small', alg: 'RS256' }
    const small: SigningKey = { alg: 'RS256', kid: 'small', privateKey, publicKey, jwk }
    const arena = await openArena({ issuers: [{ keys: [small, good] }] })
    expect(await arena.verdict({ key: small })).toBe('key_weak')
    expect(await arena.verdict({ key: good })).toBe('allow')
  })

  test.each([
    ['2048 bits', modulus(2048), GOOD_E],
    ['4096 bits', modulus(4096), GOOD_E],
    ['8192 bits', modulus(8192), GOOD_E],
    ['the largest exponent', modulus(2048), b64(0xffff_ffffn)],
    ['a modulus one step beside the ROCA fingerprint', rocaModulus() + 2n, GOOD_E],
  ])('a key with %s is taken', (_, size, exponent) => {
    const document = Buffer.from(JSON.stringify({ keys: [rsaJwk(b64(size), exponent)] }))
    expect(parseJwks(document, new Set<Algorithm>(['RS256']))).toMatchObject({
      ok: true,
      keys: [{ kid: 'weak' }],
      refused: [],
    })
  })
})

function forgedForExponentOne(): string {
  const info = Buffer.from('3031300d060960864801650304020105000420', 'hex')
  const wish: Forge = { at: AT_S, header: { kid: 'weak' }, claims: { jti: 'one' } }
  const [header = '', payload = ''] = tokenOf(wish).split('.')
  const digest = hash('sha256', `${header}.${payload}`, 'buffer')
  const block = Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(202, 0xff), Buffer.alloc(1), info, digest])
  return tokenOf({ ...wish, sign: constant(block) })
}
