import { aboutOf, partsOfId } from '../../contracts/fingerprint.ts'
import type { Held, Recalled, Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { knows } from '../state/revocation-log.ts'
import { MADE_LIMITS } from '../state/revocation-made.ts'
import type { World } from './world.ts'

/**
 * Whether the operator knows whatever a sidecar says it holds; or has forgotten it, as after its database was restored to an older
 * state; or whether nobody can have told it that.
 */
export function placeOf({ table, log }: World, held: Held, cap: number): 'known' | 'forgotten' | 'absurd' {
  if (held.generation > table.counter + cap || held.revocationHead > log.head + cap) return 'absurd'
  return held.generation <= table.counter && knows(log, held.revocationHead) ? 'known' : 'forgotten'
}

/** TokenIssuers that the AccessPolicy of a pod names: of no others can it recall anything. */
export function sourcesOf(world: World | undefined, uid: string): readonly string[] {
  const named = world?.projections.get(world.pods.get(uid)?.projection ?? '')?.named
  return [...(named?.values() ?? [])]
}

const RECALL_LIMITS = { entries: 20_000, id: 128, issuer: 512, value: 512 } as const

/**
 * What may be believed of what one sidecar recalls: deny facts about issuers that its own projection names, written under the same
 * TokenIssuer. A form that some sidecar would refuse is left out as well: one such entry would spoil the log for the whole fleet.
 */
export function recallable(
  { projections }: World,
  projection: string,
  told: Recalled,
  at: number,
): readonly Revocation[] {
  const named = projections.get(projection)?.named
  const until = (id: string): number => at + (partsOfId(id) ? LONGEST_MS.made : LONGEST_MS.written)
  return (told.revocations?.entries ?? [])
    .slice(0, RECALL_LIMITS.entries)
    .filter((entry) => named?.get(entry.issuer) === entry.source && isWellFormed(entry))
    .map((entry) => ({ ...entry, expiresAtMs: Math.min(entry.expiresAtMs, until(entry.id)) }))
}

/** How far ahead an entry may end: of what machines made, with the skew of a logout; of a Revocation, as admission has it, and a day. */
const LONGEST_MS = { made: MADE_LIMITS.lifetimeMs + 300_000, written: 401 * 86_400_000 } as const

function isWellFormed(entry: Revocation): boolean {
  const { id, issuer, subject, expiresAtMs, issuedBeforeMs } = entry
  if (!isText(id, RECALL_LIMITS.id) || !isText(issuer, RECALL_LIMITS.issuer)) return false
  if (expiresAtMs <= 0 || !subject) return false
  // An id that follows from what an entry says belongs to that entry alone.
  if (partsOfId(id) && !aboutOf(entry)) return false
  if (subject.$case === 'fingerprint') return partsOfId(id) !== undefined
  if (subject.$case === 'everything') return subject.everything && issuedBeforeMs > 0
  const { $case, ...value } = subject
  return Object.values(value).every((text: string) => isText(text, RECALL_LIMITS.value))
}

function isText(text: string, longest: number): boolean {
  return text.length > 0 && text.length <= longest
}
