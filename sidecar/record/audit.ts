import { type Decided, denied, statusOf } from '../decision.ts'

/**
 * One line of the decision log. Fields are picked from a fixed list, never redacted out of something larger: there is no
 * path from a token, a header or a claim set to this line, but for the rule ids that a policy's author chose. Identity fields
 * appear only once a signature vouched for them.
 */
export function auditLine({ decision, principal, request, ...rest }: Decided, time: string): string {
  const refusal = denied(decision) ? decision : undefined
  return JSON.stringify({
    time,
    decision_id: rest.decisionId,
    outcome: decision.kind,
    reason: refusal?.reason,
    status: refusal ? statusOf(refusal) : 200,
    rule_ids: decision.ruleIds.length > 0 ? decision.ruleIds : undefined,
    detail: refusal?.detail || undefined,
    action: request?.action,
    resource_type: request?.stored.type || undefined,
    resource_id: request?.stored.id || undefined,
    issuer: principal?.issuer,
    subject: principal?.subject,
    client_id: principal?.clientId,
    tenant: principal?.tenant,
    kid: principal?.kid,
    jti: principal?.jti,
    token_iat: principal?.issuedAt,
    policy_revision: rest.policyRevision || undefined,
    trust_generation: rest.trustGeneration,
    elapsed_us: Math.round(rest.elapsedMs * 1000),
  })
}
