import { createServer, type Server, type ServerResponse } from 'node:http'

/** What the admin port tells: life, readiness with its causes, metrics. */
export interface AdminView {
  /** One cause a line; empty when ready. */
  readonly notReadyBecause: () => readonly string[]
  /** What is noteworthy but does not make it unready. */
  readonly remarks: () => readonly string[]
  readonly facts: () => Readonly<Record<string, string | number>>
  readonly metrics: () => Promise<string>
  readonly metricsType: string
}

export interface AdminListener {
  readonly host: string
  readonly port: number
}

export interface RunningAdmin extends AsyncDisposable {
  readonly address: string
}

/** Serves /livez, /readyz and /metrics. Rejects when the address cannot be had. */
export async function openAdmin(to: AdminListener, view: AdminView): Promise<RunningAdmin> {
  const server = createServer({ maxHeaderSize: 8 * 1024, requestTimeout: 5_000, headersTimeout: 5_000 })
  server.maxConnections = 64
  server.keepAliveTimeout = 30_000
  server.on('request', (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? ''
    const route = request.method === 'GET' || request.method === 'HEAD' ? ROUTES[path] : undefined
    if (!route) return plain(response, 404, 'not found\n')
    route(view, response).catch(() => plain(response, 500, 'failed\n'))
  })
  await listening(server, to)
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : to.port
  return {
    address: to.host.includes(':') ? `[${to.host}]:${port}` : `${to.host}:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

type Route = (view: AdminView, response: ServerResponse) => Promise<void>

const ROUTES: Readonly<Record<string, Route>> = {
  '/livez': async (_view, response) => plain(response, 200, 'ok\n'),
  '/readyz': async (view, response) => {
    const causes = view.notReadyBecause()
    const body = { ready: causes.length === 0, causes, remarks: view.remarks(), ...view.facts() }
    response.writeHead(causes.length === 0 ? 200 : 503, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(body)}\n`)
  },
  '/metrics': async (view, response) => {
    const text = await view.metrics()
    response.writeHead(200, { 'content-type': view.metricsType })
    response.end(text)
  },
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' })
  response.end(text)
}

function listening(server: Server, { host, port }: AdminListener): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port, exclusive: true }, () => resolve())
  return promise
}
