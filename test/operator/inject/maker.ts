import 'reflect-metadata'
import type { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { Pair } from '../../../operator/inject/certificate-plan.ts'
import type { CertificateMaker } from '../../../operator/inject/certificates.ts'

// Certificates by another library than the product's.

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

async function pairOf(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair): Promise<Pair> {
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
  return { certificate: `${certificate.toString('pem').trim()}\n`, key }
}

const generate = () =>
  crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>

export const maker: CertificateMaker = {
  makeCa: async (name, { notBeforeMs, notAfterMs }) => {
    const keys = await generate()
    const ca = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
    })
    return pairOf(ca, keys)
  },
  makeLeaf: async (ca, dnsNames, { notBeforeMs, notAfterMs }) => {
    const keys = await generate()
    const der = x509.PemConverter.decodeFirst(ca.key)
    const leaf = await x509.X509CertificateGenerator.create({
      subject: `CN=${dnsNames[0]}`,
      issuer: new x509.X509Certificate(ca.certificate).subject,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(notAfterMs),
      publicKey: keys.publicKey,
      signingKey: await crypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']),
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: 'dns', value }))),
      ],
    })
    return pairOf(leaf, keys)
  },
}
