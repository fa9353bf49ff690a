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
  /** From the beginning of one fetch to that of the next. Whoever asks in between joins the next, so that junk delays a real rotation
   *  by this much and uses nothing up. */
  spacingMs: 500,
  /** Pause after a failed fetch, doubled each time. */
  firstBackoffMs: 1_000,
  lastBackoffMs: 60_000,
  /** How long one question waits for a fetch at most. */
  waitMs: 3_000,
  /** Parts of all places for questions that may wait for a fetch, so that questions under known keys keep the rest: for a `kid` never
   *  seen before, and for any (junk is usually seen once, the key after a rotation again and again). */
  firstSeenShare: 3 / 4,
  share: 7 / 8,
} as const

export interface KeysNeeds {
  readonly refresh: RefreshKeys
  readonly installed: () => Snapshot | undefined
  readonly now: Monotonic
  readonly sleep: Sleep
  /** Ends every fetch when the program ends. */
  readonly lifetime: AbortSignal
  /** Questions that may be unanswered at once. */
  readonly inFlight: number
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
 * Finds keys by `kid`, and on a miss has the issuer's set refreshed (OpenID Connect Core section 10.1.1): single flight, one fetch in
 * `spacingMs`, a pause after failures, bounded waiting. `kid_unknown` is said only after a successful fetch that lacks it; otherwise we do
 * not know and say `jwks_unavailable`.
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

interface Flight {
  /** Monotonic; before it has begun, never. */
  startedAt: number
  readonly done: Promise<boolean>
}

interface IssuerMisses {
  resolve(name: KeyName, at: Moment, signal: AbortSignal): Promise<KeyAnswer>
}

function createMisses(issuer: string, needs: KeysNeeds): IssuerMisses {
  const { now, inFlight } = needs
  const lacking = createLacking()
  const backoff = createBackoff(now)
  let waiting = 0
  let lastStartAt = Number.NEGATIVE_INFINITY
  let flight: Flight | undefined

  // Under way already, or about to begin: whoever asks before it begins joins it.
  const join = (kid: string): Flight => {
    if (flight) return flight
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const joined: Flight = { startedAt: Number.POSITIVE_INFINITY, done: promise }
    flight = joined
    const begin = async (): Promise<boolean> => {
      const pauseMs = lastStartAt + MISS_LIMITS.spacingMs - now()
      if (pauseMs > 0) await needs.sleep(pauseMs, needs.lifetime)
      lastStartAt = now()
      joined.startedAt = lastStartAt
      return needs.refresh(issuer, needs.lifetime, kid)
    }
    const land = (fetched: boolean) => {
      backoff.report(fetched)
      flight = undefined
      resolve(fetched)
    }
    begin().then(land, () => land(false))
    return joined
  }

  const attempt = async (name: KeyName, at: Moment, wait: Wait): Promise<KeyAnswer> => {
    const askedAt = now()
    for (;;) {
      const joined = join(name.kid)
      const fetched = await wait.until(joined.done)
      const keys = needs.installed()?.issuers.get(issuer)?.keys
      // Withheld, or not believed any more: whatever was fetched says nothing.
      if (!keys) return deny('jwks_unavailable')
      const known = lookUp(keys, name, at)
      if (known) return known
      if (fetched !== true) return deny('jwks_unavailable')
      // A fetch that was already under way when the kid was first seen proves nothing about it.
      if (joined.startedAt < askedAt) continue
      lacking.add(name.kid, now())
      return deny('kid_unknown')
    }
  }
  return {
    async resolve(name, at, signal) {
      const seenBefore = lacking.seenBefore(name.kid)
      if (lacking.has(name.kid, now())) return deny('kid_unknown')
      const places = inFlight * (seenBefore ? MISS_LIMITS.share : MISS_LIMITS.firstSeenShare)
      if ((!flight && backoff.pausing()) || waiting >= places) return deny('jwks_unavailable')
      waiting++
      const wait = createWait(needs.sleep, signal)
      try {
        return await attempt(name, at, wait)
      } finally {
        wait.end()
        waiting--
      }
    },
  }
}

/** Waiting that ends with the caller's deadline, or after `waitMs`. */
interface Wait {
  until(landed: Promise<boolean>): Promise<boolean | 'over'>
  /** Nobody waits any longer. */
  end(): void
}

function createWait(sleep: Sleep, signal: AbortSignal): Wait {
  const answered = new AbortController()
  const over = sleep(MISS_LIMITS.waitMs, AbortSignal.any([signal, answered.signal])).then(
    () => 'over' as const,
    () => 'over' as const,
  )
  return {
    until: (landed) => Promise.race([landed, over]),
    end: () => answered.abort(),
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
      // Put at the end again: what is asked for again and again outlives any number of what is asked for once.
      const before = seen.delete(kid)
      evictOldest(seen)
      seen.add(kid)
      return before
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

interface Backoff {
  report(fetched: boolean): void
  pausing(): boolean
}

function createBackoff(now: Monotonic): Backoff {
  let backoffMs = 0
  let pausedUntil = 0
  return {
    report(fetched) {
      backoffMs = fetched
        ? 0
        : Math.min(MISS_LIMITS.lastBackoffMs, backoffMs * 2 || MISS_LIMITS.firstBackoffMs)
      pausedUntil = fetched ? 0 : now() + backoffMs
    },
    pausing: () => now() < pausedUntil,
  }
}
