import { type Denial, MEANING, statusOf } from '../decision.ts'

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

/**
 * Status, challenge and text for a denial. `WWW-Authenticate` follows RFC 6750 section 3: no error code when no credential
 * was presented, the needed scope with `insufficient_scope`.
 */
export function faceOf(denial: Denial, action: string): Face {
  const status = statusOf(denial)
  return { status, ...WORDING[status], headers: headersFor(denial, status, action) }
}

function headersFor(denial: Denial, status: Face['status'], action: string): Face['headers'] {
  if (status === 503) return [{ name: 'retry-after', value: RETRY_AFTER_S }]
  if (status === 404) return []
  const meaning: { status: number; error?: string } = MEANING[denial.reason]
  if (meaning.error === undefined) return status === 401 ? [challenge('Bearer')] : []
  const scope = meaning.error === 'insufficient_scope' ? `, scope="${action}"` : ''
  return [challenge(`Bearer error="${meaning.error}"${scope}`)]
}

function challenge(value: string): Face['headers'][number] {
  return { name: 'www-authenticate', value }
}
