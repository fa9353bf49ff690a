import { type Denial, denied, deny } from '../decision.ts'
import type { CheckRequest, Json, Moment } from '../request.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import type { Presented } from './credentials.ts'
import type { CheckedProof, CheckProof } from './dpop.ts'
import { wrongCertificate } from './mtls.ts'
import type { VerifiedToken } from './verify.ts'

/** A verified token whose sender constraint, if it has one, is met. Made here only. */
export interface BoundToken {
  readonly token: VerifiedToken
  /** The proof that came with it, not yet spent: only of a token that is bound to a DPoP key. */
  readonly proof: CheckedProof | undefined
  readonly [bound]: true
}
declare const bound: unique symbol

/** What is asked, what is believed and when: the same for all steps of a check. */
export interface Asked {
  readonly request: CheckRequest
  readonly trust: Pick<Snapshot, 'tokens'>
  readonly at: Moment
}

/** The SPIFFE ID of this workload; empty where workloads have none, `undefined` while it has not been issued. */
export type OwnId = () => string | undefined

export type Bind = (token: VerifiedToken, presented: Presented, asked: Asked) => BoundToken | Denial

/**
 * `cnf` says which proof is owed (RFC 7800 section 3.1), and what says so is owed: a constrained token without its proof is refused,
 * and so is one whose constraint we do not know, or which has two. Accepting either as a bearer token would undo the constraint
 * (RFC 9449 section 7.2, RFC 8705 section 3). A proof beside a token that is bound to nothing proves nothing and is not read.
 */
export function createBind(checkProof: CheckProof, ownId: OwnId): Bind {
  return (token, presented, asked) => {
    const method = methodOf(token.claims['cnf'])
    if (method === undefined) return deny('cnf_unknown')
    return BINDINGS[method](token, presented, { ...asked, checkProof, ownId })
  }
}

type Method = 'none' | 'jkt' | 'x5t#S256'

function methodOf(cnf: Json | undefined): Method | undefined {
  if (cnf === undefined) return 'none'
  if (!isMembers(cnf)) return undefined
  const [method, second] = Object.keys(cnf)
  return second === undefined && (method === 'jkt' || method === 'x5t#S256') ? method : undefined
}

function confirmation(token: VerifiedToken, method: Method): Json | undefined {
  const { cnf } = token.claims
  return isMembers(cnf) ? cnf[method] : undefined
}

function isMembers(value: Json | undefined): value is { readonly [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

interface Means extends Asked {
  readonly checkProof: CheckProof
  readonly ownId: OwnId
}

const BINDINGS: Readonly<
  Record<Method, (token: VerifiedToken, presented: Presented, means: Means) => BoundToken | Denial>
> = {
  // RFC 9449 section 7.1: the scheme promises a bound token.
  none: (token, { scheme }) =>
    scheme === 'bearer' && !typedDpop(token) ? made({ token, proof: undefined }) : deny('cnf_required'),
  jkt(token, { scheme, proof, token: bytes }, { request, trust, at, checkProof }) {
    if (scheme === 'bearer') return deny('cnf_scheme_mismatch')
    if (!proof) return deny('dpop_missing')
    // RFC 9449 section 6.2: whoever introspects is told the type as well.
    if (introspected(token) && !typedDpop(token)) return deny('cnf_scheme_mismatch')
    const jkt = confirmation(token, 'jkt')
    const checked = checkProof(proof, { request, edge: trust.tokens.edge, token: bytes, jkt, at })
    return denied(checked) ? checked : made({ token, proof: checked })
  },
  'x5t#S256'(token, presented, { request, trust, ownId }) {
    const thumbprint = confirmation(token, 'x5t#S256')
    const { edge } = trust.tokens
    const hops = edge.ownId === '' ? { ...edge, ownId: ownId() } : edge
    const wrong = wrongCertificate(thumbprint, presented, request, hops)
    if (wrong) return deny(wrong)
    // RFC 8705 section 3: such a token is a bearer token to HTTP.
    if (presented.scheme === 'dpop' || typedDpop(token)) return deny('cnf_scheme_mismatch')
    return made({ token, proof: undefined })
  },
}

function made(parts: Omit<BoundToken, typeof bound>): BoundToken {
  return parts as BoundToken
}

function introspected({ kid, claims }: VerifiedToken): boolean {
  return kid === '' && claims['token_type'] !== undefined
}

// RFC 6749 section 5.1: token types are compared without case.
function typedDpop(token: VerifiedToken): boolean {
  const type = introspected(token) ? token.claims['token_type'] : undefined
  return typeof type === 'string' && type.toLowerCase() === 'dpop'
}
