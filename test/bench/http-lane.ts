import { Agent, type IncomingMessage, request } from 'node:http'
import type { Lane } from './lane.ts'
import type { Question } from './workload.ts'

const CONNECTIONS = 64

/** POST to OPA's Data API over kept connections on a Unix socket. */
export function openHttp(socketPath: string, path: string, pool: readonly Question[]): Lane {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const headers = { 'content-type': 'application/json' }
  return {
    ask(index, told) {
      const body = pool[index]?.http ?? Buffer.alloc(0)
      const options = {
        socketPath,
        path,
        method: 'POST',
        agent,
        headers: { ...headers, 'content-length': body.length },
      }
      const call = request(options, (response) => {
        collect(response, (bytes) => told(index, response.statusCode === 200 ? bytes : undefined))
      })
      call.on('error', () => told(index, undefined))
      call.end(body)
    },
    close: () => agent.destroy(),
  }
}

function collect(response: IncomingMessage, take: (bytes: Buffer) => void): void {
  let bytes: Buffer | undefined
  response.on('data', (chunk: Buffer) => {
    bytes = bytes ? Buffer.concat([bytes, chunk]) : chunk
  })
  response.on('end', () => take(bytes ?? Buffer.alloc(0)))
}
