import { made } from '../../contracts/fingerprint.ts'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'

/**
 * A revocation of a token that nobody issues, appended again and again: how long it takes to be in force everywhere is how long one of
 * a real token takes. It has one id, so one lives at a time, and ends by itself.
 */
export const CANARY = { everyMs: 10_000, livesMs: 60_000 } as const

export function canaryAt(at: number): Revocation {
  const subject = { $case: 'jti', jti: 'canary' } as const
  // When it was appended; no token has this issuer, so it forbids nothing.
  const entry = {
    source: '',
    issuer: 'urn:portcullis:canary',
    subject,
    issuedBeforeMs: at,
    expiresAtMs: at + CANARY.livesMs,
  }
  return { id: '', ...entry }
}

export const CANARY_ID = made(canaryAt(0))?.id ?? ''
