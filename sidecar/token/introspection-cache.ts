import { denied } from '../decision.ts'
import type { Monotonic } from '../ports.ts'
import type { JsonObject } from '../request.ts'
import type { Introspection } from '../trust/endpoint.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import { type IntrospectionAnswer, opaqueToken } from './introspection-answer.ts'
import { fallenFor } from './standing.ts'

export const CACHE_LIMITS = {
  active: 4_096,
  /** Characters of all active answers together. */
  characters: 4 * 1024 * 1024,
  inactive: 4_096,
  inactiveMs: 5_000,
  activeMs: 30_000,
} as const

export interface Asked {
  readonly token: Buffer
  readonly issuer: Issuer
  readonly introspection: Introspection
  readonly trust: Snapshot
  readonly at: number
}

/** Remembers answers; whoever reads one has to judge it again. */
export interface AnswerCache {
  find(key: string, asked: Asked): JsonObject | 'inactive' | undefined
  /** `epoch` is that of the revocations when the question was sent. */
  keep(key: string, answer: IntrospectionAnswer, asked: Asked & { readonly epoch: number }): void
}

interface Entry {
  readonly claims: JsonObject
  readonly characters: number
  readonly until: number
  /** Up to which revocations it was looked at. */
  epoch: number
}

/** Two maps of different types: an inactive answer can be read as nothing else. Bounded; the oldest goes first. */
export function createAnswerCache(now: Monotonic): AnswerCache {
  const active = new Map<string, Entry>()
  const inactive = new Map<string, number>()
  let characters = 0

  const drop = (key: string): void => {
    characters -= active.get(key)?.characters ?? 0
    active.delete(key)
  }
  const makeRoom = (): void => {
    for (const [oldest] of active) {
      if (active.size < CACHE_LIMITS.active && characters <= CACHE_LIMITS.characters) return
      drop(oldest)
    }
  }
  return {
    find(key, asked) {
      if ((inactive.get(key) ?? Number.NEGATIVE_INFINITY) > now()) return 'inactive'
      const entry = active.get(key)
      if (!entry) return undefined
      const { epoch } = asked.trust.revocations
      if (entry.until <= now() || (entry.epoch !== epoch && fallen(entry.claims, asked))) {
        drop(key)
        return undefined
      }
      entry.epoch = epoch
      return entry.claims
    },
    keep(key, answer, { introspection, at, epoch }) {
      drop(key)
      inactive.delete(key)
      if (answer.kind === 'inactive') {
        if (inactive.size >= CACHE_LIMITS.inactive) inactive.delete(inactive.keys().next().value ?? key)
        inactive.set(key, now() + CACHE_LIMITS.inactiveMs)
      }
      if (answer.kind !== 'active') return
      const { exp } = answer.claims
      const leftMs = typeof exp === 'number' ? exp * 1000 - at : 0
      const keptMs = Math.min(introspection.cacheMs, CACHE_LIMITS.activeMs, leftMs)
      if (keptMs <= 0) return
      makeRoom()
      characters += answer.characters
      active.set(key, { claims: answer.claims, characters: answer.characters, until: now() + keptMs, epoch })
    },
  }
}

// Looked at once for each change of what is revoked. The token is refused by its standing in any case; the answer must not outlive it.
function fallen(claims: JsonObject, { token, issuer, trust, at }: Asked): boolean {
  const now = opaqueToken(token, claims, { issuer, trust, at })
  return denied(now) || fallenFor(now, trust, at) !== undefined
}
