import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto'
import type { Pair } from '../inject/certificate-plan.ts'
import type { CertificateMaker } from '../inject/certificates.ts'
import { pemOf } from '../mesh/identity.ts'
import type { Entropy } from './ports.ts'
import { createServingCa, createServingLeaf, serialFrom } from './x509.ts'

/** Makes the webhook's certificates and their keys. Runs in `control`, for an authority that the API server alone trusts, and for this alone. */
export function createCertificateMaker(entropy: Entropy): CertificateMaker {
  const serial = () => serialFrom(entropy(16))
  return {
    async makeCa(name, validity) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      return pairOf(createServingCa(privateKey, name, validity, serial()), privateKey)
    },
    async makeLeaf(ca, dnsNames, validity) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const issuer = {
        certificate: new X509Certificate(ca.certificate).raw,
        privateKey: createPrivateKey(ca.key),
      }
      const options = { ...validity, serial: serial() }
      return pairOf(createServingLeaf(createPublicKey(privateKey), dnsNames, options, issuer), privateKey)
    },
  }
}

function pairOf(certificate: Buffer, key: KeyObject): Pair {
  return { certificate: pemOf(certificate), key: String(key.export({ type: 'pkcs8', format: 'pem' })) }
}
