import type { IncomingMessage } from 'node:http'
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

/** The body of a request; undefined when it is larger than `most` bytes. */
export async function readBody(request: IncomingMessage, most: number): Promise<Buffer | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > most) return undefined
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).byteLength
    if (size > most) return undefined
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}
