import type { Socket } from 'node:net'
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { SpiffeWorkloadAPIService } from '../../contracts/gen/standard/spiffe/workload/workload.ts'
import type { Sleep } from '../ports.ts'
import type { WorkloadApi } from './workload-api.ts'

/** Opens the socket of the application and hands over its connections; given by main, which knows the room with the listeners. */
export type Listen = (accept: (socket: Socket) => void) => Promise<Listening>

export interface Listening {
  readonly address: string
  close(): Promise<void>
  drop(): void
}

export interface RunningWorkloadApi extends AsyncDisposable {
  readonly address: string
}

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
export async function openWorkloadApi(
  api: WorkloadApi,
  listen: Listen,
  sleep: Sleep,
): Promise<RunningWorkloadApi> {
  const server = new Server(LIMITS)
  server.addService(SpiffeWorkloadAPIService as unknown as ServiceDefinition<UntypedServiceImplementation>, {
    ...api,
  })
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listening = await listen(injector.injectConnection.bind(injector)).catch((cause: unknown) => {
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
