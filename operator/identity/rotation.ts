import { activeOf, inBundle, type KeyRecord, type Ring, standbysOf, type Use } from './ring.ts'

/** A wish of people, from a KeyRotation object that is not complete yet. */
export interface Rotation {
  /** UID of the object. */
  readonly uid: string
  readonly name: string
  readonly use: Use
  readonly action: 'Rotate' | 'Revoke'
  /** With Revoke. */
  readonly keyId?: string
  /** Goes on without acknowledgements; allowed to few, and recorded. */
  readonly override: boolean
  readonly createdMs: number
}

/** Who has acknowledged the trust bundle with this sequence, or one that came after it; counted by `control`. */
export interface Verifiers {
  readonly sequence: number
  readonly total: number
  readonly acknowledged: number
  /** Silent for longer than the longest lease: they deny by themselves. */
  readonly lapsed: number
}

/** What to do next. Each is stored before the next is planned, so a program killed anywhere goes on where the store says. */
export type Step =
  | { readonly do: 'prepare' }
  | { readonly do: 'publish'; readonly id: string }
  | {
      readonly do: 'activate'
      readonly promote: string
      readonly removableAtMs: number
      readonly overridden: boolean
    }
  | { readonly do: 'retire'; readonly id: string }
  | { readonly do: 'revoke'; readonly id: string }
  | { readonly do: 'wait'; readonly why: string; readonly untilMs?: number }
  | { readonly do: 'complete' }
  | { readonly do: 'fail'; readonly why: string }

/** How far the reading of the key store by a replica may be behind before it stops signing, milliseconds. */
export const SIGNING_LEASE_MS = 60_000
/** What clocks of two machines may differ by. */
export const SKEW_MS = 120_000

/** The next step of a rotation. Pure: the same ring, counts and moment give the same step, whoever asks and however often. */
export function plan(rotation: Rotation, ring: Ring, verifiers: Verifiers | undefined, at: number): Step {
  return rotation.action === 'Revoke' ? planRevoke(rotation, ring) : planRotate(rotation, ring, verifiers, at)
}

/** The rotation that is worked on: revocations before rotations, then the oldest. */
export function nextOf(rotations: readonly Rotation[], use: Use): Rotation | undefined {
  const urgency = ({ action }: Rotation) => (action === 'Revoke' ? 0 : 1)
  return rotations
    .filter((one) => one.use === use)
    .toSorted((a, b) => urgency(a) - urgency(b) || a.createdMs - b.createdMs || (a.uid < b.uid ? -1 : 1))[0]
}

function planRotate(rotation: Rotation, ring: Ring, verifiers: Verifiers | undefined, at: number): Step {
  const done = ring.keys.some(({ activatedBy, endedBy }) => [activatedBy, endedBy].includes(rotation.uid))
  return done ? planEnd(rotation, ring, at) : planActivation(rotation, ring, verifiers, at)
}

function planActivation(rotation: Rotation, ring: Ring, verifiers: Verifiers | undefined, at: number): Step {
  const waiting = ring.keys.find(({ state }) => state === 'Prepared')
  if (waiting) return { do: 'publish', id: waiting.id }
  const standbys = standbysOf(ring)
  // The standby is promoted, and another must be there to stand by from then on.
  if (standbys.length < 2) return { do: 'prepare' }
  if (standbys.some(({ publishedSequence }) => publishedSequence === undefined))
    return { do: 'wait', why: 'the trust bundle with the new key is being stored' }
  const [promoted] = standbys
  const active = activeOf(ring)
  if (!promoted || !active) return { do: 'fail', why: 'no active key' }
  const missing = gate(standbys, verifiers)
  if (missing !== undefined && !rotation.override) return { do: 'wait', why: missing }
  return {
    do: 'activate',
    promote: promoted.id,
    removableAtMs: at + SIGNING_LEASE_MS + active.maxTtlMs + SKEW_MS,
    overridden: missing !== undefined,
  }
}

/** Why the keys may not be used yet, or `undefined` when everyone who verifies knows them, or denies. */
function gate(standbys: readonly KeyRecord[], verifiers: Verifiers | undefined): string | undefined {
  const sequence = Math.max(...standbys.map((key) => key.publishedSequence ?? 0))
  if (!verifiers || verifiers.sequence < sequence)
    return `verifiers are not counted yet for sequence ${sequence}`
  const { total, acknowledged, lapsed } = verifiers
  return acknowledged + lapsed >= total
    ? undefined
    : `${acknowledged} of ${total} verifiers have sequence ${sequence}, ${lapsed} lapsed`
}

function planEnd(rotation: Rotation, ring: Ring, at: number): Step {
  const retiring = ring.keys.find(({ state, endedBy }) => state === 'Retiring' && endedBy === rotation.uid)
  if (!retiring) return { do: 'complete' }
  const { removableAtMs } = retiring
  // Without a moment it stays: a key too long in the bundle is a smaller evil than credentials that nobody can verify.
  if (removableAtMs === undefined) return { do: 'wait', why: 'the end of the former key is not known' }
  if (at < removableAtMs)
    return { do: 'wait', why: 'credentials of the former key are valid', untilMs: removableAtMs }
  return { do: 'retire', id: retiring.id }
}

function planRevoke(rotation: Rotation, ring: Ring): Step {
  const key = ring.keys.find(({ id }) => id === rotation.keyId)
  if (!key) return { do: 'fail', why: `there is no key ${rotation.keyId}` }
  if (key.state !== 'Revoked' && key.state !== 'Retired') return { do: 'revoke', id: key.id }
  return ring.keys.some((one) => inBundle(one) && one.publishedSequence === undefined)
    ? { do: 'wait', why: 'the trust bundle without the key is being stored' }
    : { do: 'complete' }
}
