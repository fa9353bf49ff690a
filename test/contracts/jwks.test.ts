import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  ALGORITHMS,
  type Algorithm,
  algorithmNamed,
  isKid,
  JWKS_LIMITS,
  parseJwks,
} from '../../contracts/jwks.ts'
import { hasRocaFingerprint } from '../../contracts/roca.ts'
import { type Alg, type Jwk, signerOf, signingKey, without } from '../fixtures/keys.ts'

const EVERY = new Set(Object.keys(ALGORITHMS).flatMap((name) => algorithmNamed(name) ?? []))
const RS = signingKey('RS256', 'rs')
const ES = signingKey('ES256', 'es')
const ED = signingKey('Ed25519', 'ed')

function parse(document: unknown, allowed: ReadonlySet<Algorithm> = EVERY) {
  const text = typeof document === 'string' || Buffer.isBuffer(document) ? document : JSON.stringify(document)
  return parseJwks(Buffer.from(text), allowed)
}

/** `usable as <alg>`, the reason against the key, or the reason against the whole set. */
function fate(jwk: Jwk, allowed?: ReadonlySet<Algorithm>): string {
  const set = parse({ keys: [jwk] }, allowed)
  if (!set.ok) return `set: ${set.why}`
  const [key] = set.keys
  return key ? `usable as ${key.algorithm}` : (set.refused[0]?.why ?? 'nothing')
}

test.each<Alg>([
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'Ed25519',
  'EdDSA',
])('a %s key verifies what it signed, and nothing else', (alg) => {
  const key = signingKey(alg, `k-${alg}`)
  const set = parse({ keys: [key.jwk] })
  const [usable] = set.ok ? set.keys : []
  if (!usable) throw new Error('not usable')
  expect(usable).toMatchObject({ kid: key.kid, algorithm: alg === 'EdDSA' ? 'Ed25519' : alg })
  expect(Object.isFrozen(usable)).toBe(true)
  const message = Buffer.from('message')
  const signature = signerOf(key)(message)
  expect(usable.verify(message, signature)).toBe(true)
  expect(usable.verify(Buffer.from('massage'), signature)).toBe(false)
  for (const at of [0, signature.length - 1]) {
    const bent = Buffer.from(signature)
    bent[at] = (bent[at] ?? 0) ^ 1
    expect(usable.verify(message, bent)).toBe(false)
  }
})

test.each<Alg>(['RS256', 'PS256', 'ES256', 'ES512', 'Ed25519'])(
  '%s: a signature of a wrong length is false, never an error',
  (alg) => {
    const key = signingKey(alg, `k-${alg}`)
    const set = parse({ keys: [key.jwk] })
    const [usable] = set.ok ? set.keys : []
    const signature = signerOf(key)(Buffer.from('m'))
    const lengths = [0, 1, signature.length - 1, signature.length + 1, 2 * signature.length, 100_000]
    for (const length of lengths)
      expect(usable?.verify(Buffer.from('m'), Buffer.alloc(length)), `${length}`).toBe(false)
    expect(usable?.verify(Buffer.from('m'), Buffer.concat([Buffer.alloc(1), signature]))).toBe(false)
    expect(usable?.verify(Buffer.from('m'), Buffer.concat([signature, Buffer.alloc(1)]))).toBe(false)
  },
)

test('an ECDSA signature of two zeros, or of the order itself, is not genuine', () => {
  const set = parse({ keys: [ES.jwk] })
  const [usable] = set.ok ? set.keys : []
  const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
  for (const hex of [
    '00'.repeat(64),
    order + order,
    `${'00'.repeat(31)}01${'00'.repeat(32)}`,
    'ff'.repeat(64),
  ]) {
    expect(usable?.verify(Buffer.from('m'), Buffer.from(hex, 'hex'))).toBe(false)
  }
})

const NOT_CANONICAL = 'its "n" or "e" is not canonical base64url (RFC 7518 section 6.3.1)'
const NO_ALG = 'it has no "alg" and both RS256 and RS384 are allowed; allow one, or publish "alg"'
const X = 'its "x" is not 32 octets of canonical base64url (RFC 7518 section 6.2.1)'
const WRONG_ALG = 'its "alg" is not one that the configuration allows for this issuer and key type'
const CONTRADICTION = 'its "alg" contradicts its "kty" or "crv"'
const NO_KID = 'no usable "kid"'
const EXPONENT = 'RSA exponent is not odd and between 65537 and 2^32'
const b64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64url')
const modulus = Buffer.from(String(RS.jwk['n']), 'base64url').toString('hex')

test.each<readonly [what: string, jwk: Jwk, want: string]>([
  ['as it should be', RS.jwk, 'usable as RS256'],
  ['without use', { ...RS.jwk, use: undefined }, 'usable as RS256'],
  ['with key_ops verify', { ...RS.jwk, key_ops: ['verify'] }, 'usable as RS256'],
  ['with unknown members', { ...RS.jwk, x5c: ['AA'], note: {} }, 'usable as RS256'],
  ['for encryption', { ...RS.jwk, use: 'enc' }, 'its "use" is not "sig"'],
  ['with key_ops sign only', { ...RS.jwk, key_ops: ['sign'] }, 'its "key_ops" lacks "verify"'],
  ['with key_ops that is a text', { ...RS.jwk, key_ops: 'verify' }, 'its "key_ops" lacks "verify"'],
  ['without kid', { ...RS.jwk, kid: undefined }, NO_KID],
  ['with an empty kid', { ...RS.jwk, kid: '' }, NO_KID],
  ['with a kid that is a path', { ...RS.jwk, kid: '../x' }, NO_KID],
  ['with a kid that is a number', { ...RS.jwk, kid: 7 }, NO_KID],
  ['without alg, while several fit', { ...RS.jwk, alg: undefined }, NO_ALG],
  ['for an unknown alg', { ...RS.jwk, alg: 'RSA-OAEP' }, WRONG_ALG],
  ['for HS256', { ...RS.jwk, alg: 'HS256' }, WRONG_ALG],
  ['for another key type', { ...RS.jwk, alg: 'ES256' }, CONTRADICTION],
  ['for an alg that is a number', { ...RS.jwk, alg: 7 }, WRONG_ALG],
  [
    'of an unknown type',
    { ...RS.jwk, kty: 'XYZ', alg: undefined },
    'no allowed algorithm fits its "kty" and "crv"',
  ],
  ['larger than 8 KiB', { ...RS.jwk, x5c: ['A'.repeat(8192)] }, `larger than ${JWKS_LIMITS.keyBytes} bytes`],
  ['with exponent 1', { ...RS.jwk, e: b64('01') }, EXPONENT],
  ['with exponent 3', { ...RS.jwk, e: b64('03') }, EXPONENT],
  ['with exponent 65535', { ...RS.jwk, e: b64('ffff') }, EXPONENT],
  ['with an even exponent', { ...RS.jwk, e: b64('010002') }, EXPONENT],
  ['with exponent 2^32 + 1', { ...RS.jwk, e: b64('0100000001') }, EXPONENT],
  ['with exponent 2^32 - 1', { ...RS.jwk, e: b64('ffffffff') }, 'usable as RS256'],
  ['with an even modulus', { ...RS.jwk, n: b64(`${modulus.slice(0, -1)}0`) }, 'even RSA modulus'],
  [
    'of 2047 bits',
    { ...RS.jwk, n: b64(`7f${modulus.slice(2)}`) },
    'RSA modulus of 2047 bits; at least 2048 (RFC 7518 section 3.3)',
  ],
  ['of 8193 bits', { ...RS.jwk, n: b64(`01${modulus.repeat(4)}`) }, 'RSA modulus of 8193 bits; at most 8192'],
  ['with a padded modulus', { ...RS.jwk, n: `${RS.jwk['n']}=` }, NOT_CANONICAL],
  ['without a modulus', { ...RS.jwk, n: undefined }, NOT_CANONICAL],
  ['with an empty exponent', { ...RS.jwk, e: '' }, NOT_CANONICAL],
  [
    'that is a private key',
    { ...RS.jwk, d: 'AA' },
    'set: publishes a private key (member "d"); withdraw it and rotate',
  ],
  [
    'with a prime',
    { ...RS.jwk, p: 'AA' },
    'set: publishes a private key (member "p"); withdraw it and rotate',
  ],
  [
    'with other primes',
    { ...RS.jwk, oth: [] },
    'set: publishes a private key (member "oth"); withdraw it and rotate',
  ],
  [
    'with a symmetric member',
    { ...RS.jwk, k: 'AA' },
    'set: publishes a symmetric key; withdraw it and rotate',
  ],
  ['that is symmetric', { kty: 'oct', kid: 'x' }, 'set: publishes a symmetric key; withdraw it and rotate'],
])('an RSA key %s', (_what, jwk, want) => {
  expect(fate(without(jwk)).startsWith(want), fate(without(jwk))).toBe(true)
})

test.each<readonly [what: string, jwk: Jwk, want: string]>([
  ['as it should be', ES.jwk, 'usable as ES256'],
  ['without alg: its curve leaves no choice', { ...ES.jwk, alg: undefined }, 'usable as ES256'],
  ['of another curve', { ...ES.jwk, crv: 'P-384' }, CONTRADICTION],
  [
    'of secp256k1',
    { ...ES.jwk, crv: 'secp256k1', alg: undefined },
    'no allowed algorithm fits its "kty" and "crv"',
  ],
  ['without x', { ...ES.jwk, x: undefined }, X],
  ['with a short x', { ...ES.jwk, x: b64('01'.repeat(31)) }, X],
  ['with a long x', { ...ES.jwk, x: b64(`00${'01'.repeat(32)}`) }, X],
  ['with a padded x', { ...ES.jwk, x: `${ES.jwk['x']}=` }, X],
  [
    'off the curve',
    { ...ES.jwk, y: ES.jwk['x'] },
    'not a valid public key (for a curve: the point is not on it)',
  ],
  ['at zero', { ...ES.jwk, x: b64('00'.repeat(32)), y: b64('00'.repeat(32)) }, 'not a valid public key'],
  [
    'that is a private key',
    { ...ES.jwk, d: 'AA' },
    'set: publishes a private key (member "d"); withdraw it and rotate',
  ],
  ['of Ed25519', ED.jwk, 'usable as Ed25519'],
  ['of Ed25519 under the name EdDSA', { ...ED.jwk, alg: 'EdDSA' }, 'usable as Ed25519'],
  ['of Ed25519 without alg', { ...ED.jwk, alg: undefined }, 'usable as Ed25519'],
  ['of Ed448', { ...ED.jwk, crv: 'Ed448', alg: undefined }, 'no allowed algorithm fits its "kty" and "crv"'],
  ['of Ed25519 with a short x', { ...ED.jwk, x: 'AA' }, X],
])('a curve key %s', (_what, jwk, want) => {
  expect(fate(without(jwk)).startsWith(want), fate(without(jwk))).toBe(true)
})

test('without "alg" the one allowed algorithm of its type is the key’s; with "alg" only an allowed one counts', () => {
  expect(fate(without({ ...RS.jwk, alg: undefined }), new Set(['PS256', 'ES256']))).toBe('usable as PS256')
  expect(fate(RS.jwk, new Set(['PS256']))).toBe(WRONG_ALG)
  expect(fate(RS.jwk, new Set())).toBe(WRONG_ALG)
})

test.each<readonly [what: string, document: unknown, why: string]>([
  ['nothing', '', 'not JSON'],
  ['no JSON', '{keys:[]}', 'not JSON'],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'not JSON'],
  ['an array', [], 'no "keys" array'],
  ['null', 'null', 'no "keys" array'],
  ['a single JWK', RS.jwk, 'no "keys" array'],
  ['keys that is an object', { keys: {} }, 'no "keys" array'],
  ['a key that is a text', { keys: ['x'] }, 'a member of "keys" is not an object'],
  ['a key that is null', { keys: [null] }, 'a member of "keys" is not an object'],
  ['65 keys', { keys: Array.from({ length: 65 }, () => RS.jwk) }, 'more than 64 keys'],
  ['more than 256 KiB', ' '.repeat(JWKS_LIMITS.bytes + 1), 'larger than 262144 bytes'],
])('a document of %s is refused as a whole', (_what, document, why) => {
  expect(parse(document)).toMatchObject({ ok: false, why: expect.stringContaining(why) })
})

test('64 keys in 256 KiB are welcome; an empty set is a set', () => {
  const document = JSON.stringify({
    keys: Array.from({ length: 64 }, (_, index) => ({ ...ES.jwk, kid: `k${index}` })),
  })
  const set = parse(document.padEnd(JWKS_LIMITS.bytes))
  expect(set.ok && set.keys).toHaveLength(64)
  expect(parse({ keys: [] })).toEqual({ ok: true, keys: [], refused: [] })
})

test('J19: one bad key does not spoil the others; a leaked secret spoils them all, wherever it stands', () => {
  const bad = { ...ES.jwk, kid: 'bad', crv: 'P-999' }
  const set = parse({ keys: [bad, RS.jwk, ED.jwk] })
  expect(set.ok && set.keys.map(({ kid }) => kid)).toEqual(['rs', 'ed'])
  expect(set.ok && set.refused.map(({ kid }) => kid)).toEqual(['bad'])
  const leak = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  expect(parse({ keys: [RS.jwk, { ...leak, kid: 'leak' }] }).ok).toBe(false)
})

test('a random modulus has no ROCA fingerprint; powers of the generator do', () => {
  expect(hasRocaFingerprint(BigInt(`0x${modulus}`))).toBe(false)
  expect(hasRocaFingerprint(65_537n ** 130n)).toBe(true)
})

test.each([
  ['a', true],
  ['k'.repeat(128), true],
  ['2024-01-01T00:00:00Z', true],
  ['{B64B76F8-A4D2}', true],
  ['https://idp.example/keys#1', true],
  ['k'.repeat(129), false],
  ['', false],
  ['a b', false],
  ['a..b', false],
  ['a\\b', false],
  ['a?b', false],
  ['a"b', false],
  ['a\0b', false],
  ['é', false],
  [undefined, false],
])('kid %j is acceptable: %s', (kid, ok) => {
  expect(isKid(kid)).toBe(ok)
})

test('a key nested 100,000 deep is refused alone; the other one is used', () => {
  const bomb = `{"kid":"bomb","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
  const good = JSON.stringify(signingKey('RS256', 'good').jwk)
  const parsed = parseJwks(Buffer.from(`{"keys":[${bomb},${good}]}`), new Set(['RS256']))
  expect(parsed).toMatchObject({ ok: true, keys: [{ kid: 'good' }], refused: [{ kid: 'bomb' }] })
})
