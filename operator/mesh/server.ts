import { constants } from 'node:crypto'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { X509Trust } from '../../contracts/spiffe.ts'
import { listenOn } from '../listen.ts'
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

const HANDSHAKE_MS = 10_000
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
  // A context is replaced whole, so that no handshake can see an SVID with the bundle of another day.
  const contextNow = () => createSecureContext(contextOptions(identity.current(), trust.current()))
  let context = contextNow()
  const net = createServer({ noDelay: true })
  net.maxConnections = limits.connections
  const open = accepting(net, options, peers, { context: () => context, accept: injector.injectConnection })
  await listenOn(net, options.listen)

  const rotated = () => {
    context = contextNow()
  }
  const watching = [identity.watch(rotated), trust.watch(rotated), trust.watch(peers.recheck)]
  const closing = new AbortController()
  const sweeping = sweep(peers, options.sleep, closing.signal)

  const drain = async (graceMs: number, signal: AbortSignal): Promise<void> => {
    const idle = new Promise<void>((resolve) => void net.close(() => resolve()))
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
  const bound = net.address()
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

/** TLS with resumption made impossible: a resumed session would not be verified against the bundle of its day. */
function contextOptions(identity: MeshIdentity, trust: X509Trust) {
  return { ...tlsOptions(identity, trust), secureOptions: constants.SSL_OP_NO_TICKET }
}

interface Acceptor {
  readonly context: () => SecureContext
  readonly accept: (socket: TLSSocket) => void
}

// TLSSocket rather than tls.Server: the latter, in node 24.21, loses the intermediates that a client presented before anybody can
// read them (nodejs/node#65579). Verification is ours in either case.
function accepting(
  server: NetServer,
  { refused, sleep }: MeshServerOptions,
  peers: Peers,
  { context, accept }: Acceptor,
): ReadonlySet<Socket> {
  const open = new Set<Socket>()
  server.on('connection', (raw) => {
    open.add(raw)
    const socket = new TLSSocket(raw, {
      isServer: true,
      secureContext: context(),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: HTTP2,
    })
    const drop = () => {
      socket.destroy()
      raw.destroy()
    }
    const settled = new AbortController()
    raw.on('error', drop)
    socket.on('error', drop)
    // What TLS finds wrong after the handshake reaches `error` only where tls.Server has let go of the socket.
    socket.on('_tlsError', drop)
    raw.once('close', () => {
      open.delete(raw)
      if (!settled.signal.aborted) refused('handshake')
      settled.abort()
      socket.destroy()
    })
    void sleep(HANDSHAKE_MS, settled.signal).then(drop, () => undefined)
    socket.once('secure', () => {
      settled.abort()
      const why = peers.admit(socket)
      if (why !== undefined) {
        refused(why)
        drop()
        return
      }
      accept(socket)
      // What HTTP/2 waits for on a TLSSocket; tls.Server would have marked the socket instead.
      socket.emit('secureConnect')
    })
  })
  return open
}

/** The protocol list of ALPN, as it is on the wire (RFC 7301 section 3.1). */
const HTTP2 = Buffer.from('\u0002h2', 'latin1')

async function sweep(peers: Peers, sleep: Sleep, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(RECHECK_MS, signal).catch(() => undefined)
    peers.recheck()
  }
}
