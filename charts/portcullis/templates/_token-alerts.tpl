{{- /* About tokens: numbers worth keeping, and what is worth waking somebody for. The names of 000-17 to 000-22 in the requirements. */}}
{{- define "portcullis.alerts.tokens" -}}
{{- $runbooks := . -}}
- name: portcullis-token-numbers
  rules:
    - record: token_introspection_latency_p99
      expr: >-
        histogram_quantile(0.99, sum by (namespace, le) (rate(token_introspection_latency_seconds_bucket[5m])))
    - record: portcullis:jwks_cache_hit_ratio:rate5m
      expr: >-
        sum by (namespace) (rate(jwks_cache_lookups_total{result="hit"}[5m])) / sum by (namespace) (rate(jwks_cache_lookups_total[5m]))
    - record: portcullis:token_cache_hit_ratio:rate5m
      expr: >-
        sum by (namespace) (rate(token_cache_lookups_total{result=~"hit|negative_hit"}[5m])) / sum by (namespace) (rate(token_cache_lookups_total[5m]))
    - record: portcullis:refresh_family_age_seconds:p99
      expr: >-
        histogram_quantile(0.99, sum by (namespace, le) (rate(refresh_family_age_seconds_bucket[1h])))
    - record: portcullis:revocation_propagation_seconds:p99
      expr: >-
        histogram_quantile(0.99, sum by (namespace, le) (increase(revocation_propagation_seconds_bucket[30m])))
- name: portcullis-tokens
  rules:
    - alert: PortcullisRefreshTokenReplayed
      expr: >-
        sum by (namespace) (increase(refresh_replay_detected_total[10m])) > 0
      labels: { severity: critical }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisRefreshTokenReplayed.md
        summary: >-
          A refresh token that was used before came again in {{ "{{ $labels.namespace }}" }}.
        description: >-
          Two parties had it, and one of them had no right to it. Its family and its access tokens are revoked already; find out who was the other one.
    - alert: PortcullisIdTokenFailures
      expr: >-
        sum by (namespace, reason) (rate(id_token_validation_failure_total[5m])) > 0.1
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisIdTokenFailures.md
        summary: >-
          ID tokens are refused in {{ "{{ $labels.namespace }}" }}: {{ "{{ $labels.reason }}" }}, {{ "{{ $value | humanize }}" }} a second.
        description: >-
          sig_invalid or kid_unknown: the provider has changed its keys. aud_mismatch, nonce_mismatch: a client is set up wrongly, or tokens are being replayed into other sessions.
    - alert: PortcullisAccessTokenFailures
      expr: >-
        sum by (namespace, reason) (rate(access_token_validation_failure_total{reason=~"sig_invalid|kid_unknown|kid_missing|alg_not_allowed|iss_unknown|aud_mismatch|typ_mismatch"}[5m])) > on (namespace) group_left () 0.05 * sum by (namespace) (rate(portcullis_decisions_total[5m]))
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisAccessTokenFailures.md
        summary: >-
          More than one in twenty questions in {{ "{{ $labels.namespace }}" }} brings a token that is refused: {{ "{{ $labels.reason }}" }}.
        description: >-
          sig_invalid or kid_unknown: the provider has changed its keys, or somebody forges. aud_mismatch: tokens of another API are being replayed here.
    - alert: PortcullisIntrospectionSlow
      expr: >-
        token_introspection_latency_p99 > 0.2
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisIntrospectionSlow.md
        summary: >-
          Introspection in {{ "{{ $labels.namespace }}" }} takes {{ "{{ $value | humanizeDuration }}" }} at the 99th percentile.
        description: >-
          The provider is overloaded. Routes with introspection wait for it, and are denied when it takes longer than their limit.
    - alert: PortcullisJwksCacheMisses
      expr: >-
        portcullis:jwks_cache_hit_ratio:rate5m < 0.9
      for: 10m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisJwksCacheMisses.md
        summary: >-
          Only {{ "{{ $value | humanizePercentage }}" }} of key lookups in {{ "{{ $labels.namespace }}" }} find their key.
        description: >-
          A rotation that did not arrive here, key sets kept too short, or a flood of invented key names.
    - alert: PortcullisKeyUsedEarly
      expr: >-
        sum by (namespace, issuer) (increase(jwks_key_used_early_total[1h])) > 0
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisKeyUsedEarly.md
        summary: >-
          In {{ "{{ $labels.namespace }}" }} a key of {{ "{{ $labels.issuer }}" }} signed tokens less than five minutes after it was first seen.
        description: >-
          The provider signs with keys that it has not published long before, so that whoever fetches them now and then denies its tokens for a while; or somebody has put a key of their own into its key set.
    - alert: PortcullisDpopProofFailures
      expr: >-
        sum by (namespace, reason) (rate(dpop_proof_failure_total{reason!~"nonce_required|iat_skew|replay"}[5m])) > on (namespace) group_left () 0.05 * sum by (namespace) (rate(portcullis_decisions_total[5m]))
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisDpopProofFailures.md
        summary: >-
          More than one in twenty questions in {{ "{{ $labels.namespace }}" }} brings a DPoP proof that is refused: {{ "{{ $labels.reason }}" }}.
        description: >-
          htu: the external address of the AccessPolicy is not the one that clients call. jkt or ath: tokens are presented by who was not given them.
    - alert: PortcullisDpopClockSkew
      expr: >-
        sum by (namespace) (rate(dpop_proof_failure_total{reason="iat_skew"}[5m])) > on (namespace) 0.02 * sum by (namespace) (rate(portcullis_decisions_total[5m]))
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisDpopClockSkew.md
        summary: >-
          Clients of {{ "{{ $labels.namespace }}" }} make DPoP proofs with clocks that are wrong.
        description: >-
          Phones drift, nodes do as well. With server nonces the clock of the client does not matter; a node without time synchronisation refuses everybody.
    - alert: PortcullisDpopReplays
      expr: >-
        sum by (namespace) (increase(dpop_proof_failure_total{reason="replay"}[10m])) > 5
      labels: { severity: critical }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisDpopReplays.md
        summary: >-
          {{ "{{ $value | humanize }}" }} DPoP proofs were presented twice in {{ "{{ $labels.namespace }}" }}.
        description: >-
          A client that repeats requests without a new proof, or somebody who records requests and plays them again. Neither was served.
    - alert: PortcullisTokenRequestsRefused
      expr: >-
        sum by (namespace) (rate(token_request_total{outcome="invalid_grant"}[5m])) > on (namespace) 0.1 * sum by (namespace) (rate(token_request_total[5m]))
      for: 10m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisTokenRequestsRefused.md
        summary: >-
          More than one in ten token requests of {{ "{{ $labels.namespace }}" }} ends with invalid_grant.
        description: >-
          Refresh families that were lost or revoked, a client that keeps old refresh tokens, or somebody who tries stolen ones.
    - alert: PortcullisTokenRequestsUnanswered
      expr: >-
        sum by (namespace) (increase(token_request_total{outcome="unavailable"}[5m])) > 0
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisTokenRequestsUnanswered.md
        summary: >-
          Token requests of {{ "{{ $labels.namespace }}" }} get no answer.
        description: >-
          Redis or the token endpoint of the provider is not reached; who needs a token gets none.
    - alert: PortcullisRefreshFamiliesOld
      expr: >-
        portcullis:refresh_family_age_seconds:p99 > 60 * 86400
      for: 1h
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisRefreshFamiliesOld.md
        summary: >-
          Refresh token families in {{ "{{ $labels.namespace }}" }} live for {{ "{{ $value | humanizeDuration }}" }} before anybody logs in again.
        description: >-
          A stolen refresh token that its owner does not use is good for as long. Register families with an end.
    - alert: PortcullisMultiAudienceTokens
      expr: >-
        sum by (namespace) (increase(token_multi_audience_total[1h])) > 0
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisMultiAudienceTokens.md
        summary: >-
          Tokens that are good for several APIs are in use in {{ "{{ $labels.namespace }}" }}.
        description: >-
          Each of those APIs can use them at the others. Have clients ask for one resource a token (RFC 8707), then set the audience to exclusive.
    - alert: PortcullisTokenCacheMisses
      expr: >-
        portcullis:token_cache_hit_ratio:rate5m < 0.5 and on (namespace) sum by (namespace) (rate(token_cache_lookups_total[5m])) > 50
      for: 15m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisTokenCacheMisses.md
        summary: >-
          Fewer than half of the tokens in {{ "{{ $labels.namespace }}" }} were seen before, so each costs a signature.
        description: >-
          Clients that fetch a token for each request, a cache too small for that many sessions, or trust that changes all the time.
    - alert: PortcullisTokenCacheDiverged
      expr: >-
        sum by (namespace, pod) (increase(token_cache_divergence_total[1h])) > 0
      labels: { severity: critical }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisTokenCacheDiverged.md
        summary: >-
          In {{ "{{ $labels.namespace }}" }}/{{ "{{ $labels.pod }}" }} verifying again said something else than the cache.
        description: >-
          The cache of that sidecar has turned itself off. It is a defect of ours: keep the log before the pod goes.
    - alert: PortcullisRevocationSlow
      expr: >-
        portcullis:revocation_propagation_seconds:p99 > 1
      for: 5m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisRevocationSlow.md
        summary: >-
          Revocations take {{ "{{ $value | humanizeDuration }}" }} to be in force everywhere, at the 99th percentile.
        description: >-
          The aim is a second. The lease bounds it whatever happens: after it sidecars that have not heard deny.
    - alert: PortcullisLogoutsTurnedAway
      expr: >-
        sum by (namespace, why) (increase(portcullis_logout_total{status="503"}[15m])) > 0
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisLogoutsTurnedAway.md
        summary: >-
          Logout tokens were answered 503 in the last quarter of an hour: {{ "{{ $labels.why }}" }}.
        description: >-
          Most providers do not send them again: sessions that ended there go on here until their tokens end.
    - alert: PortcullisReplayStoreLost
      expr: >-
        max by (namespace) (replay_store_state{state="lost"}) > 0
      for: 2m
      labels: { severity: critical }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisReplayStoreLost.md
        summary: >-
          Sidecars of {{ "{{ $labels.namespace }}" }} have lost the shared memory of used DPoP proofs.
        description: >-
          They take only proofs with a nonce of their own, which is as safe; routes that demand the shared memory answer 503.
    - alert: PortcullisCircuitOpen
      expr: >-
        sum by (namespace, circuit) (portcullis_circuits_open) > 0
      for: 1m
      labels: { severity: warning }
      annotations:
        runbook_url: {{ $runbooks }}/PortcullisCircuitOpen.md
        summary: >-
          Sidecars of {{ "{{ $labels.namespace }}" }} have stopped asking: {{ "{{ $labels.circuit }}" }}.
        description: >-
          It failed many times in a row, so for some seconds nobody waits for it and who needs it is denied with 503. Each breaker tries again by itself.
{{- end }}
