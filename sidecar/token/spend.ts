import { hash } from 'node:crypto'
import { type Denial, deny } from '../decision.ts'
import type { Monotonic } from '../ports.ts'
import type { Moment } from '../request.ts'
import type { LocalReplay, Replay, Spent } from '../trust/replay.ts'
import type { Admitted } from './admit.ts'
import type { Asked, BoundToken } from './binding.ts'
import { type CheckedProof, PROOF_WINDOW_S } from './dpop.ts'

/** Uses up the proof of a request, once nothing else stands against it: whoever was admitted, if the proof had not been used before. */
export type Spend = (
  admitted: Admitted,
  bound: BoundToken,
  asked: Asked,
  signal: () => AbortSignal,
) => Admitted | Denial | Promise<Admitted | Denial>

/**
 * Where used proofs are remembered, which decides who may do without a nonce:
 * `alone`: this replica is the only one, and its own memory knows all that it accepted since it began;
 * `shared`: all replicas ask one store;
 * `partitioned`: there are other replicas and no store, so only proofs with a nonce of this very replica are good, which no other
 * replica accepts. What carries such a nonce is remembered here alone in every mode; and `shared` becomes `partitioned` for a
 * while when its store is lost.
 */
export type ReplayMode = 'alone' | 'shared' | 'partitioned'

export interface SpendNeeds {
  readonly memory: LocalReplay
  /** The store of all replicas. */
  readonly shared: Replay | undefined
  /** Whether there is no other replica. */
  readonly alone: boolean
  /** When this process began. */
  readonly bornAt: Moment
  readonly now: Monotonic
}

export interface Spending {
  readonly spend: Spend
  readonly demandsNonce: (iat: number) => boolean
  readonly mode: () => ReplayMode
}

/** How long a store that was lost is not asked again for proofs without a nonce, milliseconds: as long as the nonces handed out meanwhile live. */
const LOST_MS = 30_000

export function createSpending({ memory, shared, alone, bornAt, now }: SpendNeeds): Spending {
  let lostUntil = Number.NEGATIVE_INFINITY
  const mode = (): ReplayMode => {
    if (shared) return now() < lostUntil ? 'partitioned' : 'shared'
    return alone ? 'alone' : 'partitioned'
  }
  const settle = (spent: Spent, admitted: Admitted, unless: Denial): Admitted | Denial => {
    if (spent === 'fresh') return admitted
    return spent === 'seen' ? deny('dpop_replay') : unless
  }
  const settleShared = (spent: Spent, admitted: Admitted, strict: boolean): Admitted | Denial => {
    if (spent === 'unavailable') lostUntil = now() + LOST_MS
    // Where it is not demanded there is another way: the same again, with a nonce.
    return settle(spent, admitted, strict ? UNAVAILABLE : deny('dpop_nonce_required'))
  }
  return {
    mode,
    // A proof from before this process began may have been accepted by the one before it, whose memory is gone.
    demandsNonce: (iat) =>
      mode() === 'partitioned' || (mode() === 'alone' && iat * 1000 <= bornAt + PROOF_WINDOW_S.future * 1000),
    spend(admitted, { proof }, { request, trust, at }, signal) {
      const strict = proof !== undefined && trust.tokens.requirements(request.action).sharedReplay
      if (proof === undefined) return admitted
      if (strict && !shared) return UNAVAILABLE
      const key = keyOf(proof)
      const ttlMs = lifeOf(proof, at)
      if (proof.nonced || mode() === 'alone') {
        const own = settle(memory.spend(key, ttlMs, signal), admitted, UNAVAILABLE)
        if (own !== admitted || !strict) return own
      }
      if (!shared) return deny('dpop_nonce_required')
      const spent = shared.spend(key, ttlMs, signal)
      return spent instanceof Promise
        ? spent.then((late) => settleShared(late, admitted, strict))
        : settleShared(spent, admitted, strict)
    },
  }
}

const UNAVAILABLE = deny('replay_store_unavailable')

// Scoped by the key of the proof, or one client could use up another's ids; lengths in front, so that no two pairs are one text.
function keyOf({ thumbprint, jti }: CheckedProof): Buffer {
  return hash('sha256', `${thumbprint.length}:${thumbprint}${jti.length}:${jti}`, 'buffer')
}

// As long as it would be accepted, and what clocks may differ on top: the wall clock can be set back by less than that unnoticed.
function lifeOf({ until }: CheckedProof, at: Moment): number {
  return Math.max(1, Math.ceil(until - at + PROOF_WINDOW_S.future * 1000))
}
