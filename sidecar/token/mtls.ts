import { hash } from 'node:crypto'
import { readCertificate, urisOf } from '../../contracts/spiffe/certificate.ts'
import type { Reason } from '../decision.ts'
import type { CheckRequest } from '../request.ts'
import type { Edge } from '../trust/token-rules.ts'
import { type HeaderWord, readClientCert } from './client-cert.ts'
import type { Presented } from './credentials.ts'
import { timingSafeEqualText } from './nonce.ts'
import { readXfcc } from './xfcc.ts'

/** Whose word counts, and whom it must have been given to: empty for anybody, `undefined` while we do not know who we are. */
export type Hops = Pick<Edge, 'certificateHeader' | 'trustedHops'> & { readonly ownId: string | undefined }

/**
 * Why the caller has not shown the certificate that the token is bound to (RFC 8705 section 3.1), if it has not. What counts is the
 * certificate of the connection itself, which needs no chain (section 6.2); where that is the SVID of a proxy that the configuration
 * trusts, it is the certificate that this proxy says its own client has shown. Anybody else's word is not read, whatever it says.
 */
export function wrongCertificate(
  thumbprint: unknown,
  { certificates }: Pick<Presented, 'certificates'>,
  { peerCertificate }: Pick<CheckRequest, 'peerCertificate'>,
  edge: Hops,
): Reason | undefined {
  if (!peerCertificate) return certificates.length > 0 ? 'mtls_untrusted_hop' : 'mtls_missing'
  // Never the proxy's own certificate: whatever passes through it would then be sent by whoever owns a token bound to the proxy.
  if (edge.certificateHeader === 'none' || !isTrustedHop(peerCertificate, edge)) {
    if (matches(thumbprint, digestOf(peerCertificate))) return undefined
    return certificates.length > 0 ? 'mtls_untrusted_hop' : 'mtls_mismatch'
  }
  const word = WORDS[edge.certificateHeader](certificates, edge)
  if (word === 'absent') return 'mtls_missing'
  if (word === 'malformed') return 'mtls_header_invalid'
  if (word === 'for another') return 'mtls_untrusted_hop'
  return matches(thumbprint, word) ? undefined : 'mtls_mismatch'
}

const WORDS: Readonly<
  Record<
    Exclude<Edge['certificateHeader'], 'none'>,
    (lines: Presented['certificates'], edge: Hops) => HeaderWord
  >
> = {
  xfcc: (lines, { ownId }) => readXfcc(linesOf(lines, 'x-forwarded-client-cert'), ownId),
  'client-cert': (lines) => readClientCert(linesOf(lines, 'client-cert')),
}

function linesOf(lines: Presented['certificates'], wanted: string): readonly string[] {
  return lines
    .filter(({ name }) => name === wanted)
    .map(({ value }) => Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1'))
}

/** SHA-256 of a certificate in DER. */
function digestOf(der: Uint8Array): Buffer {
  return hash('sha256', der, 'buffer')
}

function matches(thumbprint: unknown, digest: Buffer): boolean {
  return typeof thumbprint === 'string' && timingSafeEqualText(thumbprint, digest.toString('base64url'))
}

/**
 * Whether the certificate of the connection names a trusted proxy, and nobody else. That its chain is good, the application's TLS has
 * checked: only the leaf is known here, and fromHttp of the client library hands on what a proxy says only where it has.
 */
function isTrustedHop(peer: Uint8Array, { trustedHops }: Hops): boolean {
  try {
    const [uri, second] = urisOf(readCertificate(peer))
    return uri !== undefined && second === undefined && trustedHops.has(uri)
  } catch {
    return false
  }
}
