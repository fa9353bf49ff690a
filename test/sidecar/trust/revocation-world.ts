import type { Revocation, Revocations } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Principal } from '../../../sidecar/principal.ts'
import type { TokenFacts } from '../../../sidecar/trust/revocation-table.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { SOURCE } from './beliefs.ts'

// Revocations in few words, and callers they may meet.

export const AT = 1_790_000_000_000
export const LATER = AT + 3_600_000

export type Subject = NonNullable<Revocation['subject']>

export function entry(id: string, subject: Subject, change: Partial<Revocation> = {}): Revocation {
  return { id, issuer: ISSUER, subject, issuedBeforeMs: 0, expiresAtMs: LATER, source: SOURCE, ...change }
}

export function message(
  base: number,
  head: number,
  entries: readonly Revocation[] = [],
  removed: readonly string[] = [],
): Revocations {
  return { base, head, entries: [...entries], removed: [...removed] }
}

export function caller(change: Partial<Principal> = {}): Principal {
  return {
    issuer: ISSUER,
    subject: 'alice',
    clientId: 'web',
    tenant: 'acme',
    kind: 'user',
    scopes: [],
    roles: [],
    issuedAt: AT / 1000,
    expiresAt: AT / 1000 + 300,
    jti: 'j-1',
    kid: 'k-1',
    acr: undefined,
    authTime: undefined,
    amr: [],
    confirmation: 'bearer',
    authorizationDetails: [],
    actors: [],
    claimsJson: '{}',
    ...change,
  }
}

/** Of a token that is believed for this source. */
export function token(sid?: unknown, source: string = SOURCE): TokenFacts {
  return { source, sid }
}
