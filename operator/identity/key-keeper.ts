import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Now } from '../ports.ts'
import { type BundleRules, bundleOf, readBundle, storeBundle } from './bundle.ts'
import { decodeKeys, encodeKeys, type KeyRules, type Keys, type Material, makeKey, SECRETS } from './keys.ts'
import type { Cabinet, Entropy } from './ports.ts'
import {
  acknowledgedByBundle,
  activated,
  firstRing,
  longerLived,
  type NewKey,
  prepared,
  published,
  type Ring,
  retired,
  revoked,
  USES,
  type Use,
} from './ring.ts'
import { nextOf, plan, type Rotation, type Step, type Verifiers } from './rotation.ts'

export interface KeeperNeeds {
  readonly cabinet: Cabinet
  readonly rules: () => KeyRules & BundleRules
  readonly now: Now
  readonly entropy: Entropy
  /** Rotations that are not complete. */
  readonly rotations: () => readonly Rotation[]
  readonly verifiers: (rotation: Rotation) => Verifiers | undefined
  /** Highest sequence of a trust bundle that anybody in the fleet has. */
  readonly fleetSequence: () => number
  /** What was done for a rotation, or why it waits. Rejecting leaves it to the next round: the store already knows. */
  readonly record: (progress: Progress, signal: AbortSignal) => Promise<void>
}
export interface Progress {
  readonly rotation: Rotation
  readonly step: Step
  readonly ring: Ring
  readonly sequence: number
  readonly at: number
}

interface Held {
  readonly keys: Keys
  readonly version: string
}
type AllHeld = Readonly<Record<Use, Held>>

const MAX_STEPS = 12

/**
 * One round of the leader: keys exist, the bundle is what the keys say, and each rotation goes as far as it can. Ends early when
 * somebody else wrote in between; the next round starts from what is stored. Safe to be killed between any two writes.
 */
export async function keepKeys(needs: KeeperNeeds, signal: AbortSignal): Promise<'settled' | 'again'> {
  for (let steps = 0; steps < MAX_STEPS; steps += 1) {
    const held = await settle(needs, signal)
    if (!held) return 'again'
    const moved = await advance(needs, held, signal)
    if (moved !== 'moved') return moved
  }
  return 'again'
}

/** What a replica signs with. `undefined` until the leader has made keys and bundle. */
export async function readKeys(
  cabinet: Cabinet,
  signal: AbortSignal,
): Promise<{ readonly keys: Readonly<Record<Use, Keys>>; readonly bundle: TrustBundle } | undefined> {
  const found = await Promise.all(USES.map((use) => read(cabinet, use, signal)))
  const [ca, jwt, signing] = found
  // Read after the keys: it is then at least as new as the sequence that they name.
  const bundle = await readBundle(cabinet, signal)
  if (!ca || !jwt || !signing || !bundle) return undefined
  return { keys: { X509CA: ca.keys, JWTSVID: jwt.keys, BundleSigning: signing.keys }, bundle }
}

async function read(cabinet: Cabinet, use: Use, signal: AbortSignal): Promise<Held | undefined> {
  const shelf = await cabinet.read('Secret', SECRETS[use], signal)
  return shelf && { keys: decodeKeys(use, shelf), version: shelf.version }
}

/** All keys with the bundle stored that carries them, and their records saying so. `undefined`: somebody else wrote. */
async function settle(
  needs: KeeperNeeds,
  signal: AbortSignal,
): Promise<(AllHeld & { readonly sequence: number }) | undefined> {
  const held: Partial<Record<Use, Held>> = {}
  for (const use of USES) {
    const one = (await read(needs.cabinet, use, signal)) ?? (await begin(needs, use, signal))
    const longer =
      one &&
      (await rewrite(needs, one, { ring: longerLived(one.keys.ring, needs.rules().maxTtlMs[use]) }, signal))
    if (!longer) return undefined
    held[use] = longer
  }
  const { X509CA, JWTSVID, BundleSigning } = held
  if (!X509CA || !JWTSVID || !BundleSigning) return undefined
  const keys = { X509CA: X509CA.keys, JWTSVID: JWTSVID.keys, BundleSigning: BundleSigning.keys }
  const content = bundleOf(keys, needs.rules())
  const bundle = await storeBundle(needs.cabinet, content, needs.fleetSequence(), signal)
  if (!bundle) return undefined
  const settled: Partial<Record<Use, Held>> = {}
  for (const use of USES) {
    const one = held[use]
    const told =
      one &&
      (await rewrite(needs, one, { ring: acknowledgedByBundle(one.keys.ring, bundle.sequence) }, signal))
    if (!told) return undefined
    settled[use] = told
  }
  return { ...(settled as AllHeld), sequence: bundle.sequence }
}

/** Create-if-absent: of two replicas that start together one makes the keys. */
async function begin(needs: KeeperNeeds, use: Use, signal: AbortSignal): Promise<Held | undefined> {
  const at = needs.now()
  const [active, standby] = [newKey(needs, use, at), newKey(needs, use, at)]
  const material = new Map([active, standby].map(({ key, material }) => [key.id, material]))
  const keys = { ring: firstRing(use, active.key, standby.key, at), material }
  const place = { kind: 'Secret', name: SECRETS[use], version: undefined } as const
  await needs.cabinet.write(place, encodeKeys(keys), signal)
  return read(needs.cabinet, use, signal)
}

async function rewrite(
  needs: KeeperNeeds,
  held: Held,
  { ring, fresh }: { readonly ring: Ring; readonly fresh?: ReadonlyMap<string, Material> },
  signal: AbortSignal,
): Promise<Held | undefined> {
  if (JSON.stringify(ring) === JSON.stringify(held.keys.ring)) return held
  const keys = { ring, material: new Map([...held.keys.material, ...(fresh ?? [])]) }
  const place = { kind: 'Secret', name: SECRETS[ring.use], version: held.version } as const
  const outcome = await needs.cabinet.write(place, encodeKeys(keys), signal)
  return outcome === 'stored' ? read(needs.cabinet, ring.use, signal) : undefined
}

async function advance(
  needs: KeeperNeeds,
  held: AllHeld & { readonly sequence: number },
  signal: AbortSignal,
): Promise<'settled' | 'again' | 'moved'> {
  let moved = false
  for (const use of USES) {
    const rotation = nextOf(needs.rotations(), use)
    if (!rotation) continue
    const at = needs.now()
    const step = plan(rotation, held[use].keys.ring, needs.verifiers(rotation), at)
    const next = carryOut(needs, { rotation, step, ring: held[use].keys.ring }, at)
    const stored = await rewrite(needs, held[use], next, signal)
    if (!stored) return 'again'
    await needs.record({ rotation, step, ring: stored.keys.ring, sequence: held.sequence, at }, signal)
    moved ||= stored !== held[use]
  }
  return moved ? 'moved' : 'settled'
}

function carryOut(
  needs: KeeperNeeds,
  { rotation, step, ring }: { readonly rotation: Rotation; readonly step: Step; readonly ring: Ring },
  at: number,
): { readonly ring: Ring; readonly fresh?: ReadonlyMap<string, Material> } {
  switch (step.do) {
    case 'prepare': {
      const { key, material } = newKey(needs, ring.use, at)
      return { ring: prepared(ring, key, at), fresh: new Map([[key.id, material]]) }
    }
    case 'revoke': {
      const { key, material } = newKey(needs, ring.use, at)
      const change = { id: step.id, rotation: rotation.uid, standby: key }
      return { ring: revoked(ring, change, at), fresh: new Map([[key.id, material]]) }
    }
    case 'publish':
      return { ring: published(ring, step.id, at) }
    case 'activate':
      return { ring: activated(ring, { ...step, rotation: rotation.uid }, at) }
    case 'retire':
      return { ring: retired(ring, step.id, at) }
    case 'wait':
    case 'complete':
    case 'fail':
      return { ring }
    default:
      return step satisfies never
  }
}

function newKey(
  needs: KeeperNeeds,
  use: Use,
  at: number,
): { readonly key: NewKey; readonly material: Material } {
  return makeKey(use, needs.rules(), at, needs.entropy)
}
