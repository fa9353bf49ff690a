/** Who the caller is, once everything about the token has been checked. Made in token/standing.ts and nowhere else. */
export interface Principal {
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly tenant: string
  /** `machine` when the token speaks for the client itself (RFC 9068 section 2.2: `sub` equals `client_id`). */
  readonly kind: 'user' | 'machine'
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  /** Seconds since the epoch. */
  readonly issuedAt: number
  readonly expiresAt: number
  readonly jti: string
  readonly kid: string
  /** The verified claims as the JSON text that was signed: strict JSON without duplicate members. */
  readonly claimsJson: string
}
