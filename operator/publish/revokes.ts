import { type Revocation, type Revoke, RevokeOutcome } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import {
  AppendOutcome,
  type AppendRequest,
  type AppendResponse,
} from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { Monotonic, Now } from '../ports.ts'
import { askedFor, MADE_LIMITS } from '../state/revocation-made.ts'
import { encode } from './wire.ts'

/** Has the leader append to the log; resolves after it is stored, or with why it is not. */
export type AppendRevocations = (request: AppendRequest, signal: AbortSignal) => Promise<AppendResponse>

/** What one sidecar wants to be denied everywhere. */
export interface Revokes {
  asked(revoke: Revoke): void
  /** An answer that is due. */
  next(): Buffer | undefined
}

export interface RevokeNeeds {
  readonly append: (entries: readonly Revocation[]) => Promise<AppendResponse>
  /** `namespace/name` of the TokenIssuer with that `iss`, if this sidecar is to believe it. */
  readonly tokenIssuer: (iss: string) => string | undefined
  readonly wall: Now
  readonly now: Monotonic
  readonly wake: () => void
}

const AT_ONCE = 32
/** Entries that one sidecar may ask for: so many at once, and so many a second. */
const RATE = { burst: 100, perSecond: 10 } as const

interface Answer {
  readonly question: number
  readonly outcome: RevokeOutcome
  readonly why: string
}

const REFUSED = RevokeOutcome.REVOKE_OUTCOME_REFUSED
const UNAVAILABLE = RevokeOutcome.REVOKE_OUTCOME_UNAVAILABLE

/** A sidecar speaks for its own issuers only, and no faster than people and refresh tokens go astray. */
export function createRevokes({ append, tokenIssuer, wall, now, wake }: RevokeNeeds): Revokes {
  const answers: Answer[] = []
  let open = 0
  let tokens: number = RATE.burst
  let filledAt = now()

  const answer = (question: number, outcome: RevokeOutcome, why: string): void => {
    answers.push({ question, outcome, why: why.slice(0, 512) })
    wake()
  }
  const taken = (count: number): boolean => {
    const at = now()
    tokens = Math.min(RATE.burst, tokens + (Math.max(0, at - filledAt) / 1000) * RATE.perSecond)
    filledAt = at
    if (tokens < count) return false
    tokens -= count
    return true
  }
  return {
    asked({ question, entries }) {
      // One that does not read its answers gets no more.
      if (answers.length >= 2 * AT_ONCE) return
      const wanted = wantedOf(entries, tokenIssuer, wall())
      if (typeof wanted === 'string') return answer(question, REFUSED, wanted)
      if (open >= AT_ONCE || !taken(entries.length))
        return answer(question, UNAVAILABLE, 'this sidecar asks for too much at once')
      open++
      const done = (outcome: RevokeOutcome, why: string): void => {
        open--
        answer(question, outcome, why)
      }
      append(wanted).then(
        ({ outcome, why }) => done(OUTCOMES.get(outcome) ?? UNAVAILABLE, why),
        () => done(UNAVAILABLE, 'no replica that leads could be asked'),
      )
    },
    next() {
      const due = answers.shift()
      return due && encode({ $case: 'revokeAnswer', revokeAnswer: due })
    },
  }
}

const OUTCOMES: ReadonlyMap<AppendOutcome, RevokeOutcome> = new Map([
  [AppendOutcome.APPEND_OUTCOME_STORED, RevokeOutcome.REVOKE_OUTCOME_STORED],
  [AppendOutcome.APPEND_OUTCOME_REFUSED, REFUSED],
])

function wantedOf(
  entries: readonly Revocation[],
  tokenIssuer: (iss: string) => string | undefined,
  at: number,
): readonly Revocation[] | string {
  if (entries.length === 0 || entries.length > MADE_LIMITS.entries)
    return `entries: must be 1 to ${MADE_LIMITS.entries}`
  const wanted: Revocation[] = []
  for (const [index, entry] of entries.entries()) {
    const one = askedFor(entry, tokenIssuer(entry.issuer), at)
    if (typeof one === 'string') return `entries[${index}]: ${one}`
    wanted.push(one)
  }
  return new Set(wanted.map(({ source }) => source)).size > 1 ? 'entries: must be of one issuer' : wanted
}
