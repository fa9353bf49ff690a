import type { Monotonic } from './ports.ts'

export interface BucketRules {
  readonly burst: number
  readonly perSecond: number
}

/** Token buckets by name; the oldest is forgotten when there are too many. */
export interface Buckets {
  take(name: string): boolean
  /** What was taken was no use of it after all. */
  give(name: string): void
}

const MAX_BUCKETS = 20_000

export function createBuckets({ burst, perSecond }: BucketRules, monotonic: Monotonic): Buckets {
  const levels = new Map<string, { readonly level: number; readonly at: number }>()
  return {
    take: (name) => {
      const now = monotonic()
      const held = levels.get(name) ?? { level: burst, at: now }
      const level = Math.min(burst, held.level + ((now - held.at) / 1_000) * perSecond)
      // Set anew, so that the order of the map is the order of use.
      levels.delete(name)
      levels.set(name, { level: level >= 1 ? level - 1 : level, at: now })
      const [oldest] = levels.keys()
      if (levels.size > MAX_BUCKETS && oldest !== undefined) levels.delete(oldest)
      return level >= 1
    },
    give: (name) => {
      const held = levels.get(name)
      if (held) levels.set(name, { ...held, level: Math.min(burst, held.level + 1) })
    },
  }
}
