import type { VerificationKey } from '../../contracts/jwks.ts'
import { type Denial, deny } from '../decision.ts'
import type { Monotonic, RefreshKeys, Sleep } from '../ports.ts'
import type { Moment } from '../request.ts'
import type { Issuer, KeySet, Snapshot } from './snapshot.ts'

/** How a miss may cause a fetch. Durations in milliseconds. */
export const MISS_LIMITS = {
  /** A `kid` that a successful fetch lacked is unknown for this long, without another fetch. */
  unknownKidMs: 30_000,
  unknownKids: 1024,
  /** Fetches that misses may cause: so many at once, and one more every `refillMs`. */
  burst: 5,
  refillMs: 10_000,
  /** The last tokens are for a `kid` seen before: junk is usually seen once, the key after a rotation again and again. */
  reserved: 3,
  /** Pause after a failed fetch, doubled each time. */
  firstBackoffMs: 1_000,
  lastBackoffMs: 60_000,
  /** Requests that may wait for a fetch at once, of which so many for a `kid` seen before; and how long one waits at most. */
  waiters: 256,
  reservedWaiters: 128,
  waitMs: 3_000,
} as const

export interface KeysNeeds {
  readonly refresh: RefreshKeys
  readonly installed: () => Snapshot | undefined
  readonly now: Monotonic
  readonly sleep: Sleep
  /** Ends every fetch when the program ends. */
  readonly lifetime: AbortSignal
}

/** Which key: the `kid` and algorithm that a token's header names. */
export interface KeyName {
  readonly kid: string
  readonly algorithm: string
}

export interface Keys {
  find(issuer: Issuer, name: KeyName, at: Moment, signal: () => AbortSignal): KeyAnswer | Promise<KeyAnswer>
  /** Lookups answered from memory, and those that had to ask. */
  readonly counts: { hits: number; misses: number }
}
export type KeyAnswer = VerificationKey | Denial

/**
 * Finds keys by `kid`, and on a miss has the issuer's set refreshed (OpenID Connect Core section 10.1.1): single flight,
 * a small budget for misses, a pause after failures, bounded waiting. `kid_unknown` is said only after a successful fetch that
 * lacks it; otherwise we do not know and say `jwks_unavailable`.
 */
export function createKeys(needs: KeysNeeds): Keys {
  const asking = new Map<string, IssuerMisses>()
  const counts = { hits: 0, misses: 0 }
  return {
    counts,
    find(issuer, name, at, signal) {
      const known = lookUp(issuer.keys, name, at)
      if (known) {
        counts.hits++
        return known
      }
      counts.misses++
      if (!issuer.keys.refreshable)
        return deny(issuer.keys.byKid.size > 0 ? 'kid_unknown' : 'jwks_unavailable')
      let misses = asking.get(issuer.issuer)
      if (!misses) {
        misses = createMisses(issuer.issuer, needs)
        asking.set(issuer.issuer, misses)
      }
      return misses.resolve(name, at, signal())
    },
  }
}

function lookUp(keys: KeySet, { kid, algorithm }: KeyName, at: Moment): KeyAnswer | undefined {
  // First of all: a revoked key is none, published or cached (RFC 7517 leaves revocation to the reader).
  if (keys.revokedKids.has(kid)) return deny('kid_revoked')
  const candidates = keys.byKid.get(kid)
  if (!candidates) return keys.weakKids.has(kid) ? deny('key_weak') : undefined
  if (at >= keys.notAfter) return deny('jwks_unavailable')
  const [first, second] = candidates
  // Never "try all": two keys under one name and algorithm are an ambiguity, not a choice (RFC 7517 section 4.5).
  if (first && !second) return first.algorithm === algorithm ? first : deny('alg_key_mismatch')
  const fitting = candidates.filter((key) => key.algorithm === algorithm)
  if (fitting.length > 1) return deny('kid_ambiguous')
  return fitting[0] ?? deny('alg_key_mismatch')
}

type Round = 'fetched' | 'failed' | 'paused' | 'over'

interface Asked {
  readonly kid: string
  readonly at: number
  readonly seenBefore: boolean
}

interface IssuerMisses {
  resolve(name: KeyName, at: Moment, signal: AbortSignal): Promise<KeyAnswer>
}

function createMisses(issuer: string, needs: KeysNeeds): IssuerMisses {
  const lacking = createLacking()
  const budget = createBudget(needs.now)
  let waiting = 0
  let flight: { readonly startedAt: number; readonly done: Promise<boolean> } | undefined

  const fly = (kid: string): Promise<boolean> => {
    const startedAt = needs.now()
    const done = needs
      .refresh(issuer, needs.lifetime, kid)
      .catch(() => false)
      .then((fetched) => {
        budget.report(fetched)
        flight = undefined
        return fetched
      })
    flight = { startedAt, done }
    return done
  }

  // One round: join the fetch under way, start one, or wait a moment for somebody else's.
  const round = async (asked: Asked, wait: Wait): Promise<Round> => {
    const startedAt = flight?.startedAt ?? needs.now()
    const landed = flight?.done ?? (budget.take(asked.seenBefore) ? fly(asked.kid) : undefined)
    if (!landed) return wait.pause()
    const fetched = await wait.until(landed)
    if (fetched === 'over') return 'over'
    if (!fetched) return 'failed'
    // A fetch that was already under way when the kid was first seen proves nothing about it.
    return startedAt >= asked.at ? 'fetched' : 'paused'
  }

  const attempt = async (name: KeyName, at: Moment, asked: Asked, wait: Wait): Promise<KeyAnswer> => {
    for (;;) {
      const outcome = await round(asked, wait)
      const keys = needs.installed()?.issuers.get(issuer)?.keys
      // Withheld, or not believed any more: whatever was fetched says nothing.
      if (!keys) return deny('jwks_unavailable')
      const known = lookUp(keys, name, at)
      if (known) return known
      if (outcome === 'fetched') {
        lacking.add(name.kid, needs.now())
        return deny('kid_unknown')
      }
      if (outcome === 'over' || outcome === 'failed') return deny('jwks_unavailable')
    }
  }
  return {
    async resolve(name, at, signal) {
      const asked = { kid: name.kid, at: needs.now(), seenBefore: lacking.seenBefore(name.kid) }
      if (lacking.has(name.kid, asked.at)) return deny('kid_unknown')
      const places = MISS_LIMITS.waiters - (asked.seenBefore ? 0 : MISS_LIMITS.reservedWaiters)
      if ((!flight && budget.pausing()) || waiting >= places) return deny('jwks_unavailable')
      waiting++
      try {
        return await attempt(name, at, asked, createWait(needs.sleep, signal))
      } finally {
        waiting--
      }
    },
  }
}

const POLL_MS = 50

/** Waiting that ends with the caller's deadline, or after `waitMs`. */
interface Wait {
  until(landed: Promise<boolean>): Promise<boolean | 'over'>
  /** Looks away for a moment: perhaps a scheduled fetch, or somebody else's, brings the key. */
  pause(): Promise<'paused' | 'over'>
}

function createWait(sleep: Sleep, signal: AbortSignal): Wait {
  const over = sleep(MISS_LIMITS.waitMs, signal).then(
    () => 'over' as const,
    () => 'over' as const,
  )
  return {
    until: (landed) => Promise.race([landed, over]),
    pause: () =>
      Promise.race([
        sleep(POLL_MS, signal).then(
          () => 'paused' as const,
          () => 'over' as const,
        ),
        over,
      ]),
  }
}

interface Lacking {
  has(kid: string, now: number): boolean
  add(kid: string, now: number): void
  /** Whether this kid was asked for before; remembers that it was. */
  seenBefore(kid: string): boolean
}

function createLacking(): Lacking {
  const until = new Map<string, number>()
  const seen = new Set<string>()
  return {
    has: (kid, now) => (until.get(kid) ?? 0) > now,
    add(kid, now) {
      evictOldest(until)
      until.delete(kid)
      until.set(kid, now + MISS_LIMITS.unknownKidMs)
    },
    seenBefore(kid) {
      if (seen.has(kid)) return true
      evictOldest(seen)
      seen.add(kid)
      return false
    },
  }
}

function evictOldest(entries: Map<string, number> | Set<string>): void {
  if (entries.size < MISS_LIMITS.unknownKids) return
  for (const oldest of entries.keys()) {
    entries.delete(oldest)
    return
  }
}

interface Budget {
  /** Takes one token for a fetch; the reserved ones only for a kid that was seen before. */
  take(seenBefore: boolean): boolean
  report(fetched: boolean): void
  pausing(): boolean
}

function createBudget(now: Monotonic): Budget {
  let tokens: number = MISS_LIMITS.burst
  let filledAt = now()
  let backoffMs = 0
  let pausedUntil = 0
  return {
    take(seenBefore) {
      if (now() < pausedUntil) return false
      const refilled = (now() - filledAt) / MISS_LIMITS.refillMs
      tokens = Math.min(MISS_LIMITS.burst, tokens + refilled)
      filledAt = now()
      if (tokens < (seenBefore ? 1 : 1 + MISS_LIMITS.reserved)) return false
      tokens -= 1
      return true
    },
    report(fetched) {
      backoffMs = fetched
        ? 0
        : Math.min(MISS_LIMITS.lastBackoffMs, backoffMs * 2 || MISS_LIMITS.firstBackoffMs)
      pausedUntil = fetched ? 0 : now() + backoffMs
    },
    pausing: () => now() < pausedUntil,
  }
}
