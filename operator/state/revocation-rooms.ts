import { partsOfId } from '../../contracts/fingerprint.ts'
import { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'

/** Of the log: one for what people wrote, one for what machines made, and one for what was recalled for people. */
export type Room = 'own' | 'made' | 'recalled'
export type Held = Readonly<Record<Room, { entries: number; bytes: number }>>
type Limits = Readonly<Held[Room]>

/** What is in force, as far as it matters here. */
interface Kept {
  readonly id: string
  readonly entry: Revocation
  readonly recalled: boolean
}

// However much machines and sidecars bring, what people revoke gets in. What machines made has no object either way.
export function roomOf({ id, recalled }: Kept): Room {
  if (partsOfId(id)) return 'made'
  return recalled ? 'recalled' : 'own'
}

export function tally(held: Held, one: Kept, sign: 1 | -1): void {
  const room = held[roomOf(one)]
  room.entries += sign
  room.bytes += sign * sizeOf(one.entry)
}

/** Why a room is too full; undefined when it is not. */
export function overfull({ entries, bytes }: Held[Room], room: Room, limits: Limits): string | undefined {
  const what = WHAT[room]
  const limit = room === 'made' ? limits : writtenLimits(limits)
  if (entries > limit.entries) {
    return `log is full: ${entries} entries would be in force${what}, at most ${limit.entries} may; remove or shorten other revocations`
  }
  if (bytes <= limit.bytes) return undefined
  return `log is full: ${bytes} bytes would be in force${what}, at most ${limit.bytes} may; remove or shorten other revocations`
}

const WHAT = { own: '', made: ' of what machines made', recalled: ' of what was recalled' } as const

/**
 * Half of what sidecars take of people (100,000) at most, for what people wrote and for what was recalled of them: all that they wrote can
 * be recalled, and sidecars take both.
 */
export function writtenLimits({ entries, bytes }: Limits): Limits {
  return { entries: Math.min(entries, 50_000), bytes: Math.min(bytes, 8 * 1024 * 1024) }
}

/** What is in force, by room, for the caller to change; counted once, and from then on by what is added and taken away. */
export function heldBy(live: ReadonlyMap<string, Kept>): Held {
  const known = counted.get(live)
  if (known) return { own: { ...known.own }, made: { ...known.made }, recalled: { ...known.recalled } }
  const held: Held = {
    own: { entries: 0, bytes: 0 },
    made: { entries: 0, bytes: 0 },
    recalled: { entries: 0, bytes: 0 },
  }
  for (const one of live.values()) tally(held, one, 1)
  keepHeld(live, held)
  return heldBy(live)
}

const counted = new WeakMap<ReadonlyMap<string, Kept>, Held>()
export function keepHeld(live: ReadonlyMap<string, Kept>, held: Held): void {
  counted.set(live, held)
}

const sizes = new WeakMap<Revocation, number>()
/** Encoded. */
export function sizeOf(entry: Revocation): number {
  const known = sizes.get(entry)
  if (known !== undefined) return known
  const size = Revocation.encode(entry).finish().length + 4
  sizes.set(entry, size)
  return size
}
