import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import {
  childrenOf,
  der,
  expectTag,
  octetsOfBits,
  oidOf,
  readDer,
  smallIntegerOf,
  TAG,
} from './spiffe/der.ts'

/** PKCS#10 certificate requests (RFC 2986) that say nothing but: I hold this key. */

export const CSR_BYTES = 4 * 1024

/** ecdsa-with-SHA256, RFC 5758 section 3.2. */
const ECDSA_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex')
const ATTRIBUTES = 0xa0
const P256_SPKI_BYTES = 91

/** A request for the public half of `privateKey` (EC P-256), DER: no subject, no attributes. */
export function createCsr(privateKey: KeyObject): Buffer {
  const publicKey = createPublicKey(privateKey)
  if (!isP256(publicKey)) throw new TypeError('a certificate request needs an EC P-256 key')
  const request = der(
    TAG.sequence,
    der(TAG.integer, Buffer.of(0)),
    der(TAG.sequence),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(ATTRIBUTES),
  )
  const signature = sign('sha256', request, privateKey)
  return der(
    TAG.sequence,
    request,
    der(TAG.sequence, ECDSA_SHA256),
    der(TAG.bitString, Buffer.of(0), signature),
  )
}

/** The key whose possession a request proves. Subject and attributes are not even looked at. */
export type ProvenKey =
  | { readonly ok: true; readonly key: KeyObject /** SubjectPublicKeyInfo, DER. */; readonly spki: Buffer }
  | { readonly ok: false; readonly why: string }

/** Verifies a request of at most 4 KiB. Never throws for bad input. */
export function proveCsr(bytes: Uint8Array): ProvenKey {
  if (bytes.length > CSR_BYTES) return { ok: false, why: 'too long' }
  try {
    const [request, algorithm, signature] = childrenOf(readDer(bytes, TAG.sequence))
    const [version, subject, spki] = childrenOf(expectTag(request, TAG.sequence))
    if (smallIntegerOf(version) !== 0) return { ok: false, why: 'version' }
    expectTag(subject, TAG.sequence)
    if (oidOf(childrenOf(expectTag(algorithm, TAG.sequence))[0]) !== '1.2.840.10045.4.3.2')
      return { ok: false, why: 'signature algorithm' }
    const { whole } = expectTag(spki, TAG.sequence)
    // Named curve, uncompressed point: one key has one form, and so one fingerprint (RFC 5480 section 2).
    if (whole.length !== P256_SPKI_BYTES) return { ok: false, why: 'key is not EC P-256' }
    const key = createPublicKey({
      key: Buffer.from(whole),
      format: 'der',
      type: 'spki',
    })
    if (!isP256(key)) return { ok: false, why: 'key is not EC P-256' }
    if (!verify('sha256', expectTag(request, TAG.sequence).whole, key, octetsOfBits(signature)))
      return { ok: false, why: 'no proof of possession' }
    return { ok: true, key, spki: key.export({ type: 'spki', format: 'der' }) }
  } catch {
    return { ok: false, why: 'malformed' }
  }
}

function isP256({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === 'prime256v1'
}
