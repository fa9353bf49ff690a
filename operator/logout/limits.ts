import { createBuckets } from '../buckets.ts'
import type { Monotonic } from '../ports.ts'

/** Requests, and connections, at once; and which part of them one sender may have. */
export const AT_ONCE = { requests: 64, connections: 256, share: 1 / 2 } as const

/** Signatures that are checked, and logouts that are passed on. */
const RATES = {
  /** Of one sender, for tokens that were not genuine. */
  sender: { burst: 200, perSecond: 50 },
  /** Of one TokenIssuer, for tokens that were not genuine from senders that never brought a genuine one. */
  strangers: { burst: 400, perSecond: 100 },
  /** Genuine ones of one TokenIssuer. */
  genuine: { burst: 200, perSecond: 50 },
} as const

const KNOWN = 4_096
const REMEMBERED = { ms: 15 * 60_000, marks: 20_000 } as const

/** What keeps one sender from using up what others need. `source`: the TokenIssuer. */
export interface Limits {
  /** Why no signature may be checked for this sender now; undefined: one may, and has been counted. */
  check(sender: string, source: string): 'sender_rate' | 'issuer_rate' | undefined
  /** Whether a genuine one may be passed on now. */
  pass(source: string): boolean
  /** Whether this sender has brought a genuine one of any TokenIssuer. */
  knows(sender: string): boolean
  /** What was checked and passed on was a logout: it costs its sender nothing. */
  settled(sender: string, source: string): void
  /** It was none: it came before. Whoever recorded one takes nothing from the next. */
  repeated(source: string): void
}

/** A provider sends from few addresses. Once one of them has brought a genuine logout, strangers take nothing from it. */
export function createLimits(monotonic: Monotonic): Limits {
  const senders = createBuckets(RATES.sender, monotonic)
  const strangers = createBuckets(RATES.strangers, monotonic)
  const genuine = createBuckets(RATES.genuine, monotonic)
  const known = createKnown()
  const pair = (sender: string, source: string) => `${source} ${sender}`
  return {
    knows: known.has,
    check(sender, source) {
      if (!senders.take(sender)) return 'sender_rate'
      return known.has(pair(sender, source)) || strangers.take(source) ? undefined : 'issuer_rate'
    },
    pass: (source) => genuine.take(source),
    settled(sender, source) {
      senders.give(sender)
      if (!known.has(pair(sender, source))) strangers.give(source)
      known.add(sender)
      known.add(pair(sender, source))
    },
    repeated: (source) => genuine.give(source),
  }
}

function createKnown() {
  const names = new Set<string>()
  return {
    has: (name: string) => names.has(name),
    add(name: string) {
      // Put at the end again: the one that was not used for longest goes first.
      names.delete(name)
      names.add(name)
      const [oldest] = names
      if (names.size > KNOWN && oldest !== undefined) names.delete(oldest)
    },
  }
}

/** Logouts that this replica has had stored: the same again needs no check. */
export interface Stored {
  has(mark: string): boolean
  add(mark: string): void
}

export function createStored(monotonic: Monotonic): Stored {
  const until = new Map<string, number>()
  return {
    has: (mark) => (until.get(mark) ?? 0) > monotonic(),
    add(mark) {
      const now = monotonic()
      for (const [old, end] of until) {
        if (end > now && until.size < REMEMBERED.marks) break
        until.delete(old)
      }
      until.set(mark, now + REMEMBERED.ms)
    },
  }
}

/** Places that are taken and given back; no more than its share for one sender. */
export interface Places {
  /** `known`: it is let in when strangers have taken all. */
  enter(sender: string, known: boolean): 'busy' | 'sender_busy' | undefined
  leave(sender: string): void
}

export function createPlaces(most: number): Places {
  const taken = new Map<string, number>()
  let all = 0
  return {
    enter(sender, known) {
      const own = taken.get(sender) ?? 0
      if (all >= most && !known) return 'busy'
      if (own >= most * AT_ONCE.share) return 'sender_busy'
      taken.set(sender, own + 1)
      all++
      return undefined
    },
    leave(sender) {
      const own = taken.get(sender) ?? 0
      if (own > 1) taken.set(sender, own - 1)
      else taken.delete(sender)
      all--
    },
  }
}
