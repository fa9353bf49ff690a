import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AuthorizerClient, HttpRequest } from './client.ts'
import type { FastifyRequestLike, FastifyRouteOptions } from './guard/fastify.ts'
import {
  createPlugin,
  createRouteOptions,
  type FastifyPlugin,
  type FastifyReplyLike,
} from './guard/fastify.ts'
import { createGate } from './guard/gate.ts'
import {
  createFence,
  createListener,
  createMiddleware,
  type Listener,
  type Middleware,
} from './guard/http.ts'
import { type Counts, createPassages, type PassageEvents } from './guard/passage.ts'
import type { HttpResponse } from './guard/response.ts'
import type { RouteDeclaration } from './guard/route.ts'
import { declareOpen, declareRoute, type GuardedRoute, type OpenDeclaration } from './guard/route.ts'
import type { RouteTable } from './guard/table.ts'

export type {
  FastifyPlugin,
  FastifyReplyLike,
  FastifyRequestLike,
  FastifyRouteOptions,
} from './guard/fastify.ts'
export type { Listener, Middleware, Next } from './guard/http.ts'
export type { Counter, Counts } from './guard/passage.ts'
export type { HttpResponse } from './guard/response.ts'
export type {
  Granted,
  GuardedRoute,
  Loaded,
  OpenDeclaration,
  Params,
  RouteDeclaration,
} from './guard/route.ts'
export type { RouteTable } from './guard/table.ts'

export interface GuardOptions extends PassageEvents {
  readonly client: Pick<AuthorizerClient, 'check'>
  /** Of each check, milliseconds; the client's own when absent. */
  readonly deadlineMs?: number
  /** What `load` threw; on plain node:http also what a handler threw. Nowhere else is it told. */
  readonly onError?: (error: unknown, request: HttpRequest) => void
}

/** The guard of an application: handlers get a resource through a passed check, and from nowhere else. */
export interface Guard {
  /** Declares a route: an action, how to load what it acts on, and a handler that runs only after a passed check. */
  route<Value, Req = IncomingMessage, Res = ServerResponse>(
    declaration: RouteDeclaration<Value, Req, Res>,
  ): GuardedRoute<Req, Res>
  /** Declares a route that needs no check, and why. */
  open<Req = IncomingMessage, Res = ServerResponse>(
    declaration: OpenDeclaration<Req, Res>,
  ): GuardedRoute<Req, Res>
  /** A listener for node:http and node:http2: `createServer(guard.http({ 'GET /invoices/:id': readInvoice }))`. */
  http<Req extends HttpRequest, Res extends HttpResponse>(table: RouteTable<Req, Res>): Listener<Req, Res>
  /** A handler for Express: `app.get('/invoices/:id', guard.express(readInvoice))`. */
  express<Req extends HttpRequest, Res extends HttpResponse>(
    route: GuardedRoute<Req, Res>,
  ): Middleware<Req, Res>
  /**
   * `app.use(guard.expressFence())` before the routes: what answers without a passed check, be it an unguarded route or
   * Express's own 404, becomes one generic refusal. An unguarded handler still runs; its response stays here.
   */
  expressFence(): Middleware<HttpRequest, HttpResponse>
  /** `await app.register(guard.fastify())` before the routes: those without a declaration are refused, unrun. */
  fastify(): FastifyPlugin
  /** Options of a Fastify route: `app.get('/invoices/:id', guard.fastifyRoute(readInvoice))`. */
  fastifyRoute<Req extends FastifyRequestLike, Res extends FastifyReplyLike>(
    route: GuardedRoute<Req, Res>,
  ): FastifyRouteOptions<Req, Res>
  /** Counts every response of a server, also those that go past the guard. Enforces nothing. */
  watch(server: RequestSource): void
  /** Responses so far; `served` above `checked` means that something answers without a check. */
  counts(): Counts
}

/** An HTTP server of any kind: `app.listen()` of Express, `app.server` of Fastify. */
export interface RequestSource {
  prependListener(event: 'request', listener: (req: HttpRequest, res: HttpResponse) => void): unknown
}

/** Opens nothing, and imports no framework: what is needed of each is its shape. */
export function createGuard(options: GuardOptions): Guard {
  const passages = createPassages(options)
  const gate = createGate(passages)
  return {
    route: (declaration) => gate.keep(declareRoute(declaration, options)),
    open: (declaration) => gate.keep(declareOpen(declaration)),
    http: (table) => createListener(gate, table, (error, request) => options.onError?.(error, request)),
    express: (route) => createMiddleware(gate, route),
    expressFence: () => createFence(gate),
    fastify: () => createPlugin(gate),
    fastifyRoute: (route) => createRouteOptions(gate, route),
    watch: (server) => {
      server.prependListener('request', (_request, response) => passages.watch(response))
    },
    counts: passages.counts,
  }
}
