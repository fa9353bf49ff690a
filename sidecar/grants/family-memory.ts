import { namesSuccessor } from './family-records.ts'
import type { EndedWhy, FamilyStore, Taken } from './family-store.ts'

interface Kept {
  readonly facts: Buffer | undefined
  readonly tokens: Map<string, { readonly issued?: Buffer; readonly used?: Buffer }>
  ended: EndedWhy | undefined
  expiresAtMs: number
}

/** Families that the memory of this process holds; at the limit no other is begun until one has expired. */
export const MOST_FAMILIES = 10_000

/** For development, and for a backend of one replica that may forget its sessions: everything is gone with the process. */
export function createFamilyMemory(now: () => number, most = MOST_FAMILIES): FamilyStore {
  const families = new Map<string, Kept>()

  const live = (name: string): Kept | undefined => {
    const kept = families.get(name)
    if (kept && kept.expiresAtMs > now()) return kept
    families.delete(name)
    return undefined
  }
  const full = (): boolean => {
    if (families.size < most) return false
    for (const name of families.keys()) live(name)
    return families.size >= most
  }
  return {
    async create(family, { token, issued, facts, expiresAtMs }) {
      const name = nameOf(family)
      const before = live(name)
      // The same question again: its first answer may have been lost.
      if (before) return before.tokens.get(nameOf(token))?.issued && !before.ended ? 'created' : 'exists'
      if (full()) return 'full'
      families.set(name, {
        facts,
        tokens: new Map([[nameOf(token), { issued }]]),
        ended: undefined,
        expiresAtMs,
      })
      return 'created'
    },
    async find(family, token) {
      const kept = live(nameOf(family))
      if (!kept) return 'unknown'
      const { issued, used } = kept.tokens.get(nameOf(token)) ?? {}
      return { ended: kept.ended, facts: kept.facts, issued, used }
    },
    async take(family, { token, used, parent, next, issued }): Promise<Taken> {
      const kept = live(nameOf(family))
      if (!kept) return 'ended'
      if (kept.tokens.get(nameOf(token))?.used) return 'lost'
      if (kept.ended) return 'ended'
      if (parent && !namesSuccessor(kept.tokens.get(nameOf(parent))?.used, token)) return 'stray'
      kept.tokens.set(nameOf(token), { used })
      kept.tokens.set(nameOf(next), { issued })
      return 'won'
    },
    async end(family, why, untilMs) {
      const name = nameOf(family)
      const kept = live(name)
      if (kept) kept.ended ??= why
      // Unknown here may still be presented one day: an ended family is never begun again.
      else if (!full())
        families.set(name, { facts: undefined, tokens: new Map(), ended: why, expiresAtMs: untilMs })
      else return 'unavailable'
      return 'ended'
    },
  }
}

function nameOf(digest: Buffer): string {
  return digest.toString('latin1')
}
