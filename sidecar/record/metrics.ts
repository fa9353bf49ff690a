import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { type Decided, denied, MEANING, type Reason } from '../decision.ts'

/** Plain numbers read when somebody scrapes, so that counting costs a decision an addition and nothing more. */
export interface Readings {
  readonly jwksHits: () => number
  readonly jwksMisses: () => number
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
/** Denials that say something about the token itself (labels of `access_token_validation_failure_total`). */
const TOKEN_REASONS = REASONS.slice(0, REASONS.indexOf('insufficient_scope'))

/** Metrics under the names operators look for; every label is from a closed list. */
export function createMetrics(readings: Readings): Metrics {
  const registry = new Registry()
  const denials = new Map<Reason, number>(REASONS.map((reason) => [reason, 0]))
  let allowed = 0
  const duration = new Histogram({
    name: 'portcullis_check_duration_seconds',
    help: 'Time from a decoded question to its answer.',
    buckets: BUCKETS,
    registers: [registry],
  })
  const decisions = () => [
    sample(allowed, { outcome: 'allow', reason: 'allowed' }),
    ...[...denials].map(([reason, count]) => sample(count, { outcome: 'deny', reason })),
  ]
  const failures = () => TOKEN_REASONS.map((reason) => sample(denials.get(reason) ?? 0, { reason }))
  for (const reading of [
    counted('portcullis_decisions_total', 'Decisions by outcome and reason.', decisions),
    counted('access_token_validation_failure_total', 'Tokens refused, by reason.', failures),
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
  const ages = () => readings.jwksAgeSeconds().map(([issuer, seconds]) => sample(seconds, { issuer }))
  return [
    counted('jwks_cache_lookups_total', 'Key lookups by result.', results),
    measured('jwks_cache_hit_ratio', 'Share of key lookups answered from memory since start.', hitRatio),
    counted('jwks_refresh_total', 'Fetches of key sets by result.', () => byResult(readings.jwksRefreshes())),
    {
      kind: 'gauge',
      name: 'jwks_age_seconds',
      help: 'Time since the last good fetch of a key set.',
      read: ages,
    },
    counted('portcullis_bundle_activations_total', 'Policy bundles offered, by result.', () =>
      byResult(readings.bundleActivations()),
    ),
    measured(
      'portcullis_trust_generation',
      'Generation of trust in use; 0 before the first.',
      readings.trustGeneration,
    ),
    measured('portcullis_ready', '1 when a check could be allowed.', () => (readings.ready() ? 1 : 0)),
    {
      kind: 'gauge',
      name: 'portcullis_policy_info',
      help: 'Revision of the application policy in use.',
      read: () => [sample(1, { revision: readings.policyRevision() })],
    },
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
  const gauge = (name: string, help: string, read: (now: PushedReadings) => readonly Sample[]): Reading => ({
    kind: 'gauge',
    name,
    help,
    read: when(read),
  })
  return [
    gauge('portcullis_revocation_head', 'Position in the revocation log up to which all is known.', (now) => [
      sample(now.revocationHead),
    ]),
    gauge('portcullis_revocation_entries', 'Revocations in force here.', (now) => [
      sample(now.revocationEntries),
    ]),
    gauge(
      'portcullis_revocation_lease_seconds',
      'What is left of the revocation lease; at 0 actions of the tier are denied.',
      leases,
    ),
    gauge('portcullis_feed_connected', '1 when the operator is heard on an open stream.', (now) => [
      sample(now.connected ? 1 : 0),
    ]),
    ...identityReadings(gauge),
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
  gauge: (name: string, help: string, read: (now: PushedReadings) => readonly Sample[]) => Reading,
): readonly Reading[] {
  const svids = ({ svidSeconds }: PushedReadings) =>
    Object.entries(svidSeconds).map(([kind, seconds]) => sample(seconds, { kind }))
  return [
    gauge('portcullis_trust_bundle_sequence', 'Sequence of the trust bundle in use.', (now) => [
      sample(now.trustSequence),
    ]),
    gauge(
      'portcullis_svid_seconds_to_expiry',
      'Until the identity of the sidecar or of its workload ends; 0: there is none.',
      svids,
    ),
    gauge('portcullis_workload_api_streams', 'Open streams of the SPIFFE Workload API.', (now) => [
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

interface Sample {
  readonly value: number
  readonly labels: Readonly<Record<string, string>>
}
/** A metric whose numbers are kept elsewhere and read at each scrape. */
interface Reading {
  readonly kind: 'counter' | 'gauge'
  readonly name: string
  readonly help: string
  readonly read: () => readonly Sample[]
}

function sample(value: number, labels: Sample['labels'] = {}): Sample {
  return { value, labels }
}

function counted(name: string, help: string, read: () => readonly Sample[]): Reading {
  return { kind: 'counter', name, help, read }
}

function measured(name: string, help: string, read: () => number): Reading {
  return { kind: 'gauge', name, help, read: () => [sample(read())] }
}

function expose(registry: Registry, { kind, name, help, read }: Reading): void {
  const labelNames = ['outcome', 'reason', 'result', 'issuer', 'revision', 'tier', 'kind']
  const Metric = kind === 'counter' ? Counter : Gauge
  new Metric({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset()
      for (const { value, labels } of read()) this.inc(labels, value)
    },
  })
}
