import { hash, X509Certificate } from 'node:crypto'

/** What a header says of the client's certificate: its SHA-256, or why it says nothing that counts. */
export type HeaderWord = Buffer | 'absent' | 'malformed' | 'for another'

/** A byte sequence of RFC 8941 section 3.3.5, and nothing else in the line. */
const BYTES = /^[ \t]*:([A-Za-z0-9+/]+={0,2}):[ \t]*$/

/** Reads `Client-Cert` (RFC 9440 section 2.2): one line, one certificate in DER. */
export function readClientCert(lines: readonly string[]): HeaderWord {
  const [line, second] = lines
  if (line === undefined) return 'absent'
  const [, text] = BYTES.exec(line) ?? []
  if (second !== undefined || text === undefined) return 'malformed'
  const der = Buffer.from(text, 'base64')
  // One spelling only: padded, and without bits that mean nothing (RFC 4648 sections 3.2 and 3.5).
  return der.toString('base64') === text ? digestOfCertificate(der) : 'malformed'
}

/** SHA-256 of a certificate that is one, and is nothing but one. */
export function digestOfCertificate(certificate: Buffer | string): Buffer | 'malformed' {
  try {
    const { raw } = new X509Certificate(certificate)
    const exact = typeof certificate === 'string' || Buffer.compare(raw, certificate) === 0
    return exact ? hash('sha256', raw, 'buffer') : 'malformed'
  } catch {
    return 'malformed'
  }
}
