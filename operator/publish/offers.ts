import {
  type Delta,
  Issuer,
  Policy,
  Profile,
  type Snapshot,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { servable } from '../state/generations.ts'
import type { Projection } from '../state/project.ts'
import { encode } from './wire.ts'
import type { World } from './world.ts'

/** One projection under its number, as it is sent: encoded once for all streams. */
export interface Offer {
  readonly key: string
  readonly generation: number
  readonly projection: Projection
  readonly snapshot: Snapshot
  /** What tells two sets of key terms apart. */
  readonly terms: string
  whole(): Buffer
  freshness(): Buffer
  /** Undefined when a sidecar of that generation cannot be told the difference. */
  since(generation: number): Buffer | undefined
}

/** Former snapshots of a projection that a sidecar may still hold, by generation. */
type Former = ReadonlyMap<number, Snapshot>
const FORMER = 3

/**
 * What may be served now: projections of which the stored table holds exactly the digest and whose files are at hand. Unchanged ones
 * stay the same objects.
 */
export function offersOf(world: World, before: ReadonlyMap<string, Offer>): ReadonlyMap<string, Offer> {
  const offers = new Map<string, Offer>()
  for (const [key, projection] of world.projections) {
    const generation = servable(world.table, key, projection.digest)
    const old = before.get(key)
    const complete = [...projection.blobs.keys()].every((sha256) => world.blob(sha256) !== undefined)
    // What cannot be served yet leaves the former in place: table and files follow, or this replica is behind.
    if (generation === undefined || !complete) {
      if (old && isServable(world, old)) offers.set(key, old)
    } else offers.set(key, createOffer(projection, generation, old))
  }
  return offers
}

function isServable({ table }: World, { key, generation, projection }: Offer): boolean {
  return servable(table, key, projection.digest) === generation
}

interface Remembering extends Offer {
  readonly former: Former
}

function createOffer(projection: Projection, generation: number, old: Offer | undefined): Offer {
  const terms = termsOf(projection)
  if (old?.generation === generation && old.terms === terms && old.projection.digest === projection.digest)
    return old
  const { key } = projection
  const snapshot: Snapshot = { ...projection.snapshot, generation }
  const former = formerOf(old as Remembering | undefined, generation)
  const deltas = new Map<number, Buffer | undefined>()
  let whole: Buffer | undefined
  let freshness: Buffer | undefined
  const offer: Remembering = {
    key,
    generation,
    projection,
    snapshot,
    terms,
    former,
    whole: () => {
      whole ??= encode({ $case: 'snapshot', snapshot })
      return whole
    },
    freshness: () => {
      freshness ??= encode({ $case: 'keyFreshness', keyFreshness: { terms: keyTerms(projection) } })
      return freshness
    },
    since(base) {
      const known = former.get(base)
      if (!known) return undefined
      if (!deltas.has(base)) deltas.set(base, encoded(deltaOf(known, snapshot)))
      return deltas.get(base)
    },
  }
  return offer
}

function encoded(delta: Delta | undefined): Buffer | undefined {
  return delta && encode({ $case: 'delta', delta })
}

function formerOf(old: Remembering | undefined, generation: number): Former {
  if (!old) return new Map()
  if (old.generation === generation) return old.former
  return new Map([...old.former, [old.generation, old.snapshot] as const].slice(-FORMER))
}

const keyTerms = ({ issuers }: Projection) =>
  [...issuers].map(([issuer, { notAfterMs }]) => ({ issuer, notAfterMs }))

function termsOf(projection: Projection): string {
  return JSON.stringify(keyTerms(projection))
}

function deltaOf(base: Snapshot, next: Snapshot): Delta | undefined {
  if (base.withheld || next.withheld) return undefined
  const before = new Map(base.issuers.map((issuer) => [issuer.issuer, content(issuer)]))
  const names = new Set(next.issuers.map(({ issuer }) => issuer))
  return {
    baseGeneration: base.generation,
    generation: next.generation,
    issuers: next.issuers.filter((issuer) => before.get(issuer.issuer)?.equals(content(issuer)) !== true),
    removedIssuers: [...before.keys()].filter((issuer) => !names.has(issuer)),
    profile: changed(Profile, base.profile, next.profile),
    policy: changed(Policy, base.policy, next.policy),
  }
}

// The term of a key set is told apart from it.
function content(issuer: Issuer): Buffer {
  const keys = issuer.keys && { ...issuer.keys, notAfterMs: 0 }
  return Buffer.from(Issuer.encode({ ...issuer, keys }).finish())
}

interface Codec<T> {
  encode(message: T): { finish(): Uint8Array }
}

function changed<T>(codec: Codec<T>, before: T | undefined, after: T | undefined): T | undefined {
  if (!before || !after) return after
  const same = Buffer.compare(codec.encode(before).finish(), codec.encode(after).finish()) === 0
  return same ? undefined : after
}
