import { status } from '@grpc/grpc-js'

/**
 * Every reason for which an identity is not issued: what the caller is told, and with which status. UNAUTHENTICATED: what was shown
 * does not hold. PERMISSION_DENIED: it holds, but not for this. RESOURCE_EXHAUSTED: try again later.
 */
export const DENIALS = {
  token_size: [status.UNAUTHENTICATED, 'the token is missing or longer than 8 KiB'],
  token_form: [status.UNAUTHENTICATED, 'the token is not a JWT'],
  token_audience: [status.UNAUTHENTICATED, 'the token is not meant for this trust domain alone'],
  csr: [
    status.UNAUTHENTICATED,
    'the request is not a PKCS#10 request that proves possession of an EC P-256 key',
  ],
  review_error: [status.UNAUTHENTICATED, 'the API server could not judge the token'],
  token_refused: [status.UNAUTHENTICATED, 'the API server does not authenticate the token'],
  review_audience: [status.UNAUTHENTICATED, 'the API server does not vouch for the audience of the token'],
  not_service_account: [status.PERMISSION_DENIED, 'the token is not of a service account'],
  token_unbound: [status.PERMISSION_DENIED, 'the token is not bound to a pod'],
  rate_limited: [status.RESOURCE_EXHAUSTED, 'too many requests of this pod or node; try again with back-off'],
  pod_gone: [status.PERMISSION_DENIED, 'the pod does not exist'],
  pod_replaced: [status.PERMISSION_DENIED, 'the pod is another one of the same name'],
  pod_deleting: [status.PERMISSION_DENIED, 'the pod is being deleted'],
  pod_ended: [status.PERMISSION_DENIED, 'the pod is neither pending nor running'],
  pod_service_account: [status.PERMISSION_DENIED, 'the pod runs as another service account'],
  pod_node: [status.PERMISSION_DENIED, 'the pod is on another node'],
  sidecar_missing: [
    status.PERMISSION_DENIED,
    'the pod has no sidecar as the SidecarProfile says; recreate it',
  ],
  key_pinned: [
    status.PERMISSION_DENIED,
    'another key of this pod is known already; present its SVID as client certificate, or recreate the pod',
  ],
  client_identity: [status.PERMISSION_DENIED, 'the client certificate is not the control SVID of this pod'],
  client_key: [status.PERMISSION_DENIED, 'the client certificate is not the newest of this pod'],
  client_missing: [status.UNAUTHENTICATED, 'a control SVID is needed as client certificate'],
  key_reused: [status.PERMISSION_DENIED, 'the workload needs another key than the control identity'],
  audience: [status.INVALID_ARGUMENT, 'one to eight audiences of at most 512 bytes each'],
  digest: [status.INVALID_ARGUMENT, 'a digest has 32 bytes'],
  not_entitled: [status.PERMISSION_DENIED, 'the workload is not entitled to this identity'],
} as const satisfies Readonly<Record<string, readonly [number, string]>>

export type DenialReason = keyof typeof DENIALS

export interface Denied {
  readonly ok: false
  readonly reason: DenialReason
  /** The pod it was about, once that is certain; for an Event there. */
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid: string }
}

export function deny(reason: DenialReason, pod?: Denied['pod']): Denied {
  return {
    ok: false,
    reason,
    ...(pod && { pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid } }),
  }
}
