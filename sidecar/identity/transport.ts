import { isIP } from 'node:net'
import { createSecureContext, type PeerCertificate } from 'node:tls'
import { type ChannelOptions, Client, credentials } from '@grpc/grpc-js'
import { verifyX509Svid } from '../../contracts/spiffe.ts'
import type { Now } from '../ports.ts'
import type { Endpoint } from '../settings.ts'
import type { Credential } from './credential.ts'
import type { Trust } from './trust.ts'

/** Which deployment of the operator is expected at the other end. */
export type Role = 'issuer' | 'control'

export interface Connection {
  readonly to: Endpoint
  readonly role: Role
  readonly trust: () => Trust
  /** Whom we are at the other end; without it nobody. */
  readonly own: Credential | undefined
  readonly wall: Now
  /** Told what the server proved itself with, once it has. */
  readonly proven?: (chain: readonly Uint8Array[]) => void
}

/** Connections that one client makes at most. */
const MOST_CONNECTIONS = 3

/**
 * A gRPC client for the operator over TLS 1.3. The other end must prove `spiffe://<trust domain>/portcullis/operator/<role>/…` under the
 * roots that are trusted when the connection is made; names and addresses prove nothing. Connects with the first call. Close it.
 */
export function connectOperator(connection: Connection, options: ChannelOptions): Client {
  const { to, trust, own } = connection
  const context = createSecureContext({
    minVersion: 'TLSv1.3',
    ca: trust().roots.map((root) => pem('CERTIFICATE', root)),
    ...(own
      ? {
          key: own.privateKey.export({ type: 'pkcs8', format: 'pem' }),
          cert: own.chain.map((one) => pem('CERTIFICATE', one)).join(''),
        }
      : {}),
  })
  let connections = 0
  const secure = credentials.createFromSecureContext(context, {
    checkServerIdentity: (_host, peer) => {
      // In TLS 1.3 a server refuses a client only after the client thinks that all is well, and grpc-js connects again at once and
      // for ever, because no call was lost yet.
      connections++
      if (connections <= MOST_CONNECTIONS) return wrongServer(connection, peer)
      return new Error('the server ends every connection: it does not accept our identity')
    },
  })
  const host = isIP(to.host) === 6 ? `[${to.host}]` : to.host
  return new Client(`dns:///${host}:${to.port}`, secure, {
    // An address is no server name (RFC 6066 section 3); the one that is sent decides nothing at the other end.
    ...(isIP(to.host) ? { 'grpc.ssl_target_name_override': 'operator' } : {}),
    // Two connections never share a socket: each has its own credential.
    'grpc.use_local_subchannel_pool': 1,
    // Neither a proxy variable of the environment nor a TXT record may say where this goes.
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_channelz': 0,
    'grpc.enable_retries': 0,
    'grpc-node.max_session_memory': 8,
    ...options,
  })
}

// Node has verified the chain against `ca`; it knows nothing of SPIFFE IDs, so the same chain is held to the whole standard here.
function wrongServer({ role, trust, wall, proven }: Connection, peer: PeerCertificate): Error | undefined {
  const chain = chainOf(peer)
  const verified = verifyX509Svid(chain, trust(), wall())
  if (!verified.ok) return new Error(`the server proves no SPIFFE identity: ${verified.why}`)
  const { path, uri } = verified.id
  if (!path.startsWith(`/portcullis/operator/${role}/`))
    return new Error(`the server is ${uri}, not the operator's ${role}`)
  proven?.(chain)
  return undefined
}

const LONGEST_CHAIN = 5

function chainOf(peer: PeerCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = []
  let one: PeerCertificate | undefined = peer
  while (one?.raw && chain.length < LONGEST_CHAIN) {
    chain.push(one.raw)
    // A root names itself as its issuer.
    const issuer: PeerCertificate | undefined = (one as { issuerCertificate?: PeerCertificate })
      .issuerCertificate
    one = issuer === one ? undefined : issuer
  }
  return chain
}

export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
