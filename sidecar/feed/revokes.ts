import {
  type Revocation,
  type Revoke,
  type RevokeAnswer,
  RevokeOutcome,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Revoked, Sleep } from '../ports.ts'

/** Deny facts told to the operator, to be denied by every sidecar. */
export interface Revokes {
  /** `unavailable` too when no answer comes. */
  ask(entry: Revocation, signal: AbortSignal): Promise<Revoked>
  answered(message: RevokeAnswer): void
  /** Whom to ask; `undefined` while no stream is open, and then every open question is over. */
  through(send: ((question: Revoke) => void) | undefined): void
}

const MOST = 256
const WAIT_MS = 10_000

const OUTCOMES: ReadonlyMap<RevokeOutcome, Revoked> = new Map([
  [RevokeOutcome.REVOKE_OUTCOME_STORED, 'stored'],
  [RevokeOutcome.REVOKE_OUTCOME_REFUSED, 'refused'],
])

export function createRevokes(sleep: Sleep): Revokes {
  const open = new Map<number, (outcome: Revoked) => void>()
  let send: ((question: Revoke) => void) | undefined
  let last = 0
  return {
    async ask(entry, signal) {
      if (!send || open.size >= MOST || signal.aborted) return 'unavailable'
      const question = ++last
      const { promise, resolve } = Promise.withResolvers<Revoked>()
      const patience = new AbortController()
      open.set(question, resolve)
      const over = () => resolve('unavailable')
      sleep(WAIT_MS, AbortSignal.any([signal, patience.signal])).then(over, over)
      // The operator gives id and source.
      send({ question, entries: [{ ...entry, id: '', source: '' }] })
      const outcome = await promise
      open.delete(question)
      patience.abort()
      return outcome
    },
    answered({ question, outcome }) {
      open.get(question)?.(OUTCOMES.get(outcome) ?? 'unavailable')
    },
    through(next) {
      send = next
      if (next) return
      for (const over of open.values()) over('unavailable')
    },
  }
}
