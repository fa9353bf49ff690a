import type { Monotonic } from '../ports.ts'
import type { Issuer, KeySet } from './snapshot.ts'

/** Keys that sign before others can know them: whoever fetches key sets now and then, or is cut off, denies what they sign. */
export interface KeyAges {
  /** What is believed from now on. */
  seen(issuers: ReadonlyMap<string, Issuer>): void
  /** A genuine token came under this key. */
  used(issuer: string, kid: string): void
  /** By issuer: keys whose first token came within `EARLY_MS` of the key set that brought them. */
  early(): readonly (readonly [issuer: string, keys: number])[]
}

export const EARLY_MS = 5 * 60_000
/** Names remembered of one issuer: a key that goes and comes back is not new. */
const KIDS = 256

interface Ages {
  byKid: KeySet['byKid']
  readonly known: Set<string>
  /** When keys were first seen that no token has come under since. */
  readonly unused: Map<string, number>
  early: number
}

/** The first key set of an issuer is nobody's news: how long its keys have been there nobody here can tell. */
export function createKeyAges(now: Monotonic): KeyAges {
  let ages: ReadonlyMap<string, Ages> = new Map()
  return {
    seen(issuers) {
      const at = now()
      ages = new Map([...issuers].map(([name, { keys }]) => [name, aged(ages.get(name), keys, at)]))
    },
    used(issuer, kid) {
      const held = ages.get(issuer)
      const at = held?.unused.get(kid)
      if (!held || at === undefined) return
      held.unused.delete(kid)
      if (now() - at < EARLY_MS) held.early++
    },
    early: () => [...ages].map(([issuer, { early }]) => [issuer, early] as const),
  }
}

function aged(before: Ages | undefined, { byKid }: KeySet, at: number): Ages {
  const held = before ?? { byKid, known: new Set(byKid.keys()), unused: new Map<string, number>(), early: 0 }
  if (held.byKid === byKid) return held
  const first = held.known.size === 0
  held.byKid = byKid
  for (const kid of byKid.keys()) {
    if (!held.known.delete(kid) && !first) held.unused.set(kid, at)
    held.known.add(kid)
  }
  for (const kid of held.known) {
    if (held.known.size <= KIDS) break
    held.known.delete(kid)
  }
  for (const kid of held.unused.keys()) if (!byKid.has(kid)) held.unused.delete(kid)
  return held
}
