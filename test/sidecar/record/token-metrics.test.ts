// What the rooms about tokens count, under the names that dashboards know. Labels are from closed lists only.
import { describe, expect, test } from 'vitest'
import { deny, type Reason } from '../../../sidecar/decision.ts'
import { createMetrics } from '../../../sidecar/record/metrics.ts'
import {
  CACHE_RESULTS,
  CIRCUITS,
  createTokenMetrics,
  INTROSPECTION_OUTCOMES,
  REPLAY_STATES,
  TOKEN_OUTCOMES,
  TOKEN_REASONS,
  type TokenTelemetry,
} from '../../../sidecar/record/token-metrics.ts'
import { decided } from './decided.ts'
import { READINGS } from './readings.ts'

const lines = (text: string) => text.split('\n').filter((line) => line && !line.startsWith('#'))

/** The series that differ from a fresh start once `act` was told. */
async function told(act: (telemetry: TokenTelemetry) => void): Promise<readonly string[]> {
  const tokens = createTokenMetrics()
  const metrics = createMetrics(READINGS, tokens)
  const before = new Set(lines(await metrics.text()))
  act(tokens.telemetry)
  return lines(await metrics.text()).filter((line) => !(before.has(line) || line.startsWith('process_')))
}

test.each<readonly [string, (telemetry: TokenTelemetry) => void, readonly string[]]>([
  [
    '000-17: a replayed refresh token',
    (to) => to.refreshReplayDetected(),
    ['refresh_replay_detected_total 1'],
  ],
  [
    '000-18: a refused ID token, with its reason',
    (to) => to.idTokenRefused('kid_unknown'),
    ['id_token_validation_failure_total{reason="kid_unknown"} 1'],
  ],
  [
    '000-22: a token request',
    (to) => to.tokenRequested('invalid_grant'),
    ['token_request_total{outcome="invalid_grant"} 1'],
  ],
  [
    '000-22: a token request with a code of nobody knows whose',
    (to) => to.tokenRequested('eyJhbGciOi'),
    ['token_request_total{outcome="other"} 1'],
  ],
  [
    '000-06: a token good for several audiences',
    (to) => to.multiAudience(),
    ['token_multi_audience_total 1'],
  ],
  ['a hit of the cache', (to) => to.cacheLookup('hit'), ['token_cache_lookups_total{result="hit"} 1']],
  ['a cached verdict that was wrong', (to) => to.cacheDiverged(), ['token_cache_divergence_total 1']],
  [
    'a replay store that is lost',
    (to) => to.watch({ replayState: () => 'lost' }),
    ['replay_store_state{state="memory"} 0', 'replay_store_state{state="lost"} 1'],
  ],
  [
    'circuits that two rooms watch',
    (to) => {
      to.watch({ openCircuits: { introspection: () => 2 } })
      to.watch({ openCircuits: { exchange: () => 1 } })
    },
    ['portcullis_circuits_open{circuit="introspection"} 2', 'portcullis_circuits_open{circuit="exchange"} 1'],
  ],
])('%s moves its own series and no other', async (_, act, moved) => {
  expect(await told(act)).toEqual(moved)
})

test('000-19: 002-13: an introspection of 180 ms lies in the bucket that ends at the aim of 200 ms', async () => {
  const moved = await told((to) => to.introspected('active', 0.18))
  const at = (le: string) => `token_introspection_latency_seconds_bucket{le="${le}",outcome="active"} 1`
  expect(moved).toContain(at('0.2'))
  expect(moved).not.toContain(at('0.15'))
  expect(moved).toContain('token_introspection_latency_seconds_count{outcome="active"} 1')
})

test('002-06: the age of a family is told at each redemption', async () => {
  const moved = await told((to) => to.refreshRedeemed(3_600))
  expect(moved).toContain('refresh_family_age_seconds_bucket{le="3600"} 1')
  expect(moved).not.toContain('refresh_family_age_seconds_bucket{le="900"} 1')
})

describe('000-21: DPoP proofs', () => {
  test('a proof of a skewed clock counts under iat_skew, beside the decision itself', async () => {
    const metrics = createMetrics(READINGS)
    const before = new Set(lines(await metrics.text()))
    metrics.count({ ...(await decided()), decision: deny('dpop_iat_skew') })
    const moved = lines(await metrics.text()).filter((line) => !before.has(line))
    expect(moved).toContain('dpop_proof_failure_total{reason="iat_skew"} 1')
    expect(moved).toContain('access_token_validation_failure_total{reason="dpop_iat_skew"} 1')
  })
})

test('000-20: the share of key lookups answered from memory falls in a storm of unknown keys', async () => {
  const calm = await createMetrics(READINGS).text()
  const storm = await createMetrics({ ...READINGS, jwksMisses: () => 810 }).text()
  expect(calm).toContain('\njwks_cache_hit_ratio 0.9\n')
  expect(storm).toContain('\njwks_cache_hit_ratio 0.1\n')
})

test('every series is there from the start, with a label of its list and no other', async () => {
  const text = await createMetrics(READINGS).text()
  const labels = (name: string, label: string) => [
    ...new Set(
      [...text.matchAll(new RegExp(`^${name}\\{.*?${label}="([^"]*)"`, 'gm'))].map(([, value]) => value),
    ),
  ]
  expect(labels('id_token_validation_failure_total', 'reason')).toEqual(TOKEN_REASONS)
  expect(labels('token_cache_lookups_total', 'result')).toEqual(CACHE_RESULTS)
  expect(labels('token_request_total', 'outcome')).toEqual(TOKEN_OUTCOMES)
  expect(labels('token_introspection_latency_seconds_count', 'outcome')).toEqual(INTROSPECTION_OUTCOMES)
  expect(labels('replay_store_state', 'state')).toEqual(REPLAY_STATES)
  expect(labels('portcullis_circuits_open', 'circuit')).toEqual(CIRCUITS)
  const proofs = TOKEN_REASONS.filter((reason: Reason) => reason.startsWith('dpop_'))
  expect(labels('dpop_proof_failure_total', 'reason')).toEqual(proofs.map((reason) => reason.slice(5)))
})
