import type {
  Revocation,
  Revocations as RevocationsMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Reason } from '../decision.ts'
import type { Revocable } from '../principal.ts'
import type { Moment } from '../request.ts'
import { createRevocationTable, sizeOf, type TokenFacts } from './revocation-table.ts'
import { problemsOf, REVOCATION_LIMITS } from './revocation-wire.ts'

/** Deny facts that are in force, as far as this sidecar has been told: memory only, no wait on a check. */
export interface Revocations extends KnownRevocations {
  /** Takes one message whole, or says what is wrong with it and changes nothing. */
  apply(message: RevocationsMessage): readonly string[]
  /** The stream ended: a full set that was under way must begin again. What is in force stays in force. */
  interrupted(): void
  /** Forgets entries that expired before `at`. */
  sweep(at: Moment): void
  /** Everything that is in force, in messages that keep the contract's limits; the first has base 0. */
  everything(): Iterable<RevocationsMessage>
}

/** What a decision asks of them. */
export interface KnownRevocations {
  /** Changes with every change of what is in force. */
  readonly epoch: number
  /** Position in the operator's log up to which everything is known. Never goes backwards. */
  readonly head: number
  readonly size: number
  /** Why this caller's token no longer counts, if it is so. */
  against(who: Revocable, token: TokenFacts, at: Moment): Reason | undefined
}

/** The state of a sidecar that nobody pushes revocations to. */
export const NO_REVOCATIONS: KnownRevocations = { epoch: 0, head: 0, size: 0, against: () => undefined }

/**
 * Follows the operator's log. A message builds on the position that we have, or (base 0) begins a full set. The parts of a full set
 * come in order of the log; until it has reached the position that we had, nothing that was in force is forgotten, so that
 * no moment of a reconnect knows less than the moment before.
 */
export function createRevocations(): Revocations {
  const table = createRevocationTable()
  let head = 0
  let epoch = 0
  // How far a full set has come that arrives in parts.
  let refill: number | undefined

  const misplaced = ({ base, head: next }: RevocationsMessage): readonly string[] => {
    const expected = base === 0 ? 0 : (refill ?? head)
    if (base !== expected) return [`base: ${base} is not our head ${expected}; subscribe again`]
    return next < base ? [`head: ${next} lies before its base ${base}`] : []
  }
  // Nothing is dropped at the limit: what does not fit is refused, the head stays behind, and the lease lapses.
  const overfull = ({ entries, base, head: next }: RevocationsMessage): readonly string[] => {
    const replaces = base === 0 && next >= head
    const grown = table.grownBy(entries, replaces)
    return EXTENTS.flatMap((what) =>
      grown[what] <= REVOCATION_LIMITS[what]
        ? []
        : [`entries: ${what} would be ${grown[what]}, at most ${REVOCATION_LIMITS[what]} may`],
    )
  }
  return {
    get epoch() {
      return epoch
    },
    get head() {
      return head
    },
    get size() {
      return table.size()
    },
    against: table.against,
    sweep: table.sweep,
    apply(message) {
      const problems = [...problemsOf(message), ...misplaced(message)]
      const refused = problems.length > 0 ? problems : overfull(message)
      if (refused.length > 0) return refused
      if (message.base === 0) {
        refill = 0
        table.refill()
      }
      for (const entry of message.entries) table.put(entry)
      for (const id of message.removed) table.remove(id)
      if (refill !== undefined) refill = message.head
      if (message.head >= head) {
        if (refill !== undefined) table.refilled()
        refill = undefined
        head = message.head
      }
      epoch++
      return []
    },
    interrupted() {
      refill = undefined
    },
    everything: () => inParts(table.entries(), head),
  }
}

const EXTENTS = ['entries', 'named', 'characters'] as const

// Each part states the same head, and is bounded in entries and in text: no transport's limit cuts it. One part at a time lies in memory.
function* inParts(entries: Iterable<Revocation>, head: number): Iterable<RevocationsMessage> {
  let base = 0
  let part: Revocation[] = []
  let characters = 0
  for (const entry of entries) {
    const { perMessage, partCharacters } = REVOCATION_LIMITS
    if (part.length >= perMessage || characters >= partCharacters) {
      yield { head, base, entries: part, removed: [] }
      base = head
      part = []
      characters = 0
    }
    part.push(entry)
    characters += sizeOf(entry)
  }
  yield { head, base, entries: part, removed: [] }
}
