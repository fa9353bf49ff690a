import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { asn1Signature } from '../../contracts/ecdsa.ts'

const CURVES = [
  ['P-256', 32, 'sha256'],
  ['P-384', 48, 'sha384'],
  ['P-521', 66, 'sha512'],
] as const

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('an ECDSA signature in ASN.1', () => {
  test.each([
    ['01 01', '3006 020101 020101'],
    ['80 7f', '3007 02020080 02017f'],
    ['00 00', '3006 020100 020100'],
    ['0001 0080', '3007 020101 02020080'],
    ['ffff 00ff', '3009 020300ffff 020200ff'],
    [`${'ff'.repeat(66)}${'01'.repeat(66)}`, `308189 024300${'ff'.repeat(66)} 0242${'01'.repeat(66)}`],
  ])('of %s is %s', (raw, der) => {
    expect(Buffer.from(asn1Signature(hex(raw))).toString('hex')).toBe(hex(der).toString('hex'))
  })

  test.each(CURVES)('of %s is what OpenSSL makes of the same coordinates', (namedCurve, bytes, digest) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve })
    const key = createPublicKey(privateKey)
    const raw = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
    for (let index = 0; index < 60; index++) {
      const data = Buffer.from(String(index))
      const signature = sign(digest, data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
      expect(signature.length).toBe(2 * bytes)
      expect(verify(digest, data, key, asn1Signature(signature))).toBe(true)
    }
    // Whatever the coordinates are, both ways agree that it is no signature, and neither throws.
    const coordinate = fc.oneof(
      fc.uint8Array({ minLength: bytes, maxLength: bytes }),
      fc.constant(new Uint8Array(bytes)),
    )
    fc.assert(
      fc.property(coordinate, coordinate, (r, s) => {
        const signature = Buffer.concat([r, s])
        const data = Buffer.from('x')
        return verify(digest, data, key, asn1Signature(signature)) === verify(digest, data, raw, signature)
      }),
      { numRuns: 60 },
    )
  })
})
