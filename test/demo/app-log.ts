// What the sample application writes to its own log, one JSON object a line: the diagnostic of each check,
// which its callers never see, and each request whose handler ran.

export interface Checked {
  readonly event: 'checked'
  readonly request: string
  readonly allowed: boolean
  readonly status: number
  // Reason of a denial; empty when allowed.
  readonly reason: string
  readonly rules: readonly string[]
  readonly detail: string
  readonly decision: string
  readonly revision: string
  readonly micros: number
}

export interface Served {
  readonly event: 'served'
  readonly request: string
}

export interface Listening {
  readonly event: 'listening'
  readonly port: number
}

export type AppEvent = Checked | Served | Listening

export interface AppLog {
  take(line: string): void
  port(): number | undefined
  checked(request: string): Checked | undefined
  served(request: string): boolean
  lines(): readonly string[]
}

export function createAppLog(): AppLog {
  const checks = new Map<string, Checked>()
  const served = new Set<string>()
  const lines: string[] = []
  let port: number | undefined
  return {
    take: (line) => {
      lines.push(line)
      const event = parseEvent(line)
      if (event?.event === 'listening') port = event.port
      if (event?.event === 'checked') checks.set(event.request, event)
      if (event?.event === 'served') served.add(event.request)
    },
    port: () => port,
    checked: (request) => checks.get(request),
    served: (request) => served.has(request),
    lines: () => lines,
  }
}

function parseEvent(line: string): AppEvent | undefined {
  if (!line.startsWith('{')) return undefined
  const value: unknown = JSON.parse(line)
  return isEvent(value) ? value : undefined
}

// The other end is test/demo/app.ts, which writes these very types.
function isEvent(value: unknown): value is AppEvent {
  return typeof value === 'object' && value !== null && 'event' in value
}
