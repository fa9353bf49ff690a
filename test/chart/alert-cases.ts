// For each alert of the chart a world in which it must fire and one, just this side of its threshold, in which it must not.
// A series is written as promtool reads it: from `0` on, a number each minute.

export interface AlertCase {
  readonly fires: Series
  readonly silent: Series
  /** Of how many things it speaks when it fires; else 1. */
  readonly times?: number
  /** When to look; else after 30 minutes. */
  readonly at?: string
}
export type Series = readonly (readonly [series: string, values: string])[]

const OPERATOR = 'namespace="portcullis-system"'
const POD = 'namespace="shop",pod="web-1"'
const steady = (value: number) => `${value}x180`
/** A counter that grows by so much a minute. */
const growing = (perMinute: number) => `0+${perMinute}x180`
/** Nothing for ten minutes, then so many at once. */
const burst = (count: number) => `0x10 ${count}x170`
const lateBurst = (count: number) => `0x25 ${count}x155`
/** 100 decisions a second. */
const TRAFFIC = [
  `portcullis_decisions_total{${POD},outcome="allow",reason="allowed"}`,
  growing(6_000),
] as const
const share = (name: string, reason: string, perMinute: number): Series => [
  TRAFFIC,
  [`${name}{${POD},reason="${reason}"}`, growing(perMinute)],
]
/** A histogram of two buckets: so many a minute under the first bound, so many above it. */
const histogram = (
  name: string,
  labels: string,
  [bound, above]: readonly [string, string],
  [under, over]: readonly [number, number],
): Series => [
  [`${name}_bucket{${labels},le="${bound}"}`, growing(under)],
  [`${name}_bucket{${labels},le="${above}"}`, growing(under + over)],
  [`${name}_bucket{${labels},le="+Inf"}`, growing(under + over)],
]
const requests = (success: number, outcome: string, failed: number): Series => [
  [`token_request_total{${POD},outcome="success"}`, growing(success)],
  [`token_request_total{${POD},outcome="${outcome}"}`, growing(failed)],
]
const lookups = (name: string, hits: number, misses: number): Series => [
  [`${name}{${POD},result="hit"}`, growing(hits)],
  [`${name}{${POD},result="miss"}`, growing(misses)],
]
const one = (series: string, values: string): Series => [[series, values]]

export const ALERT_CASES: Readonly<Record<string, AlertCase>> = {
  PortcullisWebhookCertificateExpires: {
    fires: one(`portcullis_webhook_cert_not_after_seconds{${OPERATOR}}`, steady(86_400)),
    silent: one(`portcullis_webhook_cert_not_after_seconds{${OPERATOR}}`, steady(90_000)),
  },
  PortcullisSidecarMissing: {
    fires: one(`portcullis_sidecars_missing{${OPERATOR}}`, steady(1)),
    silent: one(`portcullis_sidecars_missing{${OPERATOR}}`, '0x20 1x9 0x30'),
  },
  PortcullisNacks: {
    fires: one(`portcullis_nacks{${OPERATOR}}`, steady(1)),
    silent: one(`portcullis_nacks{${OPERATOR}}`, steady(0)),
  },
  PortcullisLeaderAbsent: {
    fires: one(`leader_election_master_status{${OPERATOR},name="control"}`, steady(0)),
    silent: [
      [`leader_election_master_status{${OPERATOR},name="control",pod="a"}`, steady(0)],
      [`leader_election_master_status{${OPERATOR},name="control",pod="b"}`, steady(1)],
    ],
  },
  PortcullisNoStreams: {
    fires: [
      [`portcullis_streams{${OPERATOR}}`, steady(0)],
      [`portcullis_ready{${POD}}`, steady(1)],
    ],
    silent: one(`portcullis_streams{${OPERATOR}}`, steady(0)),
  },
  PortcullisNoHeartbeat: {
    fires: one(`portcullis_revocation_lease_seconds{${POD},tier="strict"}`, steady(0)),
    silent: one(`portcullis_revocation_lease_seconds{${POD},tier="strict"}`, steady(1)),
  },
  PortcullisKeySetStale: {
    fires: one(`portcullis_jwks_not_after_seconds{${OPERATOR},issuer="https://idp.example"}`, steady(2_000)),
    // As near its end, and written again a moment ago.
    silent: one(
      `portcullis_jwks_not_after_seconds{${OPERATOR},issuer="https://idp.example"}`,
      '1000x28 2000x32',
    ),
  },
  PortcullisRefreshTokenReplayed: {
    fires: one(`refresh_replay_detected_total{${POD}}`, lateBurst(1)),
    silent: one(`refresh_replay_detected_total{${POD}}`, steady(7)),
  },
  PortcullisIdTokenFailures: {
    fires: one(`id_token_validation_failure_total{${POD},reason="kid_unknown"}`, growing(7)),
    silent: one(`id_token_validation_failure_total{${POD},reason="kid_unknown"}`, growing(5)),
  },
  PortcullisAccessTokenFailures: {
    fires: share('access_token_validation_failure_total', 'sig_invalid', 301),
    silent: share('access_token_validation_failure_total', 'sig_invalid', 299),
  },
  PortcullisIntrospectionSlow: {
    fires: histogram('token_introspection_latency_seconds', POD, ['0.2', '0.3'], [980, 20]),
    silent: histogram('token_introspection_latency_seconds', POD, ['0.2', '0.3'], [995, 5]),
  },
  PortcullisJwksCacheMisses: {
    fires: lookups('jwks_cache_lookups_total', 89, 11),
    silent: lookups('jwks_cache_lookups_total', 91, 9),
  },
  PortcullisKeyUsedEarly: {
    // Of two pods that saw it, one alert; of two issuers, two.
    fires: [
      [`jwks_key_used_early_total{${POD},issuer="https://idp.example"}`, lateBurst(1)],
      [`jwks_key_used_early_total{namespace="shop",pod="web-2",issuer="https://idp.example"}`, lateBurst(1)],
      [`jwks_key_used_early_total{${POD},issuer="https://hub.example"}`, lateBurst(1)],
    ],
    times: 2,
    silent: one(`jwks_key_used_early_total{${POD},issuer="https://idp.example"}`, steady(1)),
  },
  PortcullisDpopProofFailures: {
    fires: share('dpop_proof_failure_total', 'htu', 301),
    silent: share('dpop_proof_failure_total', 'nonce_required', 3_000),
  },
  PortcullisDpopClockSkew: {
    fires: share('dpop_proof_failure_total', 'iat_skew', 121),
    silent: share('dpop_proof_failure_total', 'iat_skew', 119),
  },
  PortcullisDpopReplays: {
    fires: one(`dpop_proof_failure_total{${POD},reason="replay"}`, lateBurst(6)),
    silent: one(`dpop_proof_failure_total{${POD},reason="replay"}`, burst(60)),
  },
  PortcullisTokenRequestsRefused: {
    fires: requests(89, 'invalid_grant', 11),
    silent: requests(91, 'invalid_grant', 9),
  },
  PortcullisTokenRequestsUnanswered: {
    fires: requests(100, 'unavailable', 1),
    silent: requests(100, 'invalid_scope', 100),
  },
  PortcullisRefreshFamiliesOld: {
    fires: histogram('refresh_family_age_seconds', POD, ['2592000', '7776000'], [90, 10]),
    silent: histogram('refresh_family_age_seconds', POD, ['2592000', '7776000'], [1_000, 1]),
    at: '2h',
  },
  PortcullisMultiAudienceTokens: {
    fires: one(`token_multi_audience_total{${POD}}`, lateBurst(1)),
    silent: one(`token_multi_audience_total{${POD}}`, steady(0)),
  },
  PortcullisTokenCacheMisses: {
    fires: lookups('token_cache_lookups_total', 1_490, 1_520),
    // As bad a share, of lookups too few to matter.
    silent: lookups('token_cache_lookups_total', 1_400, 1_590),
  },
  PortcullisTokenCacheDiverged: {
    fires: one(`token_cache_divergence_total{${POD}}`, lateBurst(1)),
    silent: one(`token_cache_divergence_total{${POD}}`, steady(0)),
  },
  PortcullisRevocationSlow: {
    fires: histogram('revocation_propagation_seconds', OPERATOR, ['1', '2'], [98, 2]),
    silent: histogram('revocation_propagation_seconds', OPERATOR, ['1', '2'], [995, 5]),
  },
  PortcullisLogoutsTurnedAway: {
    fires: one(`portcullis_logout_total{${OPERATOR},status="503",why="full"}`, lateBurst(1)),
    // What is forged is told 400, however much of it comes.
    silent: [
      [`portcullis_logout_total{${OPERATOR},status="400",why="signature_invalid"}`, growing(600)],
      [`portcullis_logout_total{${OPERATOR},status="503",why="full"}`, steady(7)],
    ],
  },
  PortcullisReplayStoreLost: {
    fires: one(`replay_store_state{${POD},state="lost"}`, steady(1)),
    silent: [
      [`replay_store_state{${POD},state="lost"}`, steady(0)],
      [`replay_store_state{${POD},state="shared"}`, steady(1)],
    ],
  },
  PortcullisCircuitOpen: {
    fires: [
      [`portcullis_circuits_open{${POD},circuit="introspection"}`, steady(1)],
      [`portcullis_circuits_open{${POD},circuit="redis"}`, steady(1)],
    ],
    times: 2,
    silent: one(`portcullis_circuits_open{${POD},circuit="introspection"}`, steady(0)),
  },
}

/** Numbers that the chart keeps: in this world, this value after 30 minutes. */
export const RECORDED: Readonly<Record<string, readonly [world: Series, value: number]>> = {
  token_introspection_latency_p99: [
    histogram('token_introspection_latency_seconds', POD, ['0.2', '0.3'], [98, 2]),
    0.25,
  ],
  'portcullis:jwks_cache_hit_ratio:rate5m': [lookups('jwks_cache_lookups_total', 75, 25), 0.75],
  'portcullis:token_cache_hit_ratio:rate5m': [lookups('token_cache_lookups_total', 75, 25), 0.75],
  'portcullis:refresh_family_age_seconds:p99': [
    histogram('refresh_family_age_seconds', POD, ['1000', '2000'], [98, 2]),
    1_500,
  ],
  'portcullis:revocation_propagation_seconds:p99': [
    histogram('revocation_propagation_seconds', OPERATOR, ['1', '2'], [98, 2]),
    1.5,
  ],
}
