import { type Profile, type Route, Staleness } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { TIER_LIMITS } from '../settings.ts'
import { createRouteMatch } from './route-match.ts'

/** How long revocations may be unconfirmed, by action. */
export interface Tiers {
  readonly standardMs: number
  readonly strictMs: number
  readonly readDegradedMs: number
  /** Milliseconds for this action: by the longest match among the routes, else standard. */
  leaseMs(action: string): number
}

/** Reads the leases and routes of a profile: tiers, `undefined` when nothing is pushed (standalone), or every problem. */
export function parseTiers(profile: Profile | undefined): Tiers | undefined | readonly string[] {
  const routes = profile?.routes ?? []
  const leases = profile?.leases
  if (!leases) {
    const tiered = routes.some(({ staleness }) => staleness !== Staleness.STALENESS_STANDARD)
    return tiered ? ['profile.routes: need profile.leases'] : undefined
  }
  const problems: string[] = []
  for (const [name, ms] of [
    ['standard_ms', leases.standardMs],
    ['strict_ms', leases.strictMs],
    ['read_degraded_ms', leases.readDegradedMs],
  ] as const) {
    const [shortest, longest] = TIER_LIMITS.leaseMs
    if (ms < shortest || ms > longest)
      problems.push(`profile.leases.${name}: must be ${shortest} to ${longest}`)
  }
  if (routes.length > TIER_LIMITS.routes)
    problems.push(`profile.routes: must be at most ${TIER_LIMITS.routes}`)
  const byTier = {
    [Staleness.STALENESS_STANDARD]: leases.standardMs,
    [Staleness.STALENESS_STRICT]: leases.strictMs,
    [Staleness.STALENESS_READ_DEGRADED]: leases.readDegradedMs,
  }
  const patterns = new Map<string, number>()
  routes.slice(0, TIER_LIMITS.routes).forEach((route, index) => {
    const ms = (byTier as Readonly<Record<number, number>>)[route.staleness]
    if (ms === undefined) problems.push(`profile.routes[${index}].staleness: unset or unknown`)
    problems.push(...addPatterns(patterns, route, ms ?? 0).map((text) => `profile.routes[${index}].${text}`))
  })
  if (problems.length > 0) return problems
  const { standardMs, strictMs, readDegradedMs } = leases
  return { standardMs, strictMs, readDegradedMs, leaseMs: createRouteMatch(patterns, standardMs) }
}

function addPatterns(patterns: Map<string, number>, { actions }: Route, ms: number): readonly string[] {
  if (actions.length === 0 || actions.length > TIER_LIMITS.actions)
    return [`actions: must be 1 to ${TIER_LIMITS.actions}`]
  const problems: string[] = []
  for (const [index, action] of actions.entries()) {
    const inner = action.endsWith('*') ? action.slice(0, -1) : action
    if (action === '' || action.length > TIER_LIMITS.action || inner.includes('*')) {
      problems.push(`actions[${index}]: must be a name, or a prefix that ends in its only *`)
    } else if (patterns.has(action)) problems.push(`actions[${index}]: ${action} is named twice`)
    else patterns.set(action, ms)
  }
  return problems
}
