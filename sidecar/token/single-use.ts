import { hash } from 'node:crypto'
import type { Moment } from '../request.ts'

/** Tokens that may be used once, by who made them and their `jti`. */
export interface SingleUse {
  /**
   * Uses it up until `until`, when it has expired anyway. `full`: nobody can tell any more, which is a refusal; nothing that could
   * still come again is ever forgotten.
   */
  spend(issuer: string, jti: string, until: Moment, at: Moment): 'fresh' | 'seen' | 'full'
}

/** About a megabyte at worst. */
export const SINGLE_USE_ENTRIES = 10_000

/** Memory of this process: another replica has its own. */
export function createSingleUse(entries: number = SINGLE_USE_ENTRIES): SingleUse {
  const used = new Map<string, Moment>()
  const sweep = (at: Moment): void => {
    for (const [name, until] of used) if (until <= at) used.delete(name)
  }
  return {
    spend(issuer, jti, until, at) {
      // Of fixed length, whatever either of the two is made of.
      const name = hash('sha256', `${issuer.length}:${issuer}${jti}`, 'base64')
      if ((used.get(name) ?? 0) > at) return 'seen'
      if (used.size >= entries) sweep(at)
      if (used.size >= entries) return 'full'
      used.set(name, until)
      return 'fresh'
    },
  }
}
