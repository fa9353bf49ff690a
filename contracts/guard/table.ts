import type { HttpRequest } from '../client.ts'
import type { GuardedRoute, Params } from './route.ts'

/** Routes by `METHOD /path/:param`. The first that matches is taken; a parameter is one segment, percent-decoded. */
export type RouteTable<Req, Res> = Readonly<Record<string, GuardedRoute<Req, Res>>>

export interface Match<Req, Res> {
  readonly route: GuardedRoute<Req, Res>
  readonly params: Params
}

interface Row<Req, Res> {
  readonly method: string
  readonly segments: readonly string[]
  readonly route: GuardedRoute<Req, Res>
}

/**
 * Makes the look-up of a route table. Deliberately literal: no prefix, no case folding, no `..` resolved and no slash
 * forgiven, so that what is checked and what is served cannot differ. Throws a TypeError for a key it cannot read.
 */
export function createTable<Req, Res>(
  table: RouteTable<Req, Res>,
): (request: HttpRequest) => Match<Req, Res> | undefined {
  const rows = Object.entries(table).map(([key, route]) => parseRow(key, route))
  return (request) => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const segments = path.split('/')
    for (const row of rows) {
      const params = row.method === request.method ? matchSegments(row.segments, segments) : undefined
      if (params !== undefined) return { route: row.route, params }
    }
    return undefined
  }
}

function parseRow<Req, Res>(key: string, route: GuardedRoute<Req, Res>): Row<Req, Res> {
  const [, method, path] = /^([A-Z]+) (\/[^\s?#]*)$/.exec(key) ?? []
  if (method === undefined || path === undefined) {
    throw new TypeError(`route ${JSON.stringify(key)}: write it as "GET /invoices/:id"`)
  }
  return { method, segments: path.split('/'), route }
}

function matchSegments(pattern: readonly string[], segments: readonly string[]): Params | undefined {
  if (pattern.length !== segments.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index] ?? ''
    if (!part.startsWith(':')) {
      if (part !== segment) return undefined
      continue
    }
    const value = decodeSegment(segment)
    if (value === undefined || value === '') return undefined
    params[part.slice(1)] = value
  }
  return Object.freeze(params)
}

function decodeSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}
