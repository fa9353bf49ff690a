import { MEANING, type Reason } from '../decision.ts'
import { counted, gauge, type Histogram, type Reading, type Sample, sample, spread } from './reading.ts'

// What is counted about tokens beside decisions. The rooms that know it take single functions of this object; they know no
// metric, no label and no registry. Every label is from a list below: nothing that a caller sent can become one.

const REASONS = Object.keys(MEANING) as Reason[]
/** Denials that say something about the token itself. */
export const TOKEN_REASONS: readonly Reason[] = REASONS.slice(0, REASONS.indexOf('insufficient_scope'))

/** How a lookup of an earlier verdict ended. `recheck_failed`: found, and refused by what is checked on each hit. */
export const CACHE_RESULTS = ['hit', 'miss', 'negative_hit', 'recheck_failed'] as const
export type CacheResult = (typeof CACHE_RESULTS)[number]

/** Kinds that VerifyToken knows; `none`: the question named none of them. */
export const VOUCHED_KINDS = [
  'access_token',
  'id_token',
  'logout_token',
  'client_assertion',
  'request_object',
  'jwt_svid',
  'none',
] as const

export const INTROSPECTION_OUTCOMES = ['active', 'inactive', 'invalid', 'unavailable'] as const
export type IntrospectionOutcome = (typeof INTROSPECTION_OUTCOMES)[number]

/** Error codes of RFC 6749 section 5.2 and RFC 8693 section 2.2.2; `unavailable`: no answer; `other`: any other code. */
export const TOKEN_OUTCOMES = [
  'success',
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
  'unavailable',
  'other',
] as const

/** Where proofs are remembered: in this process, in the shared store, or nowhere because the shared store is lost. */
export const REPLAY_STATES = ['memory', 'shared', 'lost'] as const
export type ReplayState = (typeof REPLAY_STATES)[number]

export const CIRCUITS = ['introspection', 'exchange', 'redis'] as const
export type Circuit = (typeof CIRCUITS)[number]

/** What is read at each scrape rather than counted. */
export interface TokenReadings {
  readonly replayState: () => ReplayState
  /** Open circuit breakers by what they guard. */
  readonly openCircuits: Readonly<Partial<Record<Circuit, () => number>>>
}

export interface TokenTelemetry {
  /** An ID token that VerifyToken refused. */
  idTokenRefused(reason: Reason): void
  /** An answer of VerifyToken; `none` for a question that was none. */
  vouched(kind: string, outcome: 'verified' | 'refused'): void
  /** One request to an introspection endpoint, cache misses only. */
  introspected(outcome: IntrospectionOutcome, seconds: number): void
  /** One token request: a refresh token redeemed at the guard, or a token exchanged. A code outside the list counts as `other`. */
  tokenRequested(outcome: string): void
  /** A used refresh token came again, and its family was revoked. */
  refreshReplayDetected(): void
  /** Since the family was registered, at each redemption. */
  refreshRedeemed(familyAgeSeconds: number): void
  /** An accepted token that is good for more than one audience. */
  multiAudience(): void
  cacheLookup(result: CacheResult): void
  /** Shadow verification and the cache did not agree. */
  cacheDiverged(): void
  /** Says where gauges read. Each may be given once or more; the last one counts. */
  watch(readings: Partial<TokenReadings>): void
}

export interface TokenMetrics {
  readonly telemetry: TokenTelemetry
  readonly readings: readonly Reading[]
  readonly histograms: readonly Histogram<string>[]
}

// Seconds. The aim of an introspection is under 200 ms; its own limit is seconds.
const INTROSPECTION_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5]
const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const FAMILY_AGE_SECONDS = [MINUTE, 15 * MINUTE, HOUR, 8 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY]

/** Counters start at zero: an alert on an increase does not see the event with which a series begins. */
export function createTokenMetrics(): TokenMetrics {
  const idTokens = createTally(TOKEN_REASONS)
  const asks = { verified: createTally(VOUCHED_KINDS), refused: createTally(VOUCHED_KINDS) }
  const lookups = createTally(CACHE_RESULTS)
  const requests = createTally(TOKEN_OUTCOMES)
  const events = createTally(['replay', 'multi_audience', 'divergence'])
  const latency = spread({
    name: 'token_introspection_latency_seconds',
    help: 'Time of a request to an introspection endpoint, by outcome.',
    buckets: INTROSPECTION_SECONDS,
    labels: ['outcome'],
  })
  for (const outcome of INTROSPECTION_OUTCOMES) latency.zero({ outcome })
  const familyAge = spread({
    name: 'refresh_family_age_seconds',
    help: 'Age of a refresh token family at each redemption.',
    buckets: FAMILY_AGE_SECONDS,
  })
  let watched: TokenReadings = { replayState: () => 'memory', openCircuits: {} }
  return {
    telemetry: {
      idTokenRefused: idTokens.add,
      vouched: (kind, outcome) => {
        const asked = asks[outcome]
        if (asked.knows(kind)) asked.add(kind)
      },
      introspected: (outcome, seconds) => latency.observe({ outcome }, seconds),
      tokenRequested: (outcome) => requests.add(requests.knows(outcome) ? outcome : 'other'),
      refreshReplayDetected: () => events.add('replay'),
      refreshRedeemed: (seconds) => familyAge.observe(seconds),
      multiAudience: () => events.add('multi_audience'),
      cacheLookup: lookups.add,
      cacheDiverged: () => events.add('divergence'),
      watch(readings) {
        const openCircuits = { ...watched.openCircuits, ...readings.openCircuits }
        watched = { ...watched, ...readings, openCircuits }
      },
    },
    histograms: [latency, familyAge],
    readings: [
      counted('id_token_validation_failure_total', 'ID tokens refused, by reason.', idTokens.by('reason')),
      counted('portcullis_verify_token_total', 'Answers of VerifyToken by kind and outcome.', () =>
        (['verified', 'refused'] as const).flatMap((outcome) =>
          asks[outcome]
            .by('kind')()
            .map(({ value, labels }) => sample(value, { ...labels, outcome })),
        ),
      ),
      counted('token_cache_lookups_total', 'Lookups of earlier verdicts by result.', lookups.by('result')),
      counted('token_request_total', 'Token requests by outcome.', requests.by('outcome')),
      counted('refresh_replay_detected_total', 'Used refresh tokens presented again.', events.of('replay')),
      counted(
        'token_multi_audience_total',
        'Accepted tokens that are good for several audiences.',
        events.of('multi_audience'),
      ),
      counted(
        'token_cache_divergence_total',
        'Cached verdicts that verifying again did not confirm.',
        events.of('divergence'),
      ),
      ...stateReadings(() => watched),
    ],
  }
}

function stateReadings(watched: () => TokenReadings): readonly Reading[] {
  const state = () => {
    const now = watched().replayState()
    return REPLAY_STATES.map((one) => sample(one === now ? 1 : 0, { state: one }))
  }
  const circuits = () =>
    CIRCUITS.map((circuit) => sample(watched().openCircuits[circuit]?.() ?? 0, { circuit }))
  return [
    gauge('replay_store_state', 'Where used proofs are remembered: 1 at the state that holds.', state),
    gauge(
      'portcullis_circuits_open',
      'Circuit breakers that let nothing through, by what they guard.',
      circuits,
    ),
  ]
}

interface Tally<T extends string> {
  add(this: void, name: T): void
  knows(this: void, name: string): name is T
  of(name: T): () => readonly Sample[]
  by(label: string): () => readonly Sample[]
}

/** Numbers under a closed list of names. */
function createTally<const T extends string>(names: readonly T[]): Tally<T> {
  const counts = new Map<string, number>(names.map((name) => [name, 0]))
  return {
    add: (name) => void counts.set(name, (counts.get(name) ?? 0) + 1),
    knows: (name): name is T => counts.has(name),
    of: (name) => () => [sample(counts.get(name) ?? 0)],
    by: (label) => () => [...counts].map(([name, count]) => sample(count, { [label]: name })),
  }
}
