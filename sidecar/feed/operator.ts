import type { Held } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { BundleKey, TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Believe, Installed, Monotonic, Random, Report, Sleep } from '../ports.ts'
import type { Feed } from './feed.ts'
import { createPolicies } from './policies.ts'
import { createQuestions } from './questions.ts'
import { createRevokes } from './revokes.ts'
import { type FeedStream, subscribe } from './subscribe.ts'

export interface OperatorFeedNeeds {
  /** Opens a stream under the pod's control identity; rejects, or waits, while there is none. */
  readonly open: (signal: AbortSignal) => Promise<FeedStream>
  /** Takes roots and JWT keys of a trust bundle into use. */
  readonly trust: (bundle: TrustBundle) => TrustAnswer | Promise<TrustAnswer>
  /** Reads the bundle keys of a trust bundle: what takes them into use, or what is wrong with them (policy/signature.ts). */
  readonly signers: { read(keys: readonly BundleKey[]): (() => void) | readonly string[] }
  readonly believe: Believe
  readonly version: string
  readonly now: Monotonic
  readonly sleep: Sleep
  readonly random: Random
  readonly report: Report
}
export type TrustAnswer = { readonly ok: true } | { readonly ok: false; readonly problem: string }

export interface OperatorFeed extends Feed {
  readonly stream: NonNullable<Feed['stream']>
}

/** Bounds of the wait before another stream: chance between nothing and a limit that doubles from the first to the last. */
const FIRST_BACKOFF_MS = 200
const LAST_BACKOFF_MS = 10_000
/** A stream that lived so long was a good one. */
const STEADY_MS = 10_000

/** Follows the operator: one stream after the other, each telling what we hold, for as long as the program lives. */
export function createOperatorFeed(needs: OperatorFeedNeeds): OperatorFeed {
  const { believe, now, sleep, random, report } = needs
  const policies = createPolicies(believe, sleep)
  const questions = createQuestions(sleep)
  const revokes = createRevokes(sleep)
  const counts = { streams: 0, nacks: 0, refreshes: questions.counts }
  const trust = createTrustTaker(needs)
  let connected = false
  let problem = 'no stream to the operator yet'

  const held = (): Held => ({ ...believe.held(), trustSequence: trust.sequence() })
  const session = async (signal: AbortSignal): Promise<string> => {
    const stream = await needs.open(signal)
    counts.streams++
    policies.begin()
    const why = await subscribe(
      stream,
      {
        ...needs,
        policies,
        questions,
        revokes,
        trust: trust.take,
        held,
        heard() {
          if (!connected) report('feed_connected', { ...numbersOf(held()) })
          connected = true
          problem = ''
        },
        refused(what, problems) {
          counts.nacks++
          report('feed_refused', { what, problems })
        },
      },
      signal,
    )
    connected = false
    return why
  }
  return {
    stream: { connected: () => connected, problem: () => problem, trustSequence: trust.sequence, counts },
    sources: [],
    activations: policies.activations,
    bundleProblem: policies.problem,
    revoke: revokes.ask,
    refreshKeys: (issuer, signal, kid = '') => questions.ask(issuer, kid.slice(0, 256), signal),
    // Nothing can be read before the operator was reached, and that is `run`.
    load: async () => undefined,
    reload: async () => undefined,
    async run(signal) {
      let failures = 0
      for (;;) {
        const startedAt = now()
        problem = await session(signal).catch((cause: unknown) => reasonOf(cause))
        signal.throwIfAborted()
        if (now() - startedAt >= STEADY_MS) failures = 0
        const waitMs = random() * Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures++, 16))
        report('feed_ended', { problem, retryMs: Math.round(waitMs) })
        await sleep(waitMs, signal)
      }
    },
  }
}

interface TrustTaker {
  take(bundle: TrustBundle): Promise<Installed>
  sequence(): number
}

// Both parts of a trust bundle or neither: identity first, because it may refuse.
function createTrustTaker({ trust, signers, believe }: OperatorFeedNeeds): TrustTaker {
  let sequence = 0
  return {
    sequence: () => sequence,
    async take(bundle) {
      const useKeys = signers.read(bundle.bundleKeys)
      if (typeof useKeys !== 'function') return { ok: false, problems: useKeys }
      const answer = await trust(bundle)
      if (!answer.ok) return { ok: false, problems: [answer.problem] }
      // An operator replica that is behind the others changes nothing.
      if (bundle.sequence >= sequence) {
        useKeys()
        sequence = bundle.sequence
      }
      return { ok: true, generation: believe.held().generation }
    },
  }
}

function numbersOf({ generation, revocationHead, trustSequence }: Held): Readonly<Record<string, number>> {
  return { generation, revocationHead, trustSequence }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.slice(0, 512) : 'unknown'
}
