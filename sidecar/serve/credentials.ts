import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Sleep } from '../ports.ts'
import { listenUnix, type UnixListener } from './listeners.ts'

/** A service that hands out or changes credentials. */
export interface CredentialService {
  readonly definition: unknown
  readonly implementation: UntypedServiceImplementation
}

export interface RunningCredentials extends AsyncDisposable {
  readonly address: string
}

const CONNECTIONS = 16
const LIMITS = {
  'grpc.max_receive_message_length': 64 * 1024,
  'grpc.max_send_message_length': 64 * 1024,
  'grpc.max_concurrent_streams': 128,
  'grpc-node.max_session_memory': 8,
  'grpc.max_connection_idle_ms': 10 * 60_000,
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.enable_channelz': 0,
} as const
const GRACE_MS = 2_000

/**
 * Serves what concerns credentials on a socket of its own: whoever reaches it is whoever has its directory mounted. None of it is on the
 * socket for checks, and nothing of this is ever on TCP. Rejects when the socket cannot be had.
 */
export async function openCredentials(
  socket: UnixListener,
  services: readonly CredentialService[],
  sleep: Sleep,
): Promise<RunningCredentials> {
  const server = new Server(LIMITS)
  for (const { definition, implementation } of services)
    server.addService(definition as ServiceDefinition<UntypedServiceImplementation>, implementation)
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const accept = injector.injectConnection.bind(injector)
  const listening = await listenUnix(socket, CONNECTIONS, accept).catch((cause: unknown) => {
    server.forceShutdown()
    throw cause
  })
  return {
    address: listening.address,
    async [Symbol.asyncDispose]() {
      const idle = listening.close()
      server.tryShutdown(() => undefined)
      const patience = new AbortController()
      await Promise.race([idle, sleep(GRACE_MS, patience.signal).catch(() => undefined)])
      patience.abort()
      server.forceShutdown()
      listening.drop()
      await idle
    },
  }
}
