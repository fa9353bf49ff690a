import type { Socket } from 'node:net'
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls'
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { X509Trust } from '../../contracts/spiffe.ts'
import type { Now, Sleep } from '../ports.ts'
import { type MeshIdentity, tlsOptions } from './identity.ts'
import type { Live } from './live.ts'
import { createPeers, type PeerOf, type Peers } from './peers.ts'

export interface MeshService {
  readonly definition: ServiceDefinition
  readonly implementation: UntypedServiceImplementation
}

export interface MeshLimits {
  readonly connections: number
  /** Calls at once on one connection. */
  readonly streams: number
  readonly requestBytes: number
  readonly responseBytes: number
  /** After which a connection is told to go, milliseconds; grpc-js spreads it by a tenth. */
  readonly connectionAgeMs: number
  /** How long its calls may still go on. */
  readonly connectionGraceMs: number
}

export interface MeshServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly services: (peerOf: PeerOf) => readonly MeshService[]
  readonly identity: Live<MeshIdentity>
  readonly trust: Live<X509Trust>
  /** A certificate that does not verify closes the connection in either case. */
  readonly clientCertificate: 'required' | 'optional'
  readonly limits: MeshLimits
  readonly now: Now
  readonly sleep: Sleep
  /** A connection was closed for what its peer presented; `why` is for metrics and logs. */
  readonly refused: (why: string) => void
}

export interface MeshServer extends AsyncDisposable {
  readonly port: number
  connections(): number
  /** Accepts nothing new, lets calls in flight finish, and after `graceMs` ends what is left. */
  drain(graceMs: number, signal: AbortSignal): Promise<void>
}

const HANDSHAKE_MS = 5_000
/** How often expired certificates of open connections are looked for. */
const RECHECK_MS = 5_000
const SESSION_MEMORY_MIB = 16

/** Serves gRPC over mutual TLS. Rejects when the address cannot be had. */
export async function openMeshServer(options: MeshServerOptions): Promise<MeshServer> {
  const { identity, trust, now, refused, limits, clientCertificate } = options
  const peers = createPeers({ trust, clientCertificate, now, refused })
  const grpc = new Server({ ...grpcLimits(limits), interceptors: [peers.interceptor] })
  for (const { definition, implementation } of options.services(peers.peerOf))
    grpc.addService(definition, implementation)
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure())
  const tls = tlsServer(options, peers, (socket) => injector.injectConnection(socket))
  const open = tracked(tls)
  await listening(tls, options.listen)

  // Contexts are replaced whole: SNICallback would let resumed sessions in after their CA has left (and tickets are off).
  const rotated = () => tls.setSecureContext(tlsOptions(identity.current(), trust.current()))
  const watching = [identity.watch(rotated), trust.watch(rotated), trust.watch(peers.recheck)]
  const closing = new AbortController()
  const sweeping = sweep(peers, options.sleep, closing.signal)

  const drain = async (graceMs: number, signal: AbortSignal): Promise<void> => {
    const idle = new Promise<void>((resolve) => void tls.close(() => resolve()))
    grpc.tryShutdown(() => undefined)
    const patience = new AbortController()
    const within = AbortSignal.any([signal, patience.signal])
    await Promise.race([idle, options.sleep(graceMs, within).catch(() => undefined)])
    patience.abort()
    grpc.forceShutdown()
    for (const socket of open) socket.destroy()
    await idle
    closing.abort()
    for (const one of watching) one[Symbol.dispose]()
    await sweeping
  }
  const bound = tls.address()
  return {
    port: typeof bound === 'object' && bound ? bound.port : options.listen.port,
    connections: peers.count,
    drain,
    [Symbol.asyncDispose]: () => drain(0, AbortSignal.abort()),
  }
}

function grpcLimits(limits: MeshLimits) {
  return {
    'grpc.max_receive_message_length': limits.requestBytes,
    'grpc.max_send_message_length': limits.responseBytes,
    'grpc.max_concurrent_streams': limits.streams,
    'grpc.max_connection_age_ms': limits.connectionAgeMs,
    'grpc.max_connection_age_grace_ms': limits.connectionGraceMs,
    'grpc.max_connection_idle_ms': 5 * 60_000,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc-node.max_session_memory': SESSION_MEMORY_MIB,
    'grpc.enable_channelz': 0,
  }
}

function tlsServer(
  { identity, trust, limits, refused }: MeshServerOptions,
  peers: Peers,
  accept: (socket: TLSSocket) => void,
): TlsServer {
  const server = createServer(
    {
      ...tlsOptions(identity.current(), trust.current()),
      requestCert: true,
      // Ours is the verdict, in `admit`: a caller without certificate may be welcome, one with a bad certificate is not.
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
    },
    (socket) => {
      socket.on('error', () => socket.destroy())
      const why = peers.admit(socket)
      if (why === undefined) accept(socket)
      else {
        refused(why)
        socket.destroy()
      }
    },
  )
  // No sessions are kept or ticketed: a resumed one would not be verified against the bundle of its day.
  server.on('newSession', (_id, _data, done: () => void) => done())
  server.on('resumeSession', (_id, done: (error: Error | null, session: Buffer | null) => void) =>
    done(null, null),
  )
  server.on('tlsClientError', () => refused('handshake'))
  server.maxConnections = limits.connections
  return server
}

function tracked(server: TlsServer): ReadonlySet<Socket> {
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => open.delete(socket))
  })
  return open
}

async function sweep(peers: Peers, sleep: Sleep, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(RECHECK_MS, signal).catch(() => undefined)
    peers.recheck()
  }
}

function listening(server: TlsServer, { host, port }: MeshServerOptions['listen']): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port, exclusive: true }, () => {
    server.off('error', reject)
    resolve()
  })
  return promise
}
