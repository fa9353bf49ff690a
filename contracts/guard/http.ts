import type { HttpRequest } from '../client.ts'
import type { Gate } from './gate.ts'
import { quietly } from './passage.ts'
import { type HttpResponse, writeDenial } from './response.ts'
import { type GuardedRoute, type Params, textParams } from './route.ts'
import { createTable, type RouteTable } from './table.ts'

/** Next function of Express and of the frameworks like it. */
export type Next = (error?: unknown) => void
export type Listener<Req, Res> = (req: Req, res: Res) => void
export type Middleware<Req, Res> = (req: Req, res: Res, next: Next) => void

/** A request listener over a table of routes; `failed` hears what a handler threw. */
export function createListener<Req extends HttpRequest, Res extends HttpResponse>(
  gate: Gate,
  table: RouteTable<Req, Res>,
  failed: (error: unknown, request: HttpRequest) => void,
): Listener<Req, Res> {
  for (const route of Object.values(table)) gate.own(route)
  const find = createTable(table)
  return (req, res) => {
    const match = find(req)
    if (match === undefined) return writeDenial(res, gate.undeclared(req, res).client)
    serve(gate, match.route, { req, res, params: match.params }).catch((error: unknown) => {
      quietly(() => failed(error, req))
      fail(res)
    })
  }
}

/** An Express handler. What the route's handler throws goes to `next`, where the application handles its errors. */
export function createMiddleware<Req extends HttpRequest, Res extends HttpResponse>(
  gate: Gate,
  route: GuardedRoute<Req, Res>,
): Middleware<Req, Res> {
  gate.own(route)
  return (req, res, next) => {
    serve(gate, route, { req, res, params: textParams('params' in req ? req.params : undefined) }).catch(next)
  }
}

export function createFence(gate: Gate): Middleware<HttpRequest, HttpResponse> {
  return (req, res, next) => {
    gate.shut(req, res)
    next()
  }
}

interface Exchange<Req, Res> {
  readonly req: Req
  readonly res: Res
  readonly params: Params
}

async function serve<Req extends HttpRequest, Res extends HttpResponse>(
  gate: Gate,
  route: GuardedRoute<Req, Res>,
  { req, res, params }: Exchange<Req, Res>,
): Promise<void> {
  const admission = await gate.enter(route, { req, raw: req, response: res, params })
  if (admission.kind === 'deny') return writeDenial(res, admission.client)
  await admission.run(res)
}

/** A handler that threw: nothing of the error leaves, nothing hangs, and half a body does not pass for a whole one. */
function fail(response: HttpResponse): void {
  if (response.headersSent) response.destroy()
  else writeDenial(response, { status: 500, headers: [], text: 'Internal Server Error', grpcStatus: 13 })
}
