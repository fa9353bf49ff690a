import type { JsonObject } from './request.ts'

/** What a token says beyond who its caller is; every claim of its type, or the token was refused. */
export interface Attributes {
  /** Authentication context (RFC 9068 section 2.2.1). */
  readonly acr: string | undefined
  /** When the user authenticated, seconds since the epoch. */
  readonly authTime: number | undefined
  /** How the user authenticated (RFC 8176); empty when the token does not say. */
  readonly amr: readonly string[]
  /** How the token was bound to who presented it. */
  readonly confirmation: 'bearer' | 'dpop' | 'mtls'
  /** What exactly was consented to (RFC 9396); empty when the token does not say. */
  readonly authorizationDetails: readonly AuthorizationDetail[]
  /** Who acts for the subject, the current actor first (RFC 8693 section 4.1); only the first may decide anything. Empty: nobody. */
  readonly actors: readonly Actor[]
}

/** One entry of `authorization_details`: its type decides what the other members mean. */
export type AuthorizationDetail = JsonObject & { readonly type: string }

/** By what a token can be withdrawn. */
export type Revocable = Pick<
  Principal,
  'issuer' | 'subject' | 'clientId' | 'tenant' | 'jti' | 'kid' | 'issuedAt'
>

/** What a token says that a requirement may look at, whoever presents it. */
export type Sayings = Pick<
  Principal,
  'issuer' | 'clientId' | 'kind' | 'scopes' | 'issuedAt' | 'acr' | 'authTime' | 'confirmation'
>

/** Who the caller is, once everything about the token has been checked. Made in token/standing.ts and nowhere else. */
export interface Principal extends Attributes {
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

/** One member of a delegation chain. Its `subject` is unique within `issuer`, or within the token's own when that is not named. */
export interface Actor {
  readonly subject: string
  readonly issuer?: string
}
