import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, exportJWK, jwtVerify } from 'jose'
import { expect, test } from 'vitest'
import { createAssertions, thumbprintOf } from '../../../sidecar/grants/client-assertion.ts'

// How a workload signs who it is, verified by another library.

const AT = 1_790_000_000_000
const ISSUER = 'https://idp.test.example'
const CLIENT = 'spiffe://test.example/ns/shop/sa/invoices'
let serial = 0
const make = createAssertions(
  () => AT,
  () => `id-${++serial}`,
)

const KEYS: readonly (readonly [alg: string, key: KeyObject])[] = [
  ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey],
  ['ES384', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
  ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ['EdDSA', generateKeyPairSync('ed25519').privateKey],
]

test.each(KEYS)('T1: %s: an assertion says who, to whom, once and for a minute', async (alg, privateKey) => {
  const text = make({ clientId: CLIENT, audience: ISSUER, privateKey })?.() ?? ''
  const publicKey = createPublicKey(privateKey)
  const { payload } = await jwtVerify(text, publicKey, {
    algorithms: [alg],
    issuer: CLIENT,
    subject: CLIENT,
    audience: ISSUER,
    requiredClaims: ['jti', 'exp', 'iat'],
    currentDate: new Date(AT),
  })
  expect(Number(payload.exp) - Number(payload.iat)).toBe(60)
  expect(decodeProtectedHeader(text).kid).toBe(await calculateJwkThumbprint(await exportJWK(publicKey)))
})

test.each(KEYS)(
  '%s: a thumbprint is that of RFC 7638, of the private key and of the public one',
  async (_alg, key) => {
    const expected = await calculateJwkThumbprint(await exportJWK(createPublicKey(key)))
    expect([thumbprintOf(key), thumbprintOf(createPublicKey(key))]).toEqual([expected, expected])
  },
)

test('no two assertions are the same', () => {
  const [, privateKey] = KEYS[0] ?? ['', generateKeyPairSync('ed25519').privateKey]
  const another = make({ clientId: CLIENT, audience: ISSUER, privateKey })
  expect(another?.()).not.toBe(another?.())
})

test.each([
  ['RSA of 1024 bits', generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey],
  ['a curve without an algorithm here', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey],
  ['a key that does not sign', generateKeyPairSync('x25519').privateKey],
])('%s makes none', (_name, privateKey) => {
  expect(make({ clientId: CLIENT, audience: ISSUER, privateKey })).toBeUndefined()
})
