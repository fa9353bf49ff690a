{{- /* Each says what is the matter and what to do; promtool tests them. */}}
{{- define "portcullis.alerts" -}}
{{- $ns := .Release.Namespace -}}
{{- $runbooks := .Values.metrics.prometheusRule.runbooks | default "docs/runbook" -}}
groups:
  - name: portcullis
    rules:
      - alert: PortcullisWebhookCertificateExpires
        expr: >-
          min(portcullis_webhook_cert_not_after_seconds{namespace="{{ $ns }}"}) - time() < 86400
        for: 10m
        labels: { severity: critical }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisWebhookCertificateExpires.md
          summary: >-
            The certificate of the admission webhook ends in less than a day.
          description: >-
            Control renews it days before its end, and has not. Then no labelled pod can be created. See the log of the leader (kubectl -n {{ $ns }} logs deploy/portcullis-control) and the Secret portcullis-webhook-tls.
      - alert: PortcullisSidecarMissing
        expr: >-
          max(portcullis_sidecars_missing{namespace="{{ $ns }}"}) > 0
        for: 10m
        labels: { severity: warning }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisSidecarMissing.md
          summary: >-
            {{ "{{ $value }}" }} running pods should have a sidecar and have none.
          description: >-
            They were there before their label, or went round admission. kubectl get sidecarprofile default -o yaml names some of them (status.missingSample); recreate those.
      - alert: PortcullisNacks
        expr: >-
          sum(portcullis_nacks{namespace="{{ $ns }}"}) > 0
        for: 2m
        labels: { severity: critical }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisNacks.md
          summary: >-
            {{ "{{ $value }}" }} sidecars refuse what the operator sends and go on with what they had.
          description: >-
            kubectl get accesspolicies -A shows Programmed below N of N; the condition Programmed names the pods and their reason.
      - alert: PortcullisLeaderAbsent
        expr: >-
          (max by (name) (leader_election_master_status{namespace="{{ $ns }}"}) < 1) or absent(leader_election_master_status{namespace="{{ $ns }}"})
        for: 2m
        labels: { severity: critical }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisLeaderAbsent.md
          summary: >-
            No replica leads, so nothing that is applied takes effect.
          description: >-
            Sidecars go on with what they have, inside their leases. See kubectl -n {{ $ns }} get pods,leases and the log of the replicas.
      - alert: PortcullisNoStreams
        expr: >-
          sum(portcullis_streams{namespace="{{ $ns }}"}) == 0 and on() count(portcullis_ready) > 0
        for: 2m
        labels: { severity: critical }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisNoStreams.md
          summary: >-
            No sidecar is connected to the operator.
          description: >-
            Their leases run out and they deny. See kubectl -n {{ $ns }} get pods,endpointslices, NetworkPolicies between the pods and portcullis-control:8443, and the certificates of the issuer.
      - alert: PortcullisNoHeartbeat
        expr: >-
          min by (namespace, pod) (portcullis_revocation_lease_seconds) <= 0
        for: 1m
        labels: { severity: critical }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisNoHeartbeat.md
          summary: >-
            The sidecar of {{ "{{ $labels.namespace }}/{{ $labels.pod }}" }} has not heard from the operator within its shortest lease and denies.
          description: >-
            When all do it is the operator (PortcullisNoStreams); when one does it is the network of its pod or node.
      - alert: PortcullisKeySetStale
        # Written again at each quarter of maxStale, which is from a minute to an hour.
        expr: >-
          (min by (issuer) (portcullis_jwks_not_after_seconds{namespace="{{ $ns }}"}) - time() < 300
          and max by (issuer) (changes(portcullis_jwks_not_after_seconds{namespace="{{ $ns }}"}[5m])) == 0)
          or min by (issuer) (portcullis_jwks_not_after_seconds{namespace="{{ $ns }}"}) - time() < 0
        labels: { severity: warning }
        annotations:
          runbook_url: {{ $runbooks }}/PortcullisKeySetStale.md
          summary: >-
            The keys of {{ "{{ $labels.issuer }}" }} could not be fetched for minutes and end in {{ "{{ $value | humanizeDuration }}" }}.
          description: >-
            Then its tokens are denied (jwks_unavailable). kubectl get tokenissuers -A tells why fetching fails (condition JwksFresh).
  {{- include "portcullis.alerts.tokens" $runbooks | nindent 2 }}
{{- end }}
