// Metrics under the names that operators look for, with labels from closed lists only.
import { expect, test } from 'vitest'
import { deny, MEANING, type Reason } from '../../../sidecar/decision.ts'
import { createMetrics } from '../../../sidecar/record/metrics.ts'
import { decided } from './decided.ts'
import { READINGS } from './readings.ts'

const REASONS = Object.keys(MEANING) as Reason[]

/** Value of each series of a name, by its labels as written. */
async function series(
  metrics: ReturnType<typeof createMetrics>,
  name: string,
): Promise<ReadonlyMap<string, number>> {
  const lines = (await metrics.text()).split('\n')
  const found = lines.flatMap((line) => {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
    return match && match[1] === name ? [[match[2] ?? '', Number(match[3])] as const] : []
  })
  return new Map(found)
}

test.each([
  ['jwks_cache_hit_ratio', '', 0.9],
  ['jwks_cache_lookups_total', 'result="hit"', 90],
  ['jwks_cache_lookups_total', 'result="miss"', 10],
  ['jwks_refresh_total', 'result="ok"', 3],
  ['jwks_refresh_total', 'result="failed"', 4],
  ['jwks_key_used_early_total', 'issuer="https://idp.test.example"', 2],
  ['jwks_age_seconds', 'issuer="https://idp.test.example"', 5.5],
  ['portcullis_bundle_activations_total', 'result="ok"', 6],
  ['portcullis_bundle_activations_total', 'result="refused"', 7],
  ['portcullis_policy_memory_bytes', '', 8_000],
  ['portcullis_policy_instance_discards_total', '', 9],
  ['portcullis_event_loop_lag_seconds', '', 0.01],
  ['portcullis_checks_in_flight', '', 11],
  ['portcullis_log_lines_dropped_total', '', 12],
  ['portcullis_ready', '', 1],
  ['portcullis_trust_generation', '', 13],
  ['portcullis_policy_info', 'revision="rev-14"', 1],
  ['portcullis_revocation_head', '', 15],
  ['portcullis_revocation_entries', '', 16],
  ['portcullis_revocation_lease_seconds', 'tier="standard"', 17.5],
  ['portcullis_revocation_lease_seconds', 'tier="strict"', 1.8],
  ['portcullis_revocation_lease_seconds', 'tier="read_degraded"', 190],
  ['portcullis_feed_connected', '', 1],
  ['portcullis_feed_streams_total', '', 20],
  ['portcullis_feed_nacks_total', '', 21],
  ['portcullis_trust_bundle_sequence', '', 22],
  ['portcullis_svid_seconds_to_expiry', 'kind="control"', 2300],
  ['portcullis_svid_seconds_to_expiry', 'kind="workload"', 2400],
  ['portcullis_workload_api_streams', '', 25],
  ['access_token_validation_failure_total', 'reason="expired"', 0],
  ['portcullis_decisions_total', 'outcome="allow",reason="allowed"', 0],
])('%s{%s} is %d', async (name, labels, value) => {
  expect((await series(createMetrics(READINGS), name)).get(labels)).toBe(value)
})

test('standalone nothing is pushed, and no number claims otherwise', async () => {
  const metrics = createMetrics({ ...READINGS, pushed: () => undefined })
  for (const name of [
    'portcullis_revocation_head',
    'portcullis_revocation_entries',
    'portcullis_revocation_lease_seconds',
    'portcullis_feed_connected',
    'portcullis_feed_nacks_total',
    'portcullis_svid_seconds_to_expiry',
    'portcullis_workload_api_streams',
  ])
    expect([...(await series(metrics, name))]).toEqual([])
})

test('each decision adds one to its own series, and to no other', async () => {
  const metrics = createMetrics(READINGS)
  metrics.count(await decided())
  metrics.count(await decided())
  metrics.count(await decided({ claims: { aud: 'x' } }))
  metrics.count(await decided({}, { stored: { tenant: 'globex' } }))
  const nonzero = [...(await series(metrics, 'portcullis_decisions_total'))].filter(([, value]) => value > 0)
  expect(new Map(nonzero)).toEqual(
    new Map([
      ['outcome="allow",reason="allowed"', 2],
      ['outcome="deny",reason="aud_mismatch"', 1],
      ['outcome="deny",reason="tenant_mismatch"', 1],
    ]),
  )
  const tokens = [...(await series(metrics, 'access_token_validation_failure_total'))].filter(
    ([, value]) => value > 0,
  )
  expect(tokens).toEqual([['reason="aud_mismatch"', 1]])
  expect((await series(metrics, 'portcullis_check_duration_seconds_count')).get('')).toBe(4)
})

test('every reason has its series from the start, and there are no others', async () => {
  const metrics = createMetrics(READINGS)
  const labels = [...(await series(metrics, 'portcullis_decisions_total')).keys()]
  expect(labels).toEqual([
    'outcome="allow",reason="allowed"',
    ...REASONS.map((reason) => `outcome="deny",reason="${reason}"`),
  ])
})

test('a reason that the policy or the machine gave is no failure of a token', async () => {
  const metrics = createMetrics(READINGS)
  const labels = [...(await series(metrics, 'access_token_validation_failure_total')).keys()].join()
  for (const reason of [
    'policy_denied',
    'tenant_mismatch',
    'not_ready',
    'overloaded',
    'internal',
    'request_invalid',
  ]) {
    expect(labels).not.toContain(`"${reason}"`)
  }
  for (const reason of ['sig_invalid', 'kid_unknown', 'aud_mismatch', 'expired', 'cnf_required']) {
    expect(labels).toContain(`"${reason}"`)
  }
})

test('a thousand different callers make no new series', async () => {
  const metrics = createMetrics(READINGS)
  const before = (await metrics.text()).split('\n').length
  const one = await decided()
  for (let i = 0; i < 1_000; i++) {
    metrics.count({
      ...one,
      decision: i % 2 ? deny('expired') : one.decision,
      decisionId: `id-${i}`,
      policyRevision: `rev-${i}`,
    })
  }
  expect((await metrics.text()).split('\n')).toHaveLength(before)
})

test('a policy that is replaced leaves no series behind', async () => {
  let revision = 'rev-1'
  const metrics = createMetrics({ ...READINGS, policyRevision: () => revision })
  await metrics.text()
  revision = 'rev-2'
  expect([...(await series(metrics, 'portcullis_policy_info')).keys()]).toEqual(['revision="rev-2"'])
})

test('the text is Prometheus’ format: every series has help and type', async () => {
  const metrics = createMetrics(READINGS)
  expect(metrics.contentType).toMatch(/^text\/plain; version=0\.0\.4/)
  const lines = (await metrics.text()).split('\n')
  const named = (kind: string) =>
    lines.filter((line) => line.startsWith(`# ${kind} `)).map((line) => line.split(' ')[2])
  expect(named('HELP')).toEqual(named('TYPE'))
  expect(new Set(named('TYPE')).size).toBe(named('TYPE').length)
})

test('two sets of metrics share nothing', async () => {
  const [one, other] = [createMetrics(READINGS), createMetrics(READINGS)]
  one.count(await decided())
  expect((await series(other, 'portcullis_decisions_total')).get('outcome="allow",reason="allowed"')).toBe(0)
})
