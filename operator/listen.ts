import type { Server } from 'node:net'

/** Resolves once the server listens there and nobody else does. Rejects when the place is taken or not ours. */
export function listenOn(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port, exclusive: true }, () => {
    server.off('error', reject)
    resolve()
  })
  return promise
}
