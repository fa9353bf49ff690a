import { CertificateHeader } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { selfSigned } from '../contracts/self-signed.ts'
import { CA_EXTENSIONS, leafExtensions, make } from '../contracts/spiffe-openssl.ts'
import { signingKey } from '../fixtures/keys.ts'
import { BASE_URL } from '../fixtures/proofs.ts'

// Who calls, with which keys and certificates, and what is asked for.

const EDGE = 'spiffe://cluster.example/ns/edge/sa/proxy'
export const OWN = 'spiffe://cluster.example/ns/shop/sa/api'
export const CLIENTS = [
  signingKey('ES256', 'client'),
  signingKey('Ed25519', 'client'),
  signingKey('RS256', 'client'),
]
export const [CLIENT = signingKey('ES256', 'client')] = CLIENTS
export const THIEF = signingKey('ES256', 'thief')
const ca = make({ subject: '/CN=root', extensions: CA_EXTENSIONS })
const svid = (uri: string) => make({ subject: '/O=x', extensions: leafExtensions(uri), issuer: ca }).der
export const CERTIFICATES = {
  client: selfSigned().der,
  thief: selfSigned().der,
  hop: svid(EDGE),
  stranger: svid('spiffe://cluster.example/ns/evil/sa/proxy'),
}
export const RULES = {
  externalBaseUrl: BASE_URL,
  trustedHops: [EDGE],
  certificateHeader: CertificateHeader.CERTIFICATE_HEADER_XFCC,
  ownId: OWN,
}

/** Spellings of URLs, and the path of ours that each means, if any (RFC 9449 section 4.3, RFC 3986 section 6.2). */
export const SPELLINGS: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  [`${BASE_URL}/invoices/inv-1`, '/invoices/inv-1'],
  [`${BASE_URL}/invoices/inv-1?x=1`, '/invoices/inv-1'],
  [`${BASE_URL}/invoices/inv-1#x`, '/invoices/inv-1'],
  [`${BASE_URL}:443/invoices/inv-1`, '/invoices/inv-1'],
  ['HTTPS://API.test.EXAMPLE/invoices/inv-1', '/invoices/inv-1'],
  [`${BASE_URL}/%69nvoices/inv-1`, '/invoices/inv-1'],
  [`${BASE_URL}/x/../invoices/./inv-1`, '/invoices/inv-1'],
  [`${BASE_URL}/invoices/inv-1/`, '/invoices/inv-1/'],
  [`${BASE_URL}/invoices//inv-1`, '/invoices//inv-1'],
  [`${BASE_URL}/Invoices/inv-1`, '/Invoices/inv-1'],
  [`${BASE_URL}/invoices%2Finv-1`, '/invoices%2Finv-1'],
  [`${BASE_URL}/invoices/inv-2`, '/invoices/inv-2'],
  [`${BASE_URL}\\invoices\\inv-1`, ''],
  [` ${BASE_URL}/invoices/inv-1`, ''],
  [`${BASE_URL}/invoices/inv-1\n`, ''],
  [`${BASE_URL}:8443/invoices/inv-1`, ''],
  [`https://user@api.test.example/invoices/inv-1`, ''],
  ['https:/api.test.example/invoices/inv-1', ''],
  ['http://api.test.example/invoices/inv-1', ''],
  ['https://api.test.example.evil.example/invoices/inv-1', ''],
  ['https://api.test.example@evil.example/invoices/inv-1', ''],
  ['https://api.test.example./invoices/inv-1', ''],
  ['/invoices/inv-1', ''],
  [[`${BASE_URL}/invoices/inv-1`], ''],
])
