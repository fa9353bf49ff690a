import {
  type KeyFreshness,
  Snapshot as SnapshotMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createTurns } from '../../contracts/turns.ts'
import type { Believe, Installed, Monotonic, Now } from '../ports.ts'
import type { Moment } from '../request.ts'
import { applyDelta, essenceOf, freshnessOf, withFreshness } from './delta.ts'
import { type Blob, createInstall, type InstallRules, type PreparePolicy } from './install.ts'
import { createLease, type Lease } from './lease.ts'
import { joinRevocations, type LocalRevocations } from './local-revocations.ts'
import { createRevocations, type Revocations } from './revocations.ts'
import type { Issuer, Snapshot } from './snapshot.ts'
import { createTrustStore, type TrustStore } from './store.ts'

export interface FedTrust {
  readonly store: TrustStore
  readonly believe: Believe
  /** For status and metrics. */
  readonly revocations: Pick<Revocations, 'head' | 'size'>
  readonly lease: Pick<Lease, 'silence'>
}

export interface FedNeeds {
  readonly prepare: PreparePolicy
  readonly rules: InstallRules
  readonly wall: Now
  readonly monotonic: Monotonic
  /** What this sidecar denies by itself. */
  readonly local: LocalRevocations
  readonly swapped?: (issuers: Snapshot['issuers']) => void
}

/** Trust that an operator feeds: the same store and the same road into it, and what is pushed between snapshots. */
export function createFedTrust({ prepare, rules, wall, monotonic, local, swapped }: FedNeeds): FedTrust {
  const revocations = createRevocations()
  const lease = createLease(monotonic, wall)
  const store = createTrustStore({ revocations: joinRevocations(revocations, local), lease }, swapped)
  const road = createSnapshotRoad(store, createInstall(store, prepare, rules))
  return {
    store,
    revocations,
    lease,
    believe: {
      ...road,
      revoke(message) {
        const problems = revocations.apply(message)
        return problems.length > 0 ? { ok: false, problems } : { ok: true, generation: store.generation() }
      },
      greet() {
        lease.greet()
        revocations.interrupted()
      },
      heartbeat({ revocationHead, atMs }) {
        if (revocationHead <= revocations.head) lease.renew(atMs)
      },
      silenceMs: lease.unheardMs,
      held: () => ({
        generation: store.generation(),
        revocationHead: revocations.head,
        policyDigest: store.installed()?.policyDigest ?? Buffer.alloc(0),
      }),
      recall: revocations.everything,
      sweep: () => sweep(revocations, store, wall()),
    },
  }
}

// A wall clock that jumps ahead and comes back must not have emptied the tables unnoticed: the store remembers every moment that was
// acted on, and denies until it is reached again.
function sweep(revocations: Revocations, store: TrustStore, at: Moment): void {
  if (store.obstacle(at) !== 'clock_unsafe') revocations.sweep(at)
}

type SnapshotRoad = Pick<Believe, 'install' | 'amend' | 'freshen'>

/** Snapshots, and what builds on one: remembers the message in effect. */
function createSnapshotRoad(
  store: TrustStore,
  installWhole: (...args: Parameters<Believe['install']>) => Promise<Installed>,
): SnapshotRoad {
  const inTurn = createTurns()
  let inEffect: SnapshotMessage | undefined

  const base = () => (inEffect?.generation === store.generation() && store.installed() ? inEffect : undefined)
  const freshen = (message: KeyFreshness): Installed => {
    const believed = store.installed()
    if (inEffect) inEffect = withFreshness(inEffect, message)
    const issuers = believed && freshened(believed, message)
    if (issuers) store.swap(Object.freeze({ ...believed, issuers }))
    return { ok: true, generation: store.generation() }
  }
  const install = async (message: SnapshotMessage, blob: Blob): Promise<Installed> => {
    const current = base()
    // The operator tells everything anew on each stream: what we have already is no rollback.
    if (current && same(current, message)) return freshen(freshnessOf(message))
    const installed = await installWhole(message, blob)
    if (installed.ok) inEffect = message
    return installed
  }
  return {
    install: (message, blob) =>
      message.withheld === '' ? inTurn(() => install(message, blob)) : withhold(message, store, installWhole),
    amend: (delta, blob) =>
      inTurn(async () => {
        const current = base()
        if (current?.generation === delta.baseGeneration && delta.generation > current.generation)
          return install(applyDelta(current, delta), blob)
        const having = current ? `generation ${current.generation}` : 'no snapshot'
        return {
          ok: false,
          problems: [
            `base_generation: from ${delta.baseGeneration} to ${delta.generation}, but ${having} is in use`,
          ],
        }
      }),
    freshen: (message) => inTurn(async () => freshen(message)),
  }
}

// Again, on a new stream, is no rollback either.
async function withhold(
  message: SnapshotMessage,
  store: TrustStore,
  install: Believe['install'],
): Promise<Installed> {
  const again = message.generation === store.generation() && store.withheld() !== ''
  return again ? { ok: true, generation: message.generation } : install(message, () => undefined)
}

function same(one: SnapshotMessage, other: SnapshotMessage): boolean {
  if (one.generation !== other.generation) return false
  const bytes = (message: SnapshotMessage) => SnapshotMessage.encode(essenceOf(message)).finish()
  return Buffer.compare(bytes(one), bytes(other)) === 0
}

// `undefined` when nothing may be used for longer than before.
function freshened({ issuers }: Snapshot, { terms }: KeyFreshness): ReadonlyMap<string, Issuer> | undefined {
  const later = terms.flatMap(({ issuer, notAfterMs }) => {
    const known = issuers.get(issuer)
    if (!known || !(notAfterMs > known.keys.notAfter)) return []
    return [[issuer, { ...known, keys: { ...known.keys, notAfter: notAfterMs } }] as const]
  })
  return later.length > 0 ? new Map([...issuers, ...later]) : undefined
}
