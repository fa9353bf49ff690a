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

/**
 * Whether a sidecar may have us deny tokens of an issuer: one that it is to believe itself, or that nobody in another namespace is to
 * believe. The second is for a database so old that it lacks what made the sidecar believe the issuer.
 */
export function believableOf(
  { projections }: World,
  pod: { readonly namespace: string; readonly projection: string },
): (issuer: string) => boolean {
  const own = projections.get(pod.projection)?.issuers
  const elsewhere = new Set(
    [...projections].flatMap(([key, { issuers }]) =>
      key.startsWith(`${pod.namespace}/`) ? [] : [...issuers.keys()],
    ),
  )
  return (issuer) => own?.has(issuer) === true || !elsewhere.has(issuer)
}

const ENTRIES = 20_000

/** What may be believed of what one sidecar recalls: deny facts in good form, of such issuers. */
export function recallable(
  { revocations }: Recalled,
  believable: (issuer: string) => boolean,
): readonly Revocation[] {
  return (revocations?.entries ?? [])
    .slice(0, ENTRIES)
    .filter((entry) => isWellFormed(entry) && believable(entry.issuer))
}

function isWellFormed({ id, issuer, subject, expiresAtMs, issuedBeforeMs }: Revocation): boolean {
  if (id.length === 0 || id.length > 128 || issuer.length === 0 || issuer.length > 512) return false
  if (expiresAtMs <= 0 || !subject) return false
  return subject.$case !== 'everything' || issuedBeforeMs > 0
}
