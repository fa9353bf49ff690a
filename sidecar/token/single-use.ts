import { hash } from 'node:crypto'
import type { Moment } from '../request.ts'
import { SNAPSHOT_LIMITS } from '../settings.ts'
import type { Replay, Spent } from '../trust/replay.ts'

/** One use of a token, by who takes it, who made it and its `jti`. */
export interface Use {
  /** Of this workload: the store is that of others, too, and each takes a token once. */
  readonly audience: string
  /** The TokenIssuer: under the same name another tenant may have keys of its own. */
  readonly source: string
  readonly issuer: string
  readonly jti: string
  /** When it has expired anyway. */
  readonly until: Moment
  readonly at: Moment
  /** Whether it must be known to be unused by every replica. */
  readonly everywhere: boolean
}

/** Tokens that may be used once. */
export interface SingleUse {
  /** Uses it up. `unavailable`: nobody can tell any more, which is a refusal; nothing that could still come again is ever forgotten. */
  spend(use: Use, signal: () => AbortSignal): Spent | Promise<Spent>
}

/** About a megabyte at worst. */
export const SINGLE_USE_ENTRIES = 10_000

/** The longest life of a logout token, seconds; that of a client assertion is shorter. */
export const LOGOUT_S = 600
/** How far the wall clock may be set back unnoticed, and what is lost by rounding, seconds. */
const MARGIN_S = 10
/** The longest that a use may have to be remembered: clocks may differ at both ends of a life. */
export const SINGLE_USE_MS = (LOGOUT_S + 2 * SNAPSHOT_LIMITS.skewS + 2 * MARGIN_S) * 1000

/**
 * Remembered by this process, and by all replicas where they have a store between them. While that is lost each replica knows what it has
 * seen by itself, which will do unless a route demands more: a logout that nobody takes would be worse than one that is taken twice.
 */
export function createSingleUse(shared: Replay | undefined, entries: number = SINGLE_USE_ENTRIES): SingleUse {
  const remembered = createMemory(entries)
  return {
    spend({ audience, source, issuer, jti, until, at, everywhere }, signal) {
      // Of fixed length, whatever they are made of.
      const key = hash('sha256', JSON.stringify([audience, source, issuer, jti]), 'buffer')
      const here = () => remembered(key.toString('base64'), until, at)
      if (!shared) return everywhere ? 'unavailable' : here()
      const ttlMs = Math.ceil(until - at) + MARGIN_S * 1000
      // Who needs its word asks the store first, so that what it could not tell of is not used up and may come again.
      if (everywhere)
        return settled(shared.spend(key, ttlMs, signal), (spent) => (spent === 'fresh' ? here() : spent))
      const own = here()
      if (own !== 'fresh') return own
      return settled(shared.spend(key, ttlMs, signal), (spent) => (spent === 'unavailable' ? own : spent))
    },
  }
}

function settled(spent: Spent | Promise<Spent>, settle: (spent: Spent) => Spent): Spent | Promise<Spent> {
  return spent instanceof Promise ? spent.then(settle) : settle(spent)
}

function createMemory(entries: number): (name: string, until: Moment, at: Moment) => Spent {
  const used = new Map<string, Moment>()
  const sweep = (at: Moment): void => {
    for (const [name, until] of used) if (until <= at) used.delete(name)
  }
  return (name, until, at) => {
    if ((used.get(name) ?? 0) > at) return 'seen'
    if (used.size >= entries) sweep(at)
    if (used.size >= entries) return 'unavailable'
    used.set(name, until)
    return 'fresh'
  }
}
