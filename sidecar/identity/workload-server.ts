import { Server, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { SpiffeWorkloadAPIService } from '../../contracts/gen/standard/spiffe/workload/workload.ts'
import { type Listen, type Served, serveOnOwnSocket } from '../../contracts/own-socket.ts'
import type { Sleep } from '../ports.ts'
import type { WorkloadApi } from './workload-api.ts'

const LIMITS = {
  'grpc.max_receive_message_length': 64 * 1024,
  // 16 identities of at most four certificates, and the roots with each of them.
  'grpc.max_send_message_length': 2 * 1024 * 1024,
  'grpc.max_concurrent_streams': 64,
  'grpc-node.max_session_memory': 8,
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
  'grpc.enable_channelz': 0,
} as const

const GRACE_MS = 500

/**
 * Serves the SPIFFE Workload API on a socket of its own: nothing else is on it, and it is on nothing else. Rejects when the socket cannot
 * be had. When disposed it accepts nothing new; streams have been ended by the drain signal that the methods were made with.
 */
export async function openWorkloadApi(api: WorkloadApi, listen: Listen, sleep: Sleep): Promise<Served> {
  const server = new Server(LIMITS)
  server.addService(SpiffeWorkloadAPIService as unknown as ServiceDefinition<UntypedServiceImplementation>, {
    ...api,
  })
  return serveOnOwnSocket(server, listen, { sleep, graceMs: GRACE_MS })
}
