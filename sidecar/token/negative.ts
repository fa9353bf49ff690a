import { type Denial, deny, type Reason } from '../decision.ts'
import type { Moment } from '../request.ts'
import type { ProfileName } from './evidence.ts'

/** The memory of a refusal. It holds a reason and can become a Denial and nothing else. */
export interface KnownRefusal {
  readonly reason: RememberedReason
  readonly [refused]: true
}
declare const refused: unique symbol

/**
 * Reasons that are the same each time while beliefs are the same. Never what a moment later may be otherwise: keys that are not known yet,
 * tokens that are not valid yet, and whatever could not be found out.
 */
const REMEMBERED = [
  'json_invalid',
  'json_duplicate',
  'json_depth',
  'header_invalid',
  'header_forbidden',
  'alg_not_allowed',
  'typ_mismatch',
  'crit_unsupported',
  'sig_invalid',
  'aud_missing',
  'aud_mismatch',
  'aud_denied',
  'iss_unknown',
  'expired',
] as const satisfies readonly Reason[]
export type RememberedReason = (typeof REMEMBERED)[number]
const REASONS: ReadonlySet<string> = new Set(REMEMBERED)

export const NEGATIVE_LIMITS = { entries: 4096, ms: 30_000 } as const

/** What a refusal was based on. `generation` is that of the snapshot: configuration and keys are one. */
export interface Basis {
  readonly fingerprint: string
  readonly profile: ProfileName
  readonly generation: number
}

/** Refused tokens, so that the same one costs no signature again. Its own budget: filling it takes nothing from good tokens. */
export interface NegativeCache {
  get(basis: Basis, at: Moment): KnownRefusal | undefined
  /** Remembers a refusal that will be the same, until `notAfter` at most. */
  admit(basis: Basis, denial: Denial, at: Moment, notAfter?: Moment): void
  clear(): void
  size(): number
}

interface Entry extends KnownRefusal {
  readonly from: Moment
  readonly until: Moment
}

export function createNegativeCache(): NegativeCache {
  const entries = new Map<string, Entry>()
  let generation = 0
  // Other beliefs, other refusals: whatever was remembered under the last ones is gone.
  const holds = (next: number): boolean => {
    if (next > generation) {
      entries.clear()
      generation = next
    }
    return next === generation
  }
  return {
    get(basis, at) {
      if (!holds(basis.generation)) return undefined
      const entry = entries.get(nameOf(basis))
      // A clock that was set back may make an expired token valid again.
      return entry && at >= entry.from && at < entry.until ? entry : undefined
    },
    admit(basis, { reason }, at, notAfter = Number.POSITIVE_INFINITY) {
      if (!isRemembered(reason) || !holds(basis.generation)) return
      const name = nameOf(basis)
      entries.delete(name)
      if (entries.size >= NEGATIVE_LIMITS.entries) evictOldest(entries)
      const until = Math.min(at + NEGATIVE_LIMITS.ms, notAfter)
      entries.set(name, { reason, from: at, until } as Entry)
    },
    clear: () => entries.clear(),
    size: () => entries.size,
  }
}

/** All that a remembered refusal can become. */
export function refusalOf({ reason }: KnownRefusal): Denial {
  return deny(reason)
}

function isRemembered(reason: Reason): reason is RememberedReason {
  return REASONS.has(reason)
}

// The fingerprint has one length, so that no two pairs read the same.
function nameOf({ fingerprint, profile }: Basis): string {
  return fingerprint + profile
}

function evictOldest(entries: Map<string, Entry>): void {
  for (const oldest of entries.keys()) {
    entries.delete(oldest)
    return
  }
}
