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
  let told = new Map<number, Told>()
  let toldOf: RevocationLog | undefined

  const ring = (): void => {
    rings = true
    bell.resolve()
  }
  const renew = (from: World): void => {
    waiting = undefined
    offers = offersOf(from, offers)
  }
  const since = (position: number): Told => {
    const log = world?.log
    if (!log) return []
    if (toldOf !== log) {
      toldOf = log
      told = new Map()
    }
    const known = told.get(position)
    if (known) return known
    const fresh = entriesSince(log, position).map((revocations) => ({
      head: revocations.head,
      body: encode({ $case: 'revocations', revocations }),
    }))
    // Sidecars stand at few positions; a hostile one cannot make us keep more.
    if (told.size < 64) told.set(position, fresh)
    return fresh
  }
  return {
    ring,
    settle() {
      if (world && waiting) renew(world)
    },
    world: () => world,
    offer: (key) => (key === undefined ? undefined : offers.get(key)),
    take(next) {
      const before = world
      if (before && !(follows(next.table, before.table) && next.log.head >= before.log.head)) return false
      world = next
      if (next.trustBundle && next.trustBundle.sequence > (trust?.sequence ?? 0)) {
        const { trustBundle } = next
        trust = { sequence: trustBundle.sequence, body: encode({ $case: 'trustBundle', trustBundle }) }
      }
      if (!before) renew(next)
      else if (before.table !== next.table || before.projections !== next.projections) {
        waiting ??= { since: now(), last: now() }
        waiting.last = now()
      }
      ring()
      return true
    },
    sources: (key) => ({
      trust: () => trust,
      revocationHead: () => world?.log.head ?? 0,
      revocationsSince: since,
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
