import type { Socket } from 'node:net'
import { type Server, ServerCredentials } from '@grpc/grpc-js'

/** Connections of a listener of ours. */
export interface Accepting {
  readonly address: string
  /** Stops accepting; resolves when the last connection has gone. */
  close(): Promise<void>
  /** Drops every connection that is left. */
  drop(): void
}

export type Listen = (accept: (socket: Socket) => void) => Promise<Accepting>

export interface Served extends AsyncDisposable {
  readonly address: string
}

export interface Farewell {
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** How long calls in flight may finish. */
  readonly graceMs: number
}

/**
 * Serves on a socket of its own: whoever reaches it is whoever has its directory mounted. grpc-js only speaks HTTP/2; the connections
 * are accepted by our own listener. Rejects when the socket cannot be had.
 */
export async function serveOnOwnSocket(
  server: Server,
  listen: Listen,
  { sleep, graceMs }: Farewell,
): Promise<Served> {
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
      await Promise.race([idle, sleep(graceMs, patience.signal).catch(() => undefined)])
      patience.abort()
      server.forceShutdown()
      listening.drop()
      await idle
    },
  }
}
