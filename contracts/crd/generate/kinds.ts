import { ACCESS_POLICY } from '../access-policy.ts'
import type { Definition } from '../definition.ts'
import { KEY_ROTATION } from '../key-rotation.ts'
import { POLICY_BUNDLE } from '../policy-bundle.ts'
import { REVOCATION } from '../revocation.ts'
import { SIDECAR_PROFILE } from '../sidecar-profile.ts'
import { TOKEN_ISSUER } from '../token-issuer.ts'
import { TRUST_DOMAIN } from '../trust-domain.ts'
import { WORKLOAD_IDENTITY } from '../workload-identity.ts'

/** Every kind, in the order in which a newcomer meets them. */
export const KINDS: readonly Definition[] = [
  TOKEN_ISSUER,
  POLICY_BUNDLE,
  ACCESS_POLICY,
  REVOCATION,
  TRUST_DOMAIN,
  WORKLOAD_IDENTITY,
  KEY_ROTATION,
  SIDECAR_PROFILE,
]
