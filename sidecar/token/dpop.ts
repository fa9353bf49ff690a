import { hash } from 'node:crypto'
import { type Denial, denied, deny, type Reason } from '../decision.ts'
import type { CheckRequest, Moment } from '../request.ts'
import type { Edge } from '../trust/token-rules.ts'
import { expectedUrl, normalUrl } from './htu.ts'
import { type Nonces, timingSafeEqualText } from './nonce.ts'
import { type Proof, parseProof } from './proof.ts'
import type { ProofKeys } from './proof-keys.ts'

/** How old and how far ahead of our clock a proof may be, seconds (RFC 9449 section 11.1: on the order of seconds or minutes). */
export const PROOF_WINDOW_S = { past: 60, future: 10 } as const
const MAX_JTI_BYTES = 256

/** A proof that passed every check but its one use, which is not spent yet. Made here only. */
export interface CheckedProof {
  readonly thumbprint: string
  readonly jti: string
  /** Whether it carries a nonce of this replica, so that no other replica accepts it. */
  readonly nonced: boolean
  /** Until when it would be accepted, milliseconds since the epoch. */
  readonly until: Moment
  readonly [checked]: true
}
declare const checked: unique symbol

/** What a proof is compared with. */
export interface ProofContext {
  readonly request: Pick<CheckRequest, 'method' | 'url'>
  readonly edge: Edge
  /** The access token, bytes as received. */
  readonly token: Buffer
  /** `cnf.jkt` of the access token. */
  readonly jkt: unknown
  readonly at: Moment
}

export type CheckProof = (line: Buffer, context: ProofContext) => CheckedProof | Denial

export interface ProofNeeds {
  readonly keys: ProofKeys
  readonly nonces: Nonces
  /** Whether a proof of this age (`iat`, seconds) is good with a nonce only (RFC 9449 section 11.3). */
  readonly demandsNonce: (iat: number) => boolean
}

/** Checks proofs by RFC 9449 section 4.3: all of it but the replay of `jti`, cheap before expensive, the signature last. */
export function createProofCheck(needs: ProofNeeds): CheckProof {
  return (line, context) => {
    const proof = parseProof(line)
    if (denied(proof)) return proof
    const jti = jtiOf(proof)
    if (jti === undefined) return deny('dpop_jti')
    const otherRequest = wrongRequest(proof, context)
    if (otherRequest) return deny(otherRequest)
    const time = timeOf(proof, context.at, needs)
    if (typeof time === 'string') return deny(time)
    const otherToken = wrongToken(proof, context)
    if (otherToken) return deny(otherToken)
    const verify = needs.keys.find(proof)
    if (!verify) return deny('dpop_jwk')
    if (!verify(proof.signed, proof.signature)) return deny('dpop_sig')
    return { thumbprint: proof.thumbprint, jti, ...time } as CheckedProof
  }
}

// RFC 9449 section 11.1: a limit of its size, so that remembering it is cheap.
function jtiOf({ claims: { jti } }: Proof): string | undefined {
  return typeof jti === 'string' && jti !== '' && Buffer.byteLength(jti) <= MAX_JTI_BYTES ? jti : undefined
}

// D8 and D9. The method is case-sensitive (RFC 9110 section 9.1).
function wrongRequest({ claims: { htm, htu } }: Proof, { request, edge }: ProofContext): Reason | undefined {
  if (htm !== request.method) return 'dpop_htm'
  const expected = expectedUrl(edge, request.url)
  return expected !== undefined && typeof htu === 'string' && normalUrl(htu) === expected
    ? undefined
    : 'dpop_htu'
}

interface ProofTime {
  readonly nonced: boolean
  readonly until: Moment
}

// D10 and D11: a nonce of ours says when the proof was made better than its maker's clock; without one, `iat` does.
function timeOf(
  { claims: { iat, nonce, exp, nbf } }: Proof,
  at: Moment,
  { nonces, demandsNonce }: ProofNeeds,
): ProofTime | Reason {
  if (!isTime(iat)) return 'dpop_iat_skew'
  if (nonce !== undefined) {
    const until = typeof nonce === 'string' ? nonces.validUntil(nonce, at) : undefined
    return until === undefined ? 'dpop_nonce_invalid' : { nonced: true, until }
  }
  if (demandsNonce(iat)) return 'dpop_nonce_required'
  const atS = Math.floor(at / 1000)
  if (iat < atS - PROOF_WINDOW_S.past || iat > atS + PROOF_WINDOW_S.future) return 'dpop_iat_skew'
  // Not asked for by RFC 9449, but said by whoever signed it (RFC 7519 sections 4.1.4 and 4.1.5).
  if (exp !== undefined && !(isTime(exp) && exp > atS - PROOF_WINDOW_S.future)) return 'dpop_iat_skew'
  if (nbf !== undefined && !(isTime(nbf) && nbf <= atS + PROOF_WINDOW_S.future)) return 'dpop_iat_skew'
  return { nonced: false, until: (iat + PROOF_WINDOW_S.past) * 1000 }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

// D12: this very token, and the key that this token is bound to.
function wrongToken(
  { claims: { ath }, thumbprint }: Proof,
  { token, jkt }: ProofContext,
): Reason | undefined {
  if (typeof ath !== 'string' || !timingSafeEqualText(ath, hash('sha256', token, 'base64url')))
    return 'dpop_ath'
  return typeof jkt === 'string' && timingSafeEqualText(jkt, thumbprint) ? undefined : 'dpop_jkt'
}
