import { type Denial, deny } from '../decision.ts'
import type { Presented } from './credentials.ts'
import type { VerifiedToken } from './verify.ts'

/** A verified token whose sender constraint, if it has one, is met. Made here only. */
export interface BoundToken {
  readonly token: VerifiedToken
  readonly [bound]: true
}
declare const bound: unique symbol

/**
 * `cnf` says which proof is owed (RFC 7800 section 3.1). This version can check none, so a constrained token is refused
 * whatever comes with it: accepting it as a bearer token would undo the constraint (RFC 9449 section 7.2, RFC 8705 section 3).
 */
export function bind(token: VerifiedToken, presented: Presented): BoundToken | Denial {
  const { cnf } = token.claims
  if (cnf === undefined)
    return presented.scheme === 'bearer' ? ({ token } as BoundToken) : deny('cnf_required')
  const methods = typeof cnf === 'object' && cnf !== null && !Array.isArray(cnf) ? Object.keys(cnf) : []
  const [method] = methods
  if (methods.length !== 1 || (method !== 'jkt' && method !== 'x5t#S256')) return deny('cnf_unknown')
  if (method === 'x5t#S256') return deny('mtls_missing')
  return presented.scheme === 'bearer' ? deny('cnf_scheme_mismatch') : deny('dpop_missing')
}
