import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { HealthService } from '../../contracts/gen/standard/grpc/health/v1/health.ts'
import type { Sleep } from '../ports.ts'
import type { Checks } from './checks.ts'
import type { createHealth } from './health.ts'
import { type Listening, listenTcp, listenUnix, type TcpListener, type UnixListener } from './listeners.ts'
import type { VerifyTokenCall } from './verify-token.ts'

export interface ServerConfig {
  readonly unix: UnixListener | undefined
  readonly tcp: TcpListener | undefined
  /** Connections at once, a listener. */
  readonly connections: number
  readonly requestBytes: number
  /** Calls at once on one connection. */
  readonly streams: number
}

/** What is served of it. */
export interface Authorizer extends Checks {
  readonly verifyToken: VerifyTokenCall
}

export interface RunningServer extends AsyncDisposable {
  readonly addresses: { readonly unix: string | undefined; readonly tcp: string | undefined }
  /** Accepts nothing new, lets calls in flight finish, and after `graceMs` ends what is left. */
  drain(graceMs: number, signal: AbortSignal): Promise<void>
}

const MIB_OF_SESSION_MEMORY = 8
const RESPONSE_BYTES = 64 * 1024

/** Every limit of grpc-js by name: its defaults are no stream cap, 4 MiB messages and unlimited session memory. */
function grpcLimits(config: ServerConfig) {
  return {
    'grpc.max_receive_message_length': config.requestBytes,
    'grpc.max_send_message_length': RESPONSE_BYTES,
    'grpc.max_concurrent_streams': config.streams,
    'grpc-node.max_session_memory': MIB_OF_SESSION_MEMORY,
    'grpc.max_connection_idle_ms': 10 * 60_000,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.enable_channelz': 0,
  }
}

/** Serves the authorizer and gRPC health on the socket and on loopback. Rejects when an address cannot be had. */
export async function openServer(
  config: ServerConfig,
  checks: Authorizer,
  health: ReturnType<typeof createHealth>,
  sleep: Sleep,
): Promise<RunningServer> {
  const server = new Server(grpcLimits(config))
  server.addService(rawAuthorizer(), { ...checks })
  server.addService(HealthService as unknown as ServiceDefinition<UntypedServiceImplementation>, {
    ...health,
  })

  // Sockets are accepted by our own listeners, which bound their number and probe stale ones; grpc-js only speaks HTTP/2.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const accept = injector.injectConnection.bind(injector)
  const listeners: Listening[] = []
  const stopListening = () => Promise.all(listeners.map((one) => one.close()))
  try {
    if (config.unix) listeners.push(await listenUnix(config.unix, config.connections, accept))
    if (config.tcp) listeners.push(await listenTcp(config.tcp, config.connections, accept))
  } catch (cause) {
    server.forceShutdown()
    await stopListening()
    throw cause
  }

  const drain = async (graceMs: number, signal: AbortSignal): Promise<void> => {
    // Idle when the last connection has gone. grpc-js tells its clients to go away, but of injected connections it does not
    // know when they have: its callback comes at once.
    const idle = stopListening()
    server.tryShutdown(() => undefined)
    const patience = new AbortController()
    const within = AbortSignal.any([signal, patience.signal])
    await Promise.race([idle, sleep(graceMs, within).catch(() => undefined)])
    patience.abort()
    server.forceShutdown()
    for (const one of listeners) one.drop()
    await idle
  }
  return {
    addresses: { unix: config.unix?.path, tcp: config.tcp && listeners.at(-1)?.address },
    drain,
    [Symbol.asyncDispose]: () => drain(0, AbortSignal.abort()),
  }
}

// Bytes in, bytes out: a message that cannot be decoded is our denial, not grpc-js's error text.
function rawAuthorizer(): ServiceDefinition<UntypedServiceImplementation> {
  const same = (bytes: Buffer): Buffer => bytes
  const raw = {
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  }
  return {
    check: { ...AuthorizerService.check, ...raw },
    checkStream: { ...AuthorizerService.checkStream, ...raw },
    verifyToken: { ...AuthorizerService.verifyToken, ...raw },
  }
}
