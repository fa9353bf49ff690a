import { refuse } from '../client/answer.ts'
import type { Denial, HttpRequest } from '../client.ts'
import type { Passages } from './passage.ts'
import type { HttpResponse } from './response.ts'
import type { Admitted, GuardedRoute, Params } from './route.ts'

/** Where a request comes in: the framework's request and, as `raw` and `response`, node's own pair. */
export interface Arrival<Req> {
  readonly req: Req
  readonly raw: HttpRequest
  readonly response: HttpResponse
  readonly params: Params
}

/** The one way through the guard; every framework's adapter goes this way. */
export interface Gate {
  /** The response is shut until the route admits; only a passed check, or a route declared open, is admitted. */
  readonly enter: <Req, Res>(
    route: GuardedRoute<Req, Res>,
    arrival: Arrival<Req>,
  ) => Promise<Admitted<Res> | Denial>
  /** Records a request for which no route is declared. */
  readonly undeclared: (raw: HttpRequest, response: HttpResponse) => Denial
  readonly shut: Passages['shut']
  readonly keep: <Req, Res>(route: GuardedRoute<Req, Res>) => GuardedRoute<Req, Res>
  /** Throws a TypeError for an object that only looks like a route of this guard: it could admit anybody. */
  readonly own: <Req, Res>(route: GuardedRoute<Req, Res>) => GuardedRoute<Req, Res>
  readonly isRoute: (value: unknown) => value is object
}

export function createGate(passages: Passages): Gate {
  const routes = new WeakSet<object>()

  async function enter<Req, Res>(
    route: GuardedRoute<Req, Res>,
    arrival: Arrival<Req>,
  ): Promise<Admitted<Res> | Denial> {
    const { req, raw, response, params } = arrival
    passages.shut(raw, response)
    const admission = await route.admit(req, raw, params)
    passages.mark(response, admission.kind === 'deny' ? 'denied' : admission.passage)
    if (admission.kind === 'deny') passages.denied(admission, raw)
    // Before the handler runs, which may still say otherwise.
    else for (const { name, value } of admission.headers) response.setHeader(name, value)
    return admission
  }

  function undeclared(raw: HttpRequest, response: HttpResponse): Denial {
    const denial = refuse('undeclared', 'no route is declared for this request')
    passages.shut(raw, response)
    passages.mark(response, 'undeclared')
    passages.denied(denial, raw)
    return denial
  }

  function keep<Req, Res>(route: GuardedRoute<Req, Res>): GuardedRoute<Req, Res> {
    routes.add(route)
    return route
  }

  function own<Req, Res>(route: GuardedRoute<Req, Res>): GuardedRoute<Req, Res> {
    if (!isRoute(route))
      throw new TypeError('this is no route of this guard: make it with guard.route or guard.open')
    return route
  }

  function isRoute(value: unknown): value is object {
    return typeof value === 'object' && value !== null && routes.has(value)
  }

  return { enter, undeclared, shut: passages.shut, keep, own, isRoute }
}
