import { createReplayMemory, type Replay, type Spent } from '../../sidecar/trust/replay.ts'
import type { PipelinePlan } from '../fixtures/pipeline.ts'
import { AT_S } from './arena.ts'
import { type Call, type DpopArena, openDpopArena } from './dpop-arena.ts'

// Two replicas of one workload, and a store between them that can be lost.

export interface Store extends Replay {
  lost: boolean
  /** Takes every question and answers none. */
  hangs: boolean
}

/** What Redis does, as far as a replica can see: one memory for all, a turn of the event loop away, and sometimes gone. */
export function openStore(): Store {
  const memory = createReplayMemory(() => 0)
  return {
    lost: false,
    hangs: false,
    async spend(key, ttlMs, signal): Promise<Spent> {
      await (this.hangs ? new Promise(() => undefined) : Promise.resolve())
      return this.lost ? 'unavailable' : memory.spend(key, ttlMs, signal)
    },
  }
}

export interface Replicas {
  readonly one: DpopArena
  readonly other: DpopArena
  readonly clock: { now: number; monotonic: number }
}

export async function openReplicas(
  shared: Store | undefined,
  plan: Partial<PipelinePlan> = {},
): Promise<Replicas> {
  const clock = { now: AT_S * 1000, monotonic: 0 }
  const open = () =>
    openDpopArena({
      ...plan,
      now: () => clock.now,
      replica: { alone: false, shared, now: () => clock.monotonic },
    })
  return { one: await open(), other: await open(), clock }
}

/** The nonce that this replica gives to whoever comes without one. */
export async function nonceOf(replica: DpopArena, call: Call = {}): Promise<string> {
  const { nonce } = await replica.ask({ ...call, proof: { claims: { nonce: 'none' } } })
  if (nonce === undefined) throw new Error('no nonce was given')
  return nonce
}
