import { KUBE_METRICS } from '../kube/metrics.ts'
import type { Declaration } from './metrics.ts'

const gauge = (help: string, labels: readonly string[] = []): Declaration => ({ kind: 'gauge', labels, help })
const counter = (help: string, labels: readonly string[] = []): Declaration => ({
  kind: 'counter',
  labels,
  help,
})

/** Every metric of both roles. Names of controller-runtime where it has one. */
export const DECLARED: Readonly<Record<string, Declaration>> = {
  ...KUBE_METRICS,
  controller_runtime_webhook_requests_total: counter('Admission requests by path and HTTP status.', [
    'webhook',
    'code',
  ]),
  controller_runtime_webhook_latency_seconds: {
    kind: 'histogram',
    labels: ['webhook'],
    help: 'Seconds per admission request.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  },
  portcullis_webhook_cert_not_after_seconds: gauge(
    'When the serving certificate of the webhook ends, seconds since the epoch.',
  ),
  portcullis_streams: gauge('Sidecars that hear this replica.'),
  portcullis_nacks: gauge('Sidecars of this replica that refuse what they were sent last.'),
  portcullis_revocation_head: gauge('Position of the revocation log.'),
  revocation_propagation_seconds: {
    kind: 'histogram',
    labels: [],
    help: 'Seconds from a revocation in the log to the word of a sidecar that it is in force there.',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60],
  },
  portcullis_logout_total: counter('Logout tokens received, by HTTP status and the rule that was broken.', [
    'status',
    'why',
  ]),
  portcullis_trust_generation: gauge('Highest number given to a snapshot.'),
  portcullis_recalling: gauge('Sidecars that are being asked what the database has forgotten.'),
  portcullis_jwks_not_after_seconds: gauge(
    'Until when the keys of an issuer may be used, seconds since the epoch.',
    ['issuer'],
  ),
  portcullis_sidecars_missing: gauge('Running pods that should have the sidecar and lack it.', ['profile']),
  portcullis_mesh_refused_total: counter('Connections closed for what their peer presented.', ['why']),
  portcullis_svid_issued_total: counter('Identities issued.', ['kind']),
  portcullis_svid_denied_total: counter('Identities not issued, by reason.', ['kind', 'reason']),
  portcullis_svid_failed_total: counter('Identities for which no answer could be given.', ['kind']),
  portcullis_pins_collected_total: counter('Pins of pods that are gone.'),
}
