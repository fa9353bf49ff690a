import type { Held, Recalled, Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { knows } from '../state/revocation-log.ts'
import type { World } from './world.ts'

/**
 * Whether the operator knows whatever a sidecar says it holds; or has forgotten it, as after its database was restored to an older
 * state; or whether nobody can have told it that.
 */
export function placeOf({ table, log }: World, held: Held, cap: number): 'known' | 'forgotten' | 'absurd' {
  if (held.generation > table.counter + cap || held.revocationHead > log.head + cap) return 'absurd'
  return held.generation <= table.counter && knows(log, held.revocationHead) ? 'known' : 'forgotten'
}

const ENTRIES = 20_000

/** What may be believed of what one sidecar recalls: deny facts, and only of issuers that it is to believe itself. */
export function recallable({ revocations }: Recalled, issuers: ReadonlySet<string>): readonly Revocation[] {
  return (revocations?.entries ?? [])
    .slice(0, ENTRIES)
    .filter(isWellFormed)
    .filter(({ issuer }) => issuers.has(issuer))
}

function isWellFormed({ id, subject, expiresAtMs, issuedBeforeMs }: Revocation): boolean {
  if (id.length === 0 || id.length > 128 || expiresAtMs <= 0 || !subject) return false
  return subject.$case !== 'everything' || issuedBeforeMs > 0
}
