import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { findingsIn } from './private-keys.ts'

// A scanner that finds nothing proves nothing: each form is planted, in each place where secrets.test.ts looks.

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const ed = generateKeyPairSync('ed25519').privateKey

const der = (key: KeyObject, type: 'pkcs8' | 'sec1' | 'pkcs1') =>
  key.export({ type: type as 'pkcs8', format: 'der' })
const pem = (key: KeyObject) => Buffer.from(key.export({ type: 'pkcs8', format: 'pem' }))
const token = `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.${Buffer.from('{"sub":"x","aud":"y"}').toString('base64url')}.${'s'.repeat(86)}`

const FORMS = [
  ['PEM', 'PEM', pem(ec)],
  ['PEM of RSA', 'PEM', pem(rsa)],
  ['PKCS#8', 'DER', der(ec, 'pkcs8')],
  ['PKCS#8 of RSA', 'DER', der(rsa, 'pkcs8')],
  ['PKCS#8 of Ed25519', 'DER', der(ed, 'pkcs8')],
  ['SEC 1', 'DER', der(ec, 'sec1')],
  ['PKCS#1', 'DER', der(rsa, 'pkcs1')],
  ['JWK', 'JWK', Buffer.from(JSON.stringify(ec.export({ format: 'jwk' })))],
  ['JWT', 'JWT', Buffer.from(token)],
] as const

const PLACES = [
  ['bare', (bytes: Buffer) => bytes],
  ['in the middle', (bytes: Buffer) => Buffer.concat([Buffer.alloc(99, '0'), bytes, Buffer.alloc(99, 'a ')])],
  ['in base64', (bytes: Buffer) => Buffer.from(JSON.stringify({ data: { x: bytes.toString('base64') } }))],
  ['in JSON', (bytes: Buffer) => Buffer.from(JSON.stringify({ text: bytes.toString('latin1') }), 'latin1')],
  [
    'in a release of Helm',
    (bytes: Buffer) => Buffer.from(Buffer.from(gzipSync(bytes).toString('base64')).toString('base64')),
  ],
  ['in a layer', (bytes: Buffer) => zstdCompressSync(bytes)],
] as const

describe.each(FORMS)('%s', (_, form, bytes) => {
  // Escapes of JSON break DER, and nobody stores it so.
  const places = PLACES.filter(([place]) => !(form === 'DER' && place === 'in JSON'))
  test.each(places)('is found %s', (_place, hide) => {
    expect(findingsIn(hide(bytes)).map((one) => one.form)).toContain(form)
  })
})

test.each([
  [
    'a public key',
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }),
  ],
  ['a public JWK', JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }))],
  ['the armour alone', `if (text.startsWith('-----BEGIN PRIVATE KEY-----')) x('-----END PRIVATE KEY-----')`],
  ['a certificate request', '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----'],
])('%s is nothing', (_, text) => {
  expect(findingsIn(Buffer.from(text))).toEqual([])
})
