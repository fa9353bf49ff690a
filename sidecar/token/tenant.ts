import type { Reason } from '../decision.ts'
import type { JsonObject } from '../request.ts'
import type { TenantRule } from '../trust/snapshot.ts'

/** Claim that contradicts a fixed tenant when it is present and different. */
const USUAL_TENANT_CLAIM = 'tenant'

/** An issuer speaks for its own tenants only: tenant A's provider must not mint an identity of tenant B. */
export function tenantOf(rule: TenantRule, claims: JsonObject): { readonly name: string } | Reason {
  const value = claims[rule.kind === 'claim' ? rule.claim : USUAL_TENANT_CLAIM]
  if (rule.kind === 'fixed') {
    return value === undefined || value === rule.tenant ? { name: rule.tenant } : 'issuer_tenant_mismatch'
  }
  if (value === undefined) return 'claim_missing'
  if (typeof value !== 'string') return 'claim_invalid'
  return rule.allowed.has(value) ? { name: value } : 'issuer_tenant_mismatch'
}
