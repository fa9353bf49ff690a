import { createServer, type Server } from 'node:http'
import express, { type Request, type Response } from 'express'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { createAuthorizerClient } from '../../contracts/client.ts'
import { createGuard, type Guard } from '../../contracts/guard.ts'
import {
  acmeOnly,
  type Invoice,
  listening,
  loadInvoice,
  observer,
  type Running,
  running,
} from './guarded-app.ts'
import { openSidecar, type Script, type ScriptedSidecar } from './scripted-sidecar.ts'

/** For answers that do come: long enough for a busy machine, and never waited for. */
export const PATIENT_MS = 20_000

export interface App extends AsyncDisposable {
  readonly http: Running
  readonly guard: Guard
  readonly sidecar: ScriptedSidecar
  readonly seen: ReturnType<typeof observer>
  /** Invoices that reached a handler. */
  readonly handled: string[]
}

export interface Parts {
  readonly guard: Guard
  readonly handled: string[]
}

/** The same application three times: guarded reads, one forgotten check, one open probe. */
export const FRAMEWORKS: Readonly<Record<string, (parts: Parts) => Promise<Server>>> = {
  'node:http': plainApp,
  Express: expressApp,
  Fastify: fastifyApp,
}

export async function plainApp({ guard, handled }: Parts): Promise<Server> {
  const read = guard.route({
    action: 'invoice:read',
    load: async (_req, { id }) => loadInvoice(id),
    handler: (_req, res, { resource, principal }) => {
      handled.push(resource.id)
      res.end(`${resource.secret} for ${principal.subject}`)
    },
  })
  const probe = guard.open({ because: 'probe', handler: (_req, res) => res.end('alive') })
  return createServer(guard.http({ 'GET /invoices/:id': read, 'GET /alive': probe }))
}

export async function expressApp({ guard, handled }: Parts): Promise<Server> {
  const app = express()
  app.use(guard.expressFence())
  const read = guard.route({
    action: 'invoice:read',
    load: async (req: Request) => loadInvoice(req.params['id']),
    handler: (_req, res: Response, { resource, principal }) => {
      handled.push(resource.id)
      res.send(`${resource.secret} for ${principal.subject}`)
    },
  })
  const probe = guard.open({ because: 'probe', handler: (_req: Request, res: Response) => res.send('alive') })
  app.get('/invoices/:id', guard.express(read))
  app.get('/alive', guard.express(probe))
  app.get('/forgotten', (_req, res) => res.json({ secret: 'forgotten-secret' }))
  return createServer(app)
}

export async function fastifyApp({ guard, handled }: Parts): Promise<Server> {
  const app = fastify()
  await app.register(guard.fastify())
  const read = guard.route({
    action: 'invoice:read',
    load: async (req: FastifyRequest, { id }) => loadInvoice(id ?? req.id),
    handler: async (_req, _reply: FastifyReply, { resource, principal }) => {
      handled.push(resource.id)
      return `${resource.secret} for ${principal.subject}`
    },
  })
  const probe = guard.open({
    because: 'probe',
    handler: async (_req: FastifyRequest, _reply: FastifyReply) => 'alive',
  })
  app.get('/invoices/:id', guard.fastifyRoute(read))
  app.get('/alive', guard.fastifyRoute(probe))
  app.get('/forgotten', async () => {
    handled.push('forgotten')
    return { secret: 'forgotten-secret' }
  })
  app.get('/smuggled', { config: { portcullis: read }, handler: async () => handled.push('smuggled') })
  await app.ready()
  return app.server
}

export async function open(make: (parts: Parts) => Promise<Server>, script: Script = acmeOnly): Promise<App> {
  const sidecar = await openSidecar(script)
  const client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const seen = observer()
  const guard = createGuard({ client, onDenied: seen.onDenied, onError: seen.onError })
  const handled: string[] = []
  const server = await make({ guard, handled })
  guard.watch(server)
  const http = running(await listening(server))
  const close = async (): Promise<void> => {
    client.close()
    await http[Symbol.asyncDispose]()
    await sidecar[Symbol.asyncDispose]()
  }
  return { http, guard, sidecar, seen, handled, [Symbol.asyncDispose]: close }
}

export const NOTHING = { served: 0, checked: 0, denied: 0, undeclared: 0, open: 0 }

export function expressRead(
  guard: Guard,
  respond?: (res: Response, invoice: Invoice) => void,
): ReturnType<typeof guard.route<Invoice, Request, Response>> {
  return guard.route({
    action: 'invoice:read',
    load: async (req: Request) => loadInvoice(req.params['id']),
    handler: (_req, res: Response, { resource }) =>
      respond ? respond(res, resource) : res.send(resource.secret),
  })
}
