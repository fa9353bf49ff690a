import { refuse } from '../client/answer.ts'
import type { Decision, JsonFacts, Principal, StoredFacts } from '../client.ts'
import {
  type Allowance,
  type AuthorizerClient,
  type Denial,
  fromHttp,
  type HttpRequest,
  isAllowance,
} from '../client.ts'
import { type Passage, quietly } from './passage.ts'

/** A route that says what is done and to what. Made into a route by `guard.route`. */
export interface RouteDeclaration<Value, Req, Res> {
  /** `<type>:<verb>`, for instance `invoice:read`. */
  readonly action: string
  /**
   * Reads the resource from the application's own store. Nothing found (`undefined`, `null`) is answered like a
   * resource of another tenant. What it throws is a denial (503).
   */
  readonly load: (req: Req, params: Params) => Promise<Loaded<Value> | Nothing> | Loaded<Value> | Nothing
  /** Runs only after a passed check, and gets the resource from nowhere else. */
  readonly handler: (req: Req, res: Res, granted: Granted<Value>) => unknown
}

/** A route for everybody: probes, login pages, CORS preflights. Counted apart. */
export interface OpenDeclaration<Req, Res> {
  /** Why no check is needed; for the reader of the code. */
  readonly because: string
  readonly handler: (req: Req, res: Res, params: Params) => unknown
}

export type Params = Readonly<Record<string, string>>
export type Nothing = undefined | null

export interface Loaded<Value> {
  /** Facts as stored; rules of tenancy and ownership read these. */
  readonly stored: StoredFacts
  /** Facts as sent by the caller. */
  readonly request?: JsonFacts | undefined
  /** What the handler works with. */
  readonly value: Value
}

export interface Granted<Value> {
  readonly resource: Value
  readonly principal: Principal
  readonly params: Params
  readonly allowance: Allowance
}

/** A declared route, for `guard.http`, `guard.express` and `guard.fastifyRoute` of the same guard. */
export interface GuardedRoute<Req, Res> {
  /** `undefined` on an open route. */
  readonly action: string | undefined
  readonly admit: (req: Req, raw: HttpRequest, params: Params) => Promise<Admitted<Res> | Denial>
}

export interface Admitted<Res> {
  readonly kind: 'admitted'
  readonly passage: Extract<Passage, 'checked' | 'open'>
  /** Lines of the response that the sidecar asks for. */
  readonly headers: Allowance['headers']
  readonly run: (res: Res) => unknown
}

export interface RouteNeeds {
  readonly client: Pick<AuthorizerClient, 'check'>
  readonly deadlineMs?: number
  readonly onError?: (error: unknown, request: HttpRequest) => void
}

/** scope-token of RFC 6749 section 3.3; authorizer.proto allows 128 bytes. */
const ACTION = /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/

export function declareRoute<Value, Req, Res>(
  declaration: RouteDeclaration<Value, Req, Res>,
  needs: RouteNeeds,
): GuardedRoute<Req, Res> {
  const { action, load, handler } = declaration
  if (typeof action !== 'string' || !ACTION.test(action)) {
    throw new TypeError(
      'action: declare what the route does, for instance invoice:read (printable, at most 128 bytes)',
    )
  }

  async function admit(req: Req, raw: HttpRequest, params: Params): Promise<Admitted<Res> | Denial> {
    let loaded: Loaded<Value> | Nothing
    try {
      loaded = await load(req, params)
    } catch (error) {
      quietly(() => needs.onError?.(error, raw))
      return refuse('load_failed', 'load threw; onError has the error')
    }
    // Asked even when nothing was found: a caller with a bad token learns that, and never whether the resource exists.
    const decision = await ask(needs, raw, { action, facts: loaded ?? undefined })
    if (!isAllowance(decision)) return refusalOf(decision)
    if (loaded === undefined || loaded === null) return refuse('not_found', 'load found nothing')
    const { principal, headers } = decision
    const granted = Object.freeze({ resource: loaded.value, principal, params, allowance: decision })
    return { kind: 'admitted', passage: 'checked', headers, run: (res) => handler(req, res, granted) }
  }

  return Object.freeze({ action, admit })
}

export function declareOpen<Req, Res>(declaration: OpenDeclaration<Req, Res>): GuardedRoute<Req, Res> {
  const { because, handler } = declaration
  if (typeof because !== 'string' || because === '')
    throw new TypeError('because: say why this route needs no check')
  return Object.freeze({
    action: undefined,
    admit: async (req: Req, _raw: HttpRequest, params: Params): Promise<Admitted<Res>> => ({
      kind: 'admitted',
      passage: 'open',
      headers: [],
      run: (res) => handler(req, res, params),
    }),
  })
}

interface Question {
  readonly action: string
  readonly facts: Pick<Loaded<unknown>, 'stored' | 'request'> | undefined
}

async function ask(needs: RouteNeeds, raw: HttpRequest, { action, facts }: Question): Promise<Decision> {
  try {
    const resource =
      facts === undefined
        ? {}
        : { stored: facts.stored, ...(facts.request === undefined ? {} : { request: facts.request }) }
    return await needs.client.check({ ...fromHttp(raw), action, resource }, { deadlineMs: needs.deadlineMs })
  } catch (error) {
    quietly(() => needs.onError?.(error, raw))
    return refuse('client_fault', 'the check threw; onError has the error')
  }
}

/** `decision` is typed a denial, but a stand-in for the client may have answered anything. */
function refusalOf(decision: Denial): Denial {
  return decision?.kind === 'deny'
    ? decision
    : refuse('invalid_answer', 'not an answer of createAuthorizerClient')
}

/** Parameters as text; a wildcard's list is left to the framework's own request. */
export function textParams(params: unknown): Params {
  if (typeof params !== 'object' || params === null) return {}
  return Object.fromEntries(Object.entries(params).filter(([, value]) => typeof value === 'string'))
}
