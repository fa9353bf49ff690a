import { createServer, type ServerResponse } from 'node:http'
import { jwksOf, type SigningKey, signingKey } from '../fixtures/keys.ts'
import type { Sidecar, Tree } from '../fixtures/sidecar.ts'
import { SHIPPED_MEMORY, startSidecar } from '../fixtures/sidecar.ts'
import type { Ground } from './ground.ts'

// A key set on loopback that answers, or takes the question and stays silent.

export interface KeyServer extends AsyncDisposable {
  readonly uri: string
  fetches(): number
  // Answers with these keys from now on, the fetches that hang included.
  serve(keys: readonly SigningKey[]): void
  hang(): void
  // Fetches that wait for an answer.
  hanging(): number
}

export async function startKeyServer(first: readonly SigningKey[] = [signingKey()]): Promise<KeyServer> {
  const silent = new Set<ServerResponse>()
  let document: string | undefined
  let fetches = 0
  const server = createServer((_request, response) => {
    fetches++
    if (document !== undefined) return answer(response, document)
    silent.add(response)
    response.on('close', () => silent.delete(response))
  })
  const serve = (keys: readonly SigningKey[]) => {
    const text = JSON.stringify(jwksOf(keys))
    document = text
    for (const response of silent) answer(response, text)
  }
  serve(first)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the key server has no port')
  return {
    uri: `http://127.0.0.1:${address.port}/jwks`,
    fetches: () => fetches,
    serve,
    hang: () => {
      document = undefined
    },
    hanging: () => silent.size,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}

function answer(response: ServerResponse, document: string): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(document)
}

// Knows the first key; a question under any other `kid` of a hanging server is parked.
export function startFetching(ground: Ground, keys: KeyServer, over: Tree = {}): Promise<Sidecar> {
  const issuer = ground.issuer({ jwks: { uri: keys.uri }, allowInsecureLoopback: true })
  return startSidecar({ config: ground.config({ issuers: [issuer], ...over }), env: SHIPPED_MEMORY })
}
