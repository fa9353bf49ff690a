import { ACCESS_POLICY_ROWS } from './access-policy.ts'
import { KEY_ROTATION_ROWS } from './key-rotation.ts'
import { POLICY_BUNDLE_ROWS } from './policy-bundle.ts'
import { REVOCATION_ROWS } from './revocation.ts'
import type { Rows } from './row.ts'
import { SIDECAR_PROFILE_ROWS } from './sidecar-profile.ts'
import { TOKEN_ISSUER_ROWS } from './token-issuer.ts'
import { TRUST_DOMAIN_ROWS } from './trust-domain.ts'
import { WORKLOAD_IDENTITY_ROWS } from './workload-identity.ts'

export const ALL_ROWS: readonly Rows[] = [
  TOKEN_ISSUER_ROWS,
  POLICY_BUNDLE_ROWS,
  ACCESS_POLICY_ROWS,
  REVOCATION_ROWS,
  TRUST_DOMAIN_ROWS,
  WORKLOAD_IDENTITY_ROWS,
  KEY_ROTATION_ROWS,
  SIDECAR_PROFILE_ROWS,
]
