import { createHash, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createCsr, proveCsr } from '../../contracts/csr.ts'
import { inTemporary, openssl, pemOf } from './spiffe-openssl.ts'

const p256 = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const spkiOf = (key: KeyObject) => createPublicKey(key).export({ type: 'spki', format: 'der' })

function requestBy(key: string, ...more: readonly string[]): Buffer {
  return inTemporary((directory) => {
    writeFileSync(join(directory, 'key'), key)
    const out = join(directory, 'csr')
    openssl('req', '-new', '-key', join(directory, 'key'), '-outform', 'DER', '-out', out, ...more)
    return readFileSync(out)
  })
}

describe('a certificate request', () => {
  test('is what openssl calls one: the signature holds, nothing is said but the key', () => {
    const key = p256()
    const [verdict, text, spki] = inTemporary((directory) => {
      const at = join(directory, 'csr')
      writeFileSync(at, createCsr(key))
      const read = (...options: readonly string[]) => openssl('req', '-inform', 'DER', '-in', at, ...options)
      return [read('-verify', '-noout', '-subject'), read('-text', '-noout'), read('-pubkey', '-noout')]
    })
    expect(verdict).toMatch(/subject=\s*$/m)
    expect(text).toMatch(/Version: 1 \(0x0\)[\s\S]*prime256v1[\s\S]*ecdsa-with-SHA256/)
    expect(text).toMatch(/Attributes:\s+\(none\)\s+Requested Extensions:\s+Signature Algorithm/)
    expect(createPublicKey(spki).export({ type: 'spki', format: 'der' })).toEqual(spkiOf(key))
  })

  test('proves the possession of its key', () => {
    const key = p256()
    expect(proveCsr(createCsr(key))).toMatchObject({ ok: true, spki: spkiOf(key) })
  })

  test('of openssl is understood, whatever subject and names it wishes for', () => {
    const key = p256()
    const wishes = ['-subj', '/CN=admin', '-addext', 'subjectAltName=URI:spiffe://cluster.example/ns/x/sa/y']
    expect(proveCsr(requestBy(pemOf(key), ...wishes))).toMatchObject({ ok: true, spki: spkiOf(key) })
  })

  test.each([
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey, 'key is not EC P-256'],
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey, 'key is not EC P-256'],
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'signature algorithm'],
  ])('for a %s key is refused', (_name, key, why) => {
    expect(proveCsr(requestBy(pemOf(key), '-subj', '/', '-sha256'))).toEqual({ ok: false, why })
  })

  test('cannot be made for a key that is not P-256', () => {
    expect(() => createCsr(generateKeyPairSync('ed25519').privateKey)).toThrow(/P-256/)
  })

  test('with the key of another, or with any byte changed, proves nothing', () => {
    const mine = createCsr(p256())
    const at = mine.indexOf(spkiOf(p256()).subarray(0, 26))
    const stolen = Buffer.concat([mine.subarray(0, at), spkiOf(p256()), mine.subarray(at + 91)])
    expect(proveCsr(stolen)).toEqual({ ok: false, why: 'no proof of possession' })
    for (let index = 0; index < mine.length; index += 1) {
      const changed = Buffer.from(mine)
      changed[index] = (changed[index] ?? 0) ^ 0x01
      expect(proveCsr(changed).ok, `byte ${index}`).toBe(false)
    }
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['noise', createHash('sha512').update('noise').digest()],
    ['a byte too many', Buffer.concat([createCsr(p256()), Buffer.of(0)])],
    ['4 KiB and one byte', Buffer.alloc(4_097, 0x30)],
  ])('that is %s is refused', (_name, bytes) => {
    expect(proveCsr(bytes).ok).toBe(false)
  })
})
