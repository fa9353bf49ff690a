/** The keys of one use, as they are kept: which there are, and where each is on its way. The private halves lie beside them. */

export const USES = ['X509CA', 'JWTSVID', 'BundleSigning'] as const
export type Use = (typeof USES)[number]

/**
 * Prepared: made, known to nobody. Published: in the trust bundle, the standby. Active: signs. Retiring: verifies only.
 * Retired and Revoked: in no bundle any more; the private key is destroyed with Retiring and Revoked.
 */
export type KeyState = 'Prepared' | 'Published' | 'Active' | 'Retiring' | 'Retired' | 'Revoked'

/** Moments in milliseconds since the epoch. */
export interface KeyRecord {
  readonly id: string
  readonly state: KeyState
  readonly sinceMs: number
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** No credential that this key signs lives longer; raised before it is used, never lowered. */
  readonly maxTtlMs: number
  /** Trust bundle that first carried it, known once that bundle was stored. A key without signs nothing. */
  readonly publishedSequence?: number
  /** Retiring only: from when no credential that it signed can be valid. */
  readonly removableAtMs?: number
  /** UID of the rotation that made it sign, and of the one that ended it. */
  readonly activatedBy?: string
  readonly endedBy?: string
}

export interface Ring {
  readonly use: Use
  readonly keys: readonly KeyRecord[]
}

/** Facts of a key that has just been made. */
export type NewKey = Pick<KeyRecord, 'id' | 'notBeforeMs' | 'notAfterMs' | 'maxTtlMs'>

const ENDED: readonly KeyState[] = ['Retired', 'Revoked']
const REMEMBERED = 4

export function inBundle({ state }: KeyRecord): boolean {
  return state === 'Published' || state === 'Active' || state === 'Retiring'
}

export function activeOf(ring: Ring): KeyRecord | undefined {
  return ring.keys.find(({ state }) => state === 'Active')
}

/** The standbys, the one that was published first in front. */
export function standbysOf(ring: Ring): readonly KeyRecord[] {
  return ring.keys
    .filter(({ state }) => state === 'Published')
    .toSorted((a, b) => (a.publishedSequence ?? Infinity) - (b.publishedSequence ?? Infinity))
}

/** A ring's beginning: one key that will sign, one standby. Both wait for the bundle that carries them. */
export function firstRing(use: Use, active: NewKey, standby: NewKey, at: number): Ring {
  return {
    use,
    keys: [
      { ...active, state: 'Active', sinceMs: at },
      { ...standby, state: 'Published', sinceMs: at },
    ],
  }
}

export function prepared(ring: Ring, key: NewKey, at: number): Ring {
  return { ...ring, keys: [...ring.keys, { ...key, state: 'Prepared', sinceMs: at }] }
}

export function published(ring: Ring, id: string, at: number): Ring {
  return moved(ring, id, { state: 'Published', sinceMs: at })
}

/** The bundle with this sequence, which has been stored, carries every key of the ring that belongs in one. */
export function acknowledgedByBundle(ring: Ring, sequence: number): Ring {
  return {
    ...ring,
    keys: ring.keys.map((key) =>
      inBundle(key) && key.publishedSequence === undefined ? { ...key, publishedSequence: sequence } : key,
    ),
  }
}

/** The standby signs from now on, the former key verifies until `removableAtMs`. */
export function activated(
  ring: Ring,
  change: { readonly promote: string; readonly removableAtMs: number; readonly rotation: string },
  at: number,
): Ring {
  const { promote, removableAtMs, rotation } = change
  const former = activeOf(ring)
  const demoted = former
    ? moved(ring, former.id, { state: 'Retiring', sinceMs: at, removableAtMs, endedBy: rotation })
    : ring
  return moved(demoted, promote, { state: 'Active', sinceMs: at, activatedBy: rotation })
}

export function retired(ring: Ring, id: string, at: number): Ring {
  return forgetful(moved(ring, id, { state: 'Retired', sinceMs: at }))
}

/** One step: the key is out, the standby signs if it was the active one, and `standby` is the new standby. */
export function revoked(
  ring: Ring,
  change: { readonly id: string; readonly rotation: string; readonly standby: NewKey },
  at: number,
): Ring {
  const { id, rotation, standby } = change
  const wasActive = activeOf(ring)?.id === id
  const withStandby: Ring = {
    ...ring,
    keys: [...ring.keys, { ...standby, state: 'Published', sinceMs: at }],
  }
  const ended = moved(withStandby, id, { state: 'Revoked', sinceMs: at, endedBy: rotation })
  const [next] = standbysOf(ended)
  const replaced =
    wasActive && next ? moved(ended, next.id, { state: 'Active', sinceMs: at, activatedBy: rotation }) : ended
  return forgetful(replaced)
}

export function longerLived(ring: Ring, maxTtlMs: number): Ring {
  return {
    ...ring,
    keys: ring.keys.map((key) => (key.maxTtlMs < maxTtlMs ? { ...key, maxTtlMs } : key)),
  }
}

function moved(ring: Ring, id: string, change: Partial<KeyRecord>): Ring {
  return { ...ring, keys: ring.keys.map((key) => (key.id === id ? { ...key, ...change } : key)) }
}

// Ended keys stay as a record for people, the last few of them.
function forgetful(ring: Ring): Ring {
  const ended = ring.keys
    .filter(({ state }) => ENDED.includes(state))
    .toSorted((a, b) => b.sinceMs - a.sinceMs)
  const forgotten = new Set(ended.slice(REMEMBERED).map(({ id }) => id))
  return { ...ring, keys: ring.keys.filter(({ id }) => !forgotten.has(id)) }
}
