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

/** Senders of one TokenIssuer, and TokenIssuers. */
const KNOWN = { senders: 256, sources: 1_024 } as const
/** How long a logout is known to have been stored, and how many are. */
export const REMEMBERED = { ms: 15 * 60_000, marks: 20_000 } as const

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
  return {
    knows: known.anywhere,
    check(sender, source) {
      if (!senders.take(sender)) return 'sender_rate'
      return known.has(sender, source) || strangers.take(source) ? undefined : 'issuer_rate'
    },
    pass: (source) => genuine.take(source),
    settled(sender, source) {
      senders.give(sender)
      if (!known.has(sender, source)) strangers.give(source)
      known.add(sender, source)
    },
    repeated: (source) => genuine.give(source),
  }
}

// Each TokenIssuer has senders of its own: whoever may write one can bring genuine logouts of it from as many addresses as he has.
function createKnown() {
  const sources = new Map<string, Set<string>>()
  /** Of how many TokenIssuers a sender is known. */
  const counts = new Map<string, number>()
  const count = (sender: string, change: 1 | -1): void => {
    const left = (counts.get(sender) ?? 0) + change
    if (left > 0) counts.set(sender, left)
    else counts.delete(sender)
  }
  return {
    anywhere: (sender: string) => counts.has(sender),
    has: (sender: string, source: string) => sources.get(source)?.has(sender) === true,
    add(sender: string, source: string) {
      const own = sources.get(source) ?? new Set<string>()
      // Put at the end again: what was not used for longest goes first.
      if (!own.delete(sender)) count(sender, 1)
      own.add(sender)
      const [oldest] = own
      if (own.size > KNOWN.senders && oldest !== undefined && own.delete(oldest)) count(oldest, -1)
      sources.delete(source)
      sources.set(source, own)
      const [unused] = sources
      if (sources.size <= KNOWN.sources || !unused) return
      sources.delete(unused[0])
      for (const one of unused[1]) count(one, -1)
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
