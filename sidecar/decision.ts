import type { Reason as ProtoReason } from '../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Principal } from './principal.ts'
import type { CheckRequest } from './request.ts'

/** Closed list of reasons: the proto enum in lower case, without its prefix. Also the metric label. */
export type Reason = Lowercase<Exclude<StripPrefix<keyof typeof ProtoReason>, 'UNSPECIFIED'>>
type StripPrefix<K> = K extends `REASON_${infer Name}` ? Name : never

export type Decision = Allowance | Denial

/** Permission. Made in policy/judge.ts and nowhere else. */
export interface Allowance {
  readonly kind: 'allow'
  readonly principal: Principal
  readonly ruleIds: readonly string[]
}

/** A refusal is a value. `hidden` asks for 404 in place of 403, so that existence is not revealed. */
export interface Denial {
  readonly kind: 'deny'
  readonly reason: Reason
  readonly hidden: boolean
  readonly ruleIds: readonly string[]
  /** For `step_up_required` only: what would do, where the rules say so. */
  readonly stepUp?: StepUp | undefined
  /** For `request_invalid` only: which field of the question is wrong and what to do. Never carries its value. */
  readonly detail: string
}

/** How a user would have to have authenticated (RFC 9470 section 3). */
export interface StepUp {
  /** The one liked best first; empty for any. */
  readonly acrValues: readonly string[]
  /** Seconds; 0 for any. */
  readonly maxAuthAgeS: number
}

/** What does for both. Where no context does, the first one's: the caller comes back, and hears of the other then. */
export function bothOf(one: StepUp, other: StepUp): StepUp {
  const common = one.acrValues.filter((acr) => other.acrValues.includes(acr))
  const either = one.acrValues.length > 0 ? one.acrValues : other.acrValues
  const ages = [one.maxAuthAgeS, other.maxAuthAgeS].filter((age) => age > 0)
  return {
    acrValues: common.length > 0 ? common : either,
    maxAuthAgeS: ages.length > 0 ? Math.min(...ages) : 0,
  }
}

/** A finished decision, as the log and the metrics are told of it. */
export interface Decided {
  readonly decision: Decision
  readonly principal: Principal | undefined
  readonly policyRevision: string
  readonly trustGeneration: number
  readonly request: CheckRequest | undefined
  readonly decisionId: string
  readonly elapsedMs: number
}

/** What each reason means outside. `error` is the code of RFC 6750 section 3.1, RFC 9449 section 12.2 or RFC 9470 section 3, if the challenge carries one. */
export interface Meaning {
  readonly status: 400 | 401 | 403 | 404 | 503
  readonly error?:
    | 'invalid_request'
    | 'invalid_token'
    | 'insufficient_scope'
    | 'invalid_dpop_proof'
    | 'use_dpop_nonce'
    | 'insufficient_user_authentication'
}

const NO_CREDENTIALS: Meaning = { status: 401 }
const BAD_REQUEST: Meaning = { status: 400, error: 'invalid_request' }
const BAD_CALL: Meaning = { status: 400 }
const BAD_TOKEN: Meaning = { status: 401, error: 'invalid_token' }
const BAD_PROOF: Meaning = { status: 401, error: 'invalid_dpop_proof' }
const NO_NONCE: Meaning = { status: 401, error: 'use_dpop_nonce' }
const FORBIDDEN: Meaning = { status: 403 }
const HIDDEN: Meaning = { status: 404 }
const UNKNOWABLE: Meaning = { status: 503 }

/** The one table from reason to meaning; a reason added to the proto does not compile until it has a row here. */
export const MEANING = {
  token_missing: NO_CREDENTIALS,
  auth_multiple: BAD_REQUEST,
  auth_malformed: BAD_REQUEST,
  token_in_query: BAD_REQUEST,
  token_too_large: BAD_TOKEN,
  token_format: BAD_TOKEN,
  b64_invalid: BAD_TOKEN,
  b64_noncanonical: BAD_TOKEN,
  json_invalid: BAD_TOKEN,
  json_duplicate: BAD_TOKEN,
  json_depth: BAD_TOKEN,
  header_invalid: BAD_TOKEN,
  header_forbidden: BAD_TOKEN,
  alg_not_allowed: BAD_TOKEN,
  alg_key_mismatch: BAD_TOKEN,
  typ_mismatch: BAD_TOKEN,
  crit_unsupported: BAD_TOKEN,
  kid_missing: BAD_TOKEN,
  kid_invalid: BAD_TOKEN,
  kid_unknown: BAD_TOKEN,
  kid_ambiguous: BAD_TOKEN,
  kid_revoked: BAD_TOKEN,
  key_weak: BAD_TOKEN,
  jwks_unavailable: UNKNOWABLE,
  sig_invalid: BAD_TOKEN,
  iss_missing: BAD_TOKEN,
  iss_unknown: BAD_TOKEN,
  issuer_tenant_mismatch: BAD_TOKEN,
  aud_missing: BAD_TOKEN,
  aud_invalid: BAD_TOKEN,
  aud_mismatch: BAD_TOKEN,
  aud_denied: BAD_TOKEN,
  aud_not_exclusive: BAD_TOKEN,
  exp_missing: BAD_TOKEN,
  exp_invalid: BAD_TOKEN,
  expired: BAD_TOKEN,
  nbf_future: BAD_TOKEN,
  iat_missing: BAD_TOKEN,
  iat_future: BAD_TOKEN,
  lifetime_too_long: BAD_TOKEN,
  claim_missing: BAD_TOKEN,
  claim_invalid: BAD_TOKEN,
  nonce_missing: BAD_TOKEN,
  nonce_mismatch: BAD_TOKEN,
  jwe_unsupported: BAD_TOKEN,
  cnf_required: BAD_TOKEN,
  cnf_unknown: BAD_TOKEN,
  cnf_scheme_mismatch: BAD_TOKEN,
  dpop_missing: BAD_PROOF,
  dpop_multiple: BAD_REQUEST,
  dpop_malformed: BAD_PROOF,
  dpop_typ: BAD_PROOF,
  dpop_alg: BAD_PROOF,
  dpop_jwk: BAD_PROOF,
  dpop_sig: BAD_PROOF,
  dpop_htm: BAD_PROOF,
  dpop_htu: BAD_PROOF,
  dpop_iat_skew: BAD_PROOF,
  dpop_ath: BAD_PROOF,
  dpop_jkt: BAD_PROOF,
  dpop_jti: BAD_PROOF,
  dpop_replay: BAD_PROOF,
  dpop_nonce_required: NO_NONCE,
  dpop_nonce_invalid: NO_NONCE,
  mtls_missing: BAD_TOKEN,
  mtls_mismatch: BAD_TOKEN,
  mtls_untrusted_hop: BAD_TOKEN,
  mtls_header_invalid: BAD_TOKEN,
  introspection_inactive: BAD_TOKEN,
  introspection_invalid: UNKNOWABLE,
  introspection_unavailable: UNKNOWABLE,
  revoked_jti: BAD_TOKEN,
  revoked_sid: BAD_TOKEN,
  revoked_sub: BAD_TOKEN,
  revoked_client: BAD_TOKEN,
  revoked_tenant: BAD_TOKEN,
  revoked_issued_before: BAD_TOKEN,
  revocation_stale: UNKNOWABLE,
  status_invalid: BAD_TOKEN,
  status_revoked: BAD_TOKEN,
  replay_store_unavailable: UNKNOWABLE,
  insufficient_scope: { status: 403, error: 'insufficient_scope' },
  rar_mismatch: FORBIDDEN,
  step_up_required: { status: 401, error: 'insufficient_user_authentication' },
  policy_denied: FORBIDDEN,
  tenant_mismatch: HIDDEN,
  not_owner: FORBIDDEN,
  role_missing: FORBIDDEN,
  limit_exceeded: FORBIDDEN,
  policy_undefined: UNKNOWABLE,
  policy_fault: UNKNOWABLE,
  not_ready: UNKNOWABLE,
  trust_stale: UNKNOWABLE,
  overloaded: UNKNOWABLE,
  cancelled: UNKNOWABLE,
  deadline: UNKNOWABLE,
  clock_unsafe: UNKNOWABLE,
  internal: UNKNOWABLE,
  request_invalid: BAD_CALL,
} as const satisfies Record<Reason, Meaning>

const NO_RULES: readonly string[] = Object.freeze([])

const PLAIN = Object.freeze(
  Object.fromEntries(
    Object.keys(MEANING).map((reason) => [
      reason,
      Object.freeze({ kind: 'deny', reason, hidden: false, ruleIds: NO_RULES, detail: '' }),
    ]),
  ),
) as Readonly<Record<Reason, Denial>>

/** The denial for `reason`; one frozen object a reason, so that refusing costs nothing. */
export function deny(reason: Reason): Denial {
  return PLAIN[reason]
}

/** A denial by named policy rules. */
export function denyByRules(
  reason: Reason,
  ruleIds: readonly string[],
  hidden: boolean,
  stepUp?: StepUp,
): Denial {
  return { kind: 'deny', reason, hidden, ruleIds, stepUp, detail: '' }
}

/** A denial because the question itself breaks the contract. `detail` names the field and the remedy, never the value. */
export function denyRequest(detail: string): Denial {
  return { kind: 'deny', reason: 'request_invalid', hidden: false, ruleIds: NO_RULES, detail }
}

export function denied(outcome: object): outcome is Denial {
  return 'kind' in outcome && outcome.kind === 'deny'
}

/** HTTP status of a denial: 404 where policy hides existence (RFC 9110 section 15.5.4), whatever it says besides; else the table's. */
export function statusOf(denial: Denial): Meaning['status'] {
  const { status } = MEANING[denial.reason]
  return denial.hidden && status !== 503 ? 404 : status
}
