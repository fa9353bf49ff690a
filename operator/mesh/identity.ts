import type { KeyObject } from 'node:crypto'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import type { SpiffeId, X509Trust } from '../../contracts/spiffe.ts'

/** An X509-SVID with its private key. Never logged, never written anywhere. */
export interface MeshIdentity {
  readonly id: SpiffeId
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[]
  readonly privateKey: KeyObject
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** TLS 1.3 only: both sides are ours. */
export function tlsOptions(identity: MeshIdentity | undefined, trust: X509Trust): SecureContextOptions {
  return {
    minVersion: 'TLSv1.3',
    ca: trust.roots.map(pemOf),
    ...(identity && {
      key: identity.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: identity.chain.map(pemOf).join(''),
    }),
  }
}

export function pemOf(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

const MAX_PRESENTED = 6

/** What the peer presented, DER, leaf first; empty when it presented nothing. Node appends the root it knows. */
export function presentedBy(socket: TLSSocket): readonly Uint8Array[] {
  return chainOf(socket.getPeerCertificate(true))
}

/** A certificate as node's TLS hands it over: each with its issuer, the root with itself. */
export interface Linked {
  readonly raw?: Buffer
  readonly issuerCertificate?: Linked
}

export function chainOf(leaf: Linked): readonly Uint8Array[] {
  const chain: Uint8Array[] = []
  for (let one: Linked | undefined = leaf; one?.raw && chain.length < MAX_PRESENTED; ) {
    chain.push(one.raw)
    one = one.issuerCertificate === one ? undefined : one.issuerCertificate
  }
  return chain
}
