import { Server, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { type Listen, type Served, serveOnOwnSocket } from '../../contracts/own-socket.ts'
import type { Sleep } from '../ports.ts'
import { listenUnix, type UnixListener } from './listeners.ts'

/** A service that hands out or changes credentials. */
export interface CredentialService {
  readonly definition: unknown
  readonly implementation: UntypedServiceImplementation
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
): Promise<Served> {
  const server = new Server(LIMITS)
  for (const { definition, implementation } of services)
    server.addService(definition as ServiceDefinition<UntypedServiceImplementation>, implementation)
  const listen: Listen = (accept) => listenUnix(socket, CONNECTIONS, accept)
  return serveOnOwnSocket(server, listen, { sleep, graceMs: GRACE_MS })
}
