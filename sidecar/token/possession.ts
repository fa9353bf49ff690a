import type { Monotonic } from '../ports.ts'
import type { Moment } from '../request.ts'
import type { LocalReplay, Replay } from '../trust/replay.ts'
import { type Bind, createBind, type OwnId } from './binding.ts'
import { createProofCheck } from './dpop.ts'
import { createNonces } from './nonce.ts'
import { createProofKeys } from './proof-keys.ts'
import { createSpending, type ReplayState, type Spend } from './spend.ts'

export interface PossessionNeeds {
  /** NONCE_SECRET_BYTES of chance, new with each process. */
  readonly secret: Uint8Array
  readonly memory: LocalReplay
  /** The store of all replicas, when there is one. */
  readonly shared: Replay | undefined
  /** Whether there is no other replica. */
  readonly alone: boolean
  readonly ownId: OwnId
  /** When this process began. */
  readonly bornAt: Moment
  readonly now: Monotonic
}

/** The steps of a check that have to do with proof of possession (RFC 7800), made of one state. */
export interface Possession {
  readonly bind: Bind
  readonly spend: Spend
  readonly nonce: (at: Moment) => string
  readonly replayState: () => ReplayState
}

export function createPossession(needs: PossessionNeeds): Possession {
  const nonces = createNonces(needs.secret)
  const { spend, demandsNonce, replayState } = createSpending(needs)
  const checkProof = createProofCheck({ keys: createProofKeys(), nonces, demandsNonce })
  return { bind: createBind(checkProof, needs.ownId), spend, nonce: nonces.fresh, replayState }
}
