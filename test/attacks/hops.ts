import { CertificateHeader } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { selfSigned } from '../contracts/self-signed.ts'
import { CA_EXTENSIONS, leafExtensions, make } from '../contracts/spiffe-openssl.ts'
import { x5tOf } from '../fixtures/certificates.ts'
import { BASE_URL } from '../fixtures/proofs.ts'
import { type Call, openDpopArena } from './dpop-arena.ts'

// A workload behind a proxy that it trusts, and others that it does not.

const EDGE = 'spiffe://cluster.example/ns/edge/sa/proxy'
export const OWN = 'spiffe://cluster.example/ns/shop/sa/api'
const ca = make({ subject: '/CN=root', extensions: CA_EXTENSIONS })
const svid = (uri: string) => make({ subject: '/O=x', extensions: leafExtensions(uri), issuer: ca }).der

export const hop = svid(EDGE)
export const stranger = svid('spiffe://cluster.example/ns/edge/sa/proxy2')
export const client = selfSigned()
export const thief = selfSigned()
export const hashOf = (der: Buffer) => Buffer.from(x5tOf(der), 'base64url').toString('hex')
export const said = (der: Buffer) => `By=${OWN};Hash=${hashOf(der)}`

const tokens = { externalBaseUrl: BASE_URL, trustedHops: [EDGE], ownId: OWN }
export const openBehindEnvoy = () =>
  openDpopArena({ tokens: { ...tokens, certificateHeader: CertificateHeader.CERTIFICATE_HEADER_XFCC } })
export const openBehindStandard = () =>
  openDpopArena({
    tokens: { ...tokens, certificateHeader: CertificateHeader.CERTIFICATE_HEADER_CLIENT_CERT },
  })

/** A call with the client's token, over a connection with this certificate, with these lines. */
export function callFrom(peer: Buffer | undefined, ...xfcc: readonly string[]): Call {
  return {
    token: { claims: { cnf: { 'x5t#S256': x5tOf(client.der) } } },
    scheme: 'Bearer',
    proof: undefined,
    headers: xfcc.map((value) => ['x-forwarded-client-cert', value] as const),
    ...(peer && { peerCertificate: peer }),
  }
}
