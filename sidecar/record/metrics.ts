import { Registry } from 'prom-client'
import { type Decided, denied, MEANING, type Reason } from '../decision.ts'
import { counted, expose, gauge, measured, type Reading, type Sample, sample, spread } from './reading.ts'
import { createTokenMetrics, TOKEN_REASONS, type TokenMetrics } from './token-metrics.ts'

/** Plain numbers read when somebody scrapes, so that counting costs a decision an addition and nothing more. */
export interface Readings {
  readonly jwksHits: () => number
  readonly jwksMisses: () => number
  readonly keysUsedEarly: () => readonly (readonly [issuer: string, keys: number])[]
  readonly jwksRefreshes: () => Readonly<Record<'ok' | 'failed', number>>
  readonly jwksAgeSeconds: () => readonly (readonly [issuer: string, seconds: number])[]
  readonly bundleActivations: () => Readonly<Record<'ok' | 'refused', number>>
  readonly engineMemoryBytes: () => number
  readonly engineDiscards: () => number
  readonly eventLoopLagSeconds: () => number
  readonly inFlight: () => number
  readonly logDropped: () => number
  readonly ready: () => boolean
  readonly trustGeneration: () => number
  readonly policyRevision: () => string
  /** What an operator pushes; `undefined` standalone. */
  readonly pushed: () => PushedReadings | undefined
}

export interface PushedReadings {
  readonly revocationHead: number
  readonly revocationEntries: number
  /** What is left of the lease, by tier; empty before the first snapshot. */
  readonly leaseSeconds: Readonly<Partial<Record<'standard' | 'strict' | 'read_degraded', number>>>
  readonly connected: boolean
  readonly streams: number
  readonly nacks: number
  readonly trustSequence: number
  /** Until the identity ends; 0 when there is none. */
  readonly svidSeconds: Readonly<Record<'control' | 'workload', number>>
  /** Open streams of the SPIFFE Workload API. */
  readonly workloadStreams: number
}

export interface Metrics {
  count(decided: Decided): void
  /** Prometheus text format 0.0.4. */
  text(): Promise<string>
  readonly contentType: string
}

// Seconds. A check takes tens of microseconds; what waits for keys takes longer.
const BUCKETS = [0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1]
const REASONS = Object.keys(MEANING) as Reason[]
const PROOF = 'dpop_'
const PROOF_REASONS = REASONS.filter((reason) => reason.startsWith(PROOF))

/** Metrics under the names operators look for; every label is from a closed list. */
export function createMetrics(readings: Readings, tokens: TokenMetrics = createTokenMetrics()): Metrics {
  const registry = new Registry()
  const denials = new Map<Reason, number>(REASONS.map((reason) => [reason, 0]))
  let allowed = 0
  const duration = spread({
    name: 'portcullis_check_duration_seconds',
    help: 'Time from a decoded question to its answer.',
    buckets: BUCKETS,
  })
  for (const one of [duration, ...tokens.histograms]) registry.registerMetric(one)
  const decisions = () => [
    sample(allowed, { outcome: 'allow', reason: 'allowed' }),
    ...[...denials].map(([reason, count]) => sample(count, { outcome: 'deny', reason })),
  ]
  const failures = () => TOKEN_REASONS.map((reason) => sample(denials.get(reason) ?? 0, { reason }))
  const proofs = () =>
    PROOF_REASONS.map((reason) => sample(denials.get(reason) ?? 0, { reason: reason.slice(PROOF.length) }))
  for (const reading of [
    counted('portcullis_decisions_total', 'Decisions by outcome and reason.', decisions),
    counted('access_token_validation_failure_total', 'Tokens refused, by reason.', failures),
    counted('dpop_proof_failure_total', 'DPoP proofs refused, by reason without its prefix.', proofs),
    ...tokens.readings,
    ...trustReadings(readings),
    ...pushedReadings(readings.pushed),
    ...processReadings(readings),
  ]) {
    expose(registry, reading)
  }
  return {
    contentType: registry.contentType,
    count({ decision, elapsedMs }) {
      if (denied(decision)) denials.set(decision.reason, (denials.get(decision.reason) ?? 0) + 1)
      else allowed++
      duration.observe(elapsedMs / 1000)
    },
    text: () => registry.metrics(),
  }
}

function trustReadings(readings: Readings): readonly Reading[] {
  const byResult = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).map(([result, count]) => sample(count, { result }))
  const results = () => byResult({ hit: readings.jwksHits(), miss: readings.jwksMisses() })
  // Nothing asked, nothing missed: a fresh start must not look like a storm.
  const hitRatio = () => {
    const lookups = readings.jwksHits() + readings.jwksMisses()
    return lookups === 0 ? 1 : readings.jwksHits() / lookups
  }
  const early = () => readings.keysUsedEarly().map(([issuer, keys]) => sample(keys, { issuer }))
  const ages = () => readings.jwksAgeSeconds().map(([issuer, seconds]) => sample(seconds, { issuer }))
  return [
    counted('jwks_cache_lookups_total', 'Key lookups by result.', results),
    measured('jwks_cache_hit_ratio', 'Share of key lookups answered from memory since start.', hitRatio),
    counted('jwks_refresh_total', 'Fetches of key sets by result.', () => byResult(readings.jwksRefreshes())),
    counted(
      'jwks_key_used_early_total',
      'Keys under which a token came less than five minutes after they were first seen.',
      early,
    ),
    gauge('jwks_age_seconds', 'Time since the last good fetch of a key set.', ages),
    counted('portcullis_bundle_activations_total', 'Policy bundles offered, by result.', () =>
      byResult(readings.bundleActivations()),
    ),
    measured(
      'portcullis_trust_generation',
      'Generation of trust in use; 0 before the first.',
      readings.trustGeneration,
    ),
    measured('portcullis_ready', '1 when a check could be allowed.', () => (readings.ready() ? 1 : 0)),
    gauge('portcullis_policy_info', 'Revision of the application policy in use.', () => [
      sample(1, { revision: readings.policyRevision() }),
    ]),
  ]
}

// Standalone these have no series: nobody pushes, and a 0 would be a lie.
function pushedReadings(pushed: Readings['pushed']): readonly Reading[] {
  const when = (read: (now: PushedReadings) => readonly Sample[]) => () => {
    const now = pushed()
    return now ? read(now) : []
  }
  const leases = ({ leaseSeconds }: PushedReadings) =>
    Object.entries(leaseSeconds).map(([tier, seconds]) => sample(seconds, { tier }))
  const told = (name: string, help: string, read: (now: PushedReadings) => readonly Sample[]) =>
    gauge(name, help, when(read))
  return [
    told('portcullis_revocation_head', 'Position in the revocation log up to which all is known.', (now) => [
      sample(now.revocationHead),
    ]),
    told('portcullis_revocation_entries', 'Revocations in force here.', (now) => [
      sample(now.revocationEntries),
    ]),
    told(
      'portcullis_revocation_lease_seconds',
      'What is left of the revocation lease; at 0 actions of the tier are denied.',
      leases,
    ),
    told('portcullis_feed_connected', '1 when the operator is heard on an open stream.', (now) => [
      sample(now.connected ? 1 : 0),
    ]),
    ...identityReadings(told),
    counted(
      'portcullis_feed_streams_total',
      'Streams opened to the operator.',
      when((now) => [sample(now.streams)]),
    ),
    counted(
      'portcullis_feed_nacks_total',
      'Messages of the operator that were refused.',
      when((now) => [sample(now.nacks)]),
    ),
  ]
}

function identityReadings(
  told: (name: string, help: string, read: (now: PushedReadings) => readonly Sample[]) => Reading,
): readonly Reading[] {
  const svids = ({ svidSeconds }: PushedReadings) =>
    Object.entries(svidSeconds).map(([kind, seconds]) => sample(seconds, { kind }))
  return [
    told('portcullis_trust_bundle_sequence', 'Sequence of the trust bundle in use.', (now) => [
      sample(now.trustSequence),
    ]),
    told(
      'portcullis_svid_seconds_to_expiry',
      'Until the identity of the sidecar or of its workload ends; 0: there is none.',
      svids,
    ),
    told('portcullis_workload_api_streams', 'Open streams of the SPIFFE Workload API.', (now) => [
      sample(now.workloadStreams),
    ]),
  ]
}

function processReadings(readings: Readings): readonly Reading[] {
  const rss = () => process.memoryUsage.rss()
  const discards = () => [sample(readings.engineDiscards())]
  const dropped = () => [sample(readings.logDropped())]
  return [
    measured(
      'portcullis_policy_memory_bytes',
      'WebAssembly memory of the policy modules.',
      readings.engineMemoryBytes,
    ),
    counted('portcullis_policy_instance_discards_total', 'Instances thrown away after a trap.', discards),
    measured(
      'portcullis_event_loop_lag_seconds',
      'Smoothed delay of the event loop.',
      readings.eventLoopLagSeconds,
    ),
    measured('portcullis_checks_in_flight', 'Questions not answered yet.', readings.inFlight),
    counted('portcullis_log_lines_dropped_total', 'Log lines dropped because nobody read them.', dropped),
    measured('process_resident_memory_bytes', 'Resident memory.', rss),
  ]
}
