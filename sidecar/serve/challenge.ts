import { ALGORITHMS } from '../../contracts/jwks.ts'
import { bothOf, type Denial, MEANING, type Meaning, type StepUp, statusOf } from '../decision.ts'

/** What a caller may see of a denial: one wording a status, so that it tells nothing more than the status does. */
export interface Face {
  readonly status: number
  readonly grpcStatus: number
  readonly headers: readonly { readonly name: string; readonly value: string }[]
  readonly text: string
}

const WORDING = {
  400: { grpcStatus: 3, text: 'The request is malformed.' },
  401: { grpcStatus: 16, text: 'Authentication is required.' },
  403: { grpcStatus: 7, text: 'Not allowed.' },
  404: { grpcStatus: 5, text: 'Not found.' },
  503: { grpcStatus: 14, text: 'Temporarily unavailable.' },
} as const

const RETRY_AFTER_S = '1'
/** RFC 9449 section 7.1, `algs`: every algorithm whose proofs are believed. */
const PROOF_ALGORITHMS = `algs="${Object.keys(ALGORITHMS).join(' ')}"`

/** What the challenge depends on besides the refusal. */
export interface Asker {
  /** Of the credential that was refused, when there was one. */
  readonly scheme?: 'bearer' | 'dpop' | undefined
  /** Whether proofs can be checked here. */
  readonly takesProofs?: boolean
  readonly nonce?: string | undefined
  /** How the user would have to have authenticated for this action, as its route asks. */
  readonly stepUp?: StepUp | undefined
}

/**
 * Status, challenge and text for a denial. `WWW-Authenticate` follows RFC 6750 section 3 and RFC 9449 section 7.1: no error code when no
 * credential was presented, the needed scope with `insufficient_scope`, the needed authentication (RFC 9470 section 3), the code under the scheme that was used, and of the other one
 * only that it is there. With `use_dpop_nonce` goes exactly one `DPoP-Nonce` (RFC 9449 section 9).
 */
export function faceOf(denial: Denial, action: string, asker: Asker = {}): Face {
  const status = statusOf(denial)
  return { status, ...WORDING[status], headers: headersFor(denial, { status, action, asker }) }
}

/** What an allowed answer must carry for its caller's next proof. RFC 9449 section 8.2: a response with a nonce in it is not for a cache. */
export function allowanceHeaders(nonce: string | undefined): Face['headers'] {
  return nonce === undefined ? [] : [nonceLine(nonce), { name: 'cache-control', value: 'no-store' }]
}

interface Refused {
  readonly status: number
  readonly action: string
  readonly asker: Asker
}

function headersFor(denial: Denial, { status, action, asker }: Refused): Face['headers'] {
  if (status === 503) return [{ name: 'retry-after', value: RETRY_AFTER_S }]
  if (status === 404) return []
  const { error }: Meaning = MEANING[denial.reason]
  if (error === undefined && status !== 401) return []
  const ofProof = error === 'invalid_dpop_proof' || error === 'use_dpop_nonce'
  const scheme = ofProof ? 'dpop' : (asker.scheme ?? 'bearer')
  const scope = error === 'insufficient_scope' ? `scope="${action}"` : ''
  const stepUp =
    error === 'insufficient_user_authentication' ? stepUpParameters(denial.stepUp, asker.stepUp) : []
  const code = error === undefined ? '' : `error="${error}"`
  const algorithms = asker.takesProofs ? PROOF_ALGORITHMS : ''
  const nonce = error === 'use_dpop_nonce' && asker.nonce !== undefined ? [nonceLine(asker.nonce)] : []
  if (scheme === 'dpop') return [challenge('DPoP', code, scope, ...stepUp, algorithms), ...nonce]
  // What else would do is said where the credential itself is what is missing or wrong.
  const other = algorithms !== '' && scope === '' ? [challenge('DPoP', algorithms)] : []
  return [challenge('Bearer', code, scope, ...stepUp), ...other]
}

// The route asks for the rest of it as well, or the caller would come back in vain. Where neither says what, only that it is needed.
function stepUpParameters(rules: StepUp | undefined, route: StepUp | undefined): readonly string[] {
  const stepUp = rules && route ? bothOf(rules, route) : (rules ?? route)
  if (!stepUp) return []
  const { acrValues, maxAuthAgeS } = stepUp
  return [
    acrValues.length > 0 ? `acr_values="${acrValues.join(' ')}"` : '',
    maxAuthAgeS > 0 ? `max_age="${maxAuthAgeS}"` : '',
  ]
}

function nonceLine(nonce: string): Face['headers'][number] {
  return { name: 'dpop-nonce', value: nonce }
}

function challenge(scheme: string, ...parameters: readonly string[]): Face['headers'][number] {
  const stated = parameters.filter((one) => one !== '').join(', ')
  return { name: 'www-authenticate', value: stated === '' ? scheme : `${scheme} ${stated}` }
}
