import { status } from '@grpc/grpc-js'
import type { Held, Recalled } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Monotonic } from '../ports.ts'
import type { Heard } from './acks.ts'
import type { Blobs } from './blobs.ts'
import type { Lane } from './lane.ts'
import type { Outbox, Sources, What } from './outbox.ts'
import type { Questions } from './questions.ts'
import type { AskKeys } from './refresh.ts'
import type { RevokeNeeds, Revokes } from './revokes.ts'

/** What a session needs of the publisher that it belongs to. */
export interface SessionNeeds extends Sources {
  readonly now: Monotonic
  readonly wall: RevokeNeeds['wall']
  readonly append: RevokeNeeds['append']
  readonly ask: AskKeys
  readonly blob: (sha256: string) => Buffer | undefined
  /** Whether what this sidecar claims to hold is known, was forgotten by the operator, or cannot be. */
  readonly place: (held: Held) => 'known' | 'forgotten' | 'absurd'
  /** What the operator had forgotten. Resolves once it is stored, or to why it is not. */
  readonly recalled: (held: Held, recalled: Recalled) => Promise<string | undefined>
  /** Whether snapshots are held back because something is being recalled. */
  readonly holding: () => boolean
  readonly heard: (what: Omit<Heard, 'at'>) => void
  /** It is being served from now on. */
  readonly begun: () => void
  /** Ends the call; the last thing that a session does. */
  readonly ended: (code: status, why: string) => void
  readonly ageMs: number
}

export type Phase = 'greeting' | 'recalling' | 'serving' | 'ended'

/** All that one stream is at. */
export interface Course {
  readonly needs: SessionNeeds
  readonly outbox: Outbox
  readonly blobs: Blobs
  readonly questions: Questions
  readonly revokes: Revokes
  readonly lane: Lane
  readonly begunAt: number
  phase: Phase
  phaseSince: number
  heardAt: number
  /** Since the last check. */
  requests: number
  readonly recall: Recall
  /** Why the newest of each kind was refused. */
  readonly problems: Map<What, readonly string[]>
}

export interface Recall {
  asked: boolean
  parts: number
  /** Not stored yet. */
  open: number
  lastAt: number
  held: Held
  problem: string | undefined
}

export const SESSION_LIMITS = {
  greetingMs: 10_000,
  /** From memory, so at once; shorter than the strictest lease, for who shares an issuer is not vouched for meanwhile. */
  recallMs: 3_000,
  storingMs: 30_000,
  silentMs: 30_000,
  stalledMs: 30_000,
  unansweredMs: 60_000,
  /** Between two checks. */
  requests: 2_000,
  /** A million entries, 4,096 in each. */
  recalls: 256,
  /** After the last part of what was recalled. */
  quietMs: 250,
} as const

interface Late {
  readonly when: (course: Course) => boolean
  readonly code: status
  readonly why: string
}

const within = (course: Course, phase: Phase, ms: number): boolean =>
  course.phase === phase && course.needs.now() - course.phaseSince > ms

/** What takes too long, and how the stream ends then. */
export const LATE: readonly Late[] = [
  {
    when: (course) => within(course, 'greeting', SESSION_LIMITS.greetingMs),
    code: status.DEADLINE_EXCEEDED,
    why: 'no hello came',
  },
  {
    when: (course) =>
      course.recall.parts === 0
        ? within(course, 'recalling', SESSION_LIMITS.recallMs)
        : within(course, 'recalling', SESSION_LIMITS.storingMs),
    code: status.DEADLINE_EXCEEDED,
    why: 'what was recalled did not come',
  },
  {
    when: ({ needs, heardAt }) => needs.now() - heardAt > SESSION_LIMITS.silentMs,
    code: status.DEADLINE_EXCEEDED,
    why: 'nothing was heard of this sidecar for too long',
  },
  {
    when: ({ lane }) => lane.stalledMs() > SESSION_LIMITS.stalledMs,
    code: status.RESOURCE_EXHAUSTED,
    why: 'this sidecar reads too slowly',
  },
  {
    when: ({ outbox }) => outbox.unansweredMs() > SESSION_LIMITS.unansweredMs,
    code: status.DEADLINE_EXCEEDED,
    why: 'what was sent is not acknowledged',
  },
  {
    when: ({ needs, begunAt }) => needs.now() - begunAt > needs.ageMs,
    code: status.UNAVAILABLE,
    why: 'this stream has reached its age; connect again',
  },
]
