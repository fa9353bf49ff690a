import type { Denial, HttpRequest } from '../client.ts'
import type { Gate } from './gate.ts'
import { denialHeaders, type HttpResponse } from './response.ts'
import { type GuardedRoute, textParams } from './route.ts'

/** What is used of Fastify 5; its own types fit. */
export interface FastifyRequestLike {
  readonly raw: HttpRequest
  readonly params?: unknown
}
export interface FastifyReplyLike {
  readonly raw: HttpResponse
  code(status: number): unknown
  header(name: string, value: string | string[]): unknown
  send(payload: string): unknown
}
export interface FastifyRouteLike {
  config?: unknown
  handler?: unknown
}
export interface FastifyLike {
  addHook(name: 'onRoute', hook: (route: FastifyRouteLike) => void): unknown
  addHook(name: 'onRequest', hook: FastifyOnRequest): unknown
}
export type FastifyOnRequest = (
  request: FastifyRequestLike,
  reply: FastifyReplyLike,
  done: () => void,
) => void
export type FastifyHandler<Req, Res> = (request: Req, reply: Res) => Promise<unknown>
export type FastifyPlugin = (app: FastifyLike, options: unknown, done: () => void) => void

/** Options of one Fastify route: `app.get('/invoices/:id', guard.fastifyRoute(route))`. */
export interface FastifyRouteOptions<Req, Res> {
  readonly config: { readonly portcullis: GuardedRoute<Req, Res> }
  readonly handler: FastifyHandler<Req, Res>
}

/**
 * The plugin. Register it, and `await` that, before the routes: `onRoute` sees only what comes later. Routes without
 * `config.portcullis` get a handler that refuses, so their own never runs; a route that escaped `onRoute` still cannot
 * send anything, because every response is shut from `onRequest` on.
 */
export function createPlugin(gate: Gate): FastifyPlugin {
  const refuse = async (request: FastifyRequestLike, reply: FastifyReplyLike): Promise<unknown> =>
    sendDenial(reply, gate.undeclared(request.raw, reply.raw))
  const plugin: FastifyPlugin = (app, _options, done) => {
    app.addHook('onRoute', (route) => {
      const declared = declarationOf(route.config)
      // Whatever handler was given beside the declaration: only the one that asks first may run.
      route.handler = (gate.isRoute(declared) ? handlers.get(declared) : undefined) ?? refuse
    })
    app.addHook('onRequest', (request, reply, next) => {
      gate.shut(request.raw, reply.raw)
      next()
    })
    done()
  }
  // What fastify-plugin would do: the hooks belong to the instance that registers, not to a child of it.
  return Object.assign(plugin, {
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'portcullis',
  })
}

export function createRouteOptions<Req extends FastifyRequestLike, Res extends FastifyReplyLike>(
  gate: Gate,
  route: GuardedRoute<Req, Res>,
): FastifyRouteOptions<Req, Res> {
  async function handler(req: Req, reply: Res): Promise<unknown> {
    const params = textParams(req.params)
    const admission = await gate.enter(route, { req, raw: req.raw, response: reply.raw, params })
    return admission.kind === 'deny' ? sendDenial(reply, admission) : admission.run(reply)
  }
  handlers.set(gate.own(route), handler)
  return { config: { portcullis: route }, handler }
}

/** The guarding handler of each route declared for Fastify. */
const handlers = new WeakMap<object, unknown>()

/** Through the reply rather than its socket, so that headers set before (CORS, request id) stay on a refusal. */
function sendDenial(reply: FastifyReplyLike, denial: Denial): unknown {
  reply.code(denial.client.status)
  for (const [name, values] of denialHeaders(denial.client)) {
    const [only = '', ...more] = values
    reply.header(name, more.length === 0 ? only : values)
  }
  return reply.send(denial.client.text)
}

function declarationOf(config: unknown): unknown {
  return typeof config === 'object' && config !== null && 'portcullis' in config
    ? config.portcullis
    : undefined
}
