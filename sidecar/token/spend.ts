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

/** Where used proofs are remembered: here, in the store of all replicas, or, while that is lost, here again. */
export type ReplayState = 'memory' | 'shared' | 'lost'

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
  readonly replayState: () => ReplayState
}

/**
 * For how long after its last failure the store is not believed to be back, milliseconds: as long as a nonce lives. Who was given a
 * nonce may not do without it (RFC 9449 section 11.3).
 */
const LOST_MS = 30_000
/** Failures in a row after which the store is lost. A single slow answer costs its own caller a second try, and nobody else anything. */
const FAILURES = 3

/**
 * Who may do without a nonce follows from what remembers used proofs. A replica that is the only one knows all that it accepted since it
 * began; replicas with a store between them ask that. Where neither is so, only proofs with a nonce of this very replica are good, which
 * no other replica accepts; so what carries one is remembered here alone, always, and the store is not asked.
 */
export function createSpending({ memory, shared, alone, bornAt, now }: SpendNeeds): Spending {
  let lostUntil = Number.NEGATIVE_INFINITY
  let failures = 0
  const isLost = () => now() < lostUntil
  const heard = (spent: Spent): Spent => {
    failures = spent === 'unavailable' ? failures + 1 : 0
    if (failures >= FAILURES) lostUntil = now() + LOST_MS
    return spent
  }
  const unheard = (): Spent => heard('unavailable')
  return {
    replayState: () => (shared ? (isLost() ? 'lost' : 'shared') : 'memory'),
    // A proof from before this process began may have been accepted by the one before it, whose memory is gone.
    demandsNonce: (iat) => !shared && (!alone || iat * 1000 <= bornAt + PROOF_WINDOW_S.future * 1000),
    spend(admitted, { proof }, { request, trust, at }, signal) {
      if (proof === undefined) return admitted
      const strict = trust.tokens.requirements(request.action).sharedReplay
      if (strict && !shared) return UNAVAILABLE
      const key = keyOf(proof)
      const ttlMs = lifeOf(proof, at)
      if (proof.nonced || !shared) {
        const own = settle(memory.spend(key, ttlMs, signal), admitted, UNAVAILABLE)
        if (own !== admitted || !strict || !shared) return own
      }
      const lost = isLost()
      const spending = shared.spend(key, ttlMs, signal)
      const spent = spending instanceof Promise ? spending.then(heard, unheard) : heard(spending)
      if (strict) return settleLater(spent, admitted, UNAVAILABLE)
      // Where the store is not demanded there is another way: the same again, with a nonce. Nobody waits for a store that is lost, but
      // it is asked all the same: it is believed to be back when it has not failed for a while.
      return lost ? NO_NONCE : settleLater(spent, admitted, NO_NONCE)
    },
  }
}

function settleLater(
  spent: Spent | Promise<Spent>,
  admitted: Admitted,
  unless: Denial,
): Admitted | Denial | Promise<Admitted | Denial> {
  return spent instanceof Promise
    ? spent.then((late) => settle(late, admitted, unless))
    : settle(spent, admitted, unless)
}

function settle(spent: Spent, admitted: Admitted, unless: Denial): Admitted | Denial {
  if (spent === 'fresh') return admitted
  return spent === 'seen' ? deny('dpop_replay') : unless
}

const NO_NONCE = deny('dpop_nonce_required')
const UNAVAILABLE = deny('replay_store_unavailable')

// Scoped by the key of the proof, or one client could use up another's ids; lengths in front, so that no two pairs are one text.
function keyOf({ thumbprint, jti }: CheckedProof): Buffer {
  return hash('sha256', `${thumbprint.length}:${thumbprint}${jti.length}:${jti}`, 'buffer')
}

// As long as it would be accepted, and what clocks may differ on top: the wall clock can be set back by less than that unnoticed.
function lifeOf({ until }: CheckedProof, at: Moment): number {
  return Math.max(1, Math.ceil(until - at + PROOF_WINDOW_S.future * 1000))
}
