import type { Monotonic } from '../ports.ts'
import { follows } from '../state/generations.ts'
import { entriesSince, type RevocationLog } from '../state/revocation-log.ts'
import { type Offer, offersOf } from './offers.ts'
import type { Sources } from './outbox.ts'
import { encode } from './wire.ts'
import type { World } from './world.ts'

/** The world, prepared for many streams: revocations and trust as they come, policies and keys debounced. */
export interface Broadcast {
  /** False: older than what is known already. */
  take(world: World): boolean
  world(): World | undefined
  offer(key: string | undefined): Offer | undefined
  /** Keys of projections whose newest content cannot be served here. */
  unserved(): readonly string[]
  /** For one stream; `key` of its projection. */
  sources(key: () => string | undefined): Sources
  /** Brings the offers up to date without waiting for more changes. */
  settle(): void
  /** Something is to be sent. */
  ring(): void
  /** Resolves at the next ring, or at once after one. */
  rung(): Promise<void>
  /** Brings the offers up to date when that is due. True: streams are to be woken. */
  freshen(): boolean
}

type Told = readonly { readonly head: number; readonly body: Buffer }[]

export function createBroadcast(
  debounceMs: { readonly quiet: number; readonly most: number },
  now: Monotonic,
): Broadcast {
  let world: World | undefined
  let offers: ReadonlyMap<string, Offer> = new Map()
  let waiting: { readonly since: number; last: number } | undefined
  let bell = Promise.withResolvers<void>()
  let rings = false
  let trust: { readonly sequence: number; readonly body: Buffer } | undefined
  const told = createToldCache()

  const ring = (): void => {
    rings = true
    bell.resolve()
  }
  const renew = (from: World): void => {
    waiting = undefined
    offers = offersOf(from, offers)
  }
  return {
    ring,
    settle() {
      if (world && waiting) renew(world)
    },
    world: () => world,
    offer: (key) => (key === undefined ? undefined : offers.get(key)),
    unserved: () =>
      [...(world?.projections ?? [])].flatMap(([key, { digest }]) =>
        offers.get(key)?.projection.digest === digest ? [] : [key],
      ),
    take(next) {
      const before = world
      if (before && !(follows(next.table, before.table) && next.log.head >= before.log.head)) return false
      world = next
      if (next.trustBundle && next.trustBundle.sequence > (trust?.sequence ?? 0)) {
        const { trustBundle } = next
        trust = { sequence: trustBundle.sequence, body: encode({ $case: 'trustBundle', trustBundle }) }
      }
      if (!before) renew(next)
      else if (
        before.table !== next.table ||
        before.projections !== next.projections ||
        before.blob !== next.blob
      ) {
        waiting ??= { since: now(), last: now() }
        waiting.last = now()
      }
      ring()
      return true
    },
    sources: (key) => ({
      trust: () => trust,
      revocationHead: () => world?.log.head ?? 0,
      revocationsSince: (position) => (world ? told(world.log, position) : []),
      offer: () => offers.get(key() ?? ''),
    }),
    rung: () => bell.promise,
    freshen() {
      const due =
        waiting && (now() - waiting.last >= debounceMs.quiet || now() - waiting.since >= debounceMs.most)
      if (due && world) renew(world)
      else if (!rings) return false
      rings = false
      bell = Promise.withResolvers<void>()
      return true
    },
  }
}

/** Sidecars stand at few positions; a hostile one cannot make us keep more. */
const POSITIONS = 64

/** What is told of a log to those who stand at a position, encoded once. */
function createToldCache(): (log: RevocationLog, position: number) => Told {
  let told = new Map<number, Told>()
  let of: RevocationLog | undefined
  return (log, position) => {
    if (of !== log) told = new Map()
    of = log
    const known = told.get(position)
    if (known) return known
    const fresh = entriesSince(log, position).map((revocations) => ({
      head: revocations.head,
      body: encode({ $case: 'revocations', revocations }),
    }))
    if (told.size < POSITIONS) told.set(position, fresh)
    return fresh
  }
}
