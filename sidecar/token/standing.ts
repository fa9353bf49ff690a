import { type Denial, denied, deny } from '../decision.ts'
import type { Actor, Attributes, AuthorizationDetail, Principal, Sayings } from '../principal.ts'
import type { Moment } from '../request.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import { attributesOf } from './attributes.ts'
import type { BoundToken } from './binding.ts'
import { tenantOf } from './tenant.ts'
import type { VerifiedToken } from './verify.ts'

/** Does this token still stand, and for which tenant? The only maker of a Principal. */
export function standing(
  { token }: BoundToken,
  trust: Pick<Snapshot, 'revocations'>,
  at: Moment,
): Principal | Denial {
  return recognise(token, trust, at)
}

/** Why a token would be refused as it stands now, whoever presents it; `undefined` when it stands. */
export function fallenFor(
  token: VerifiedToken,
  trust: Pick<Snapshot, 'revocations'>,
  at: Moment,
): Denial | undefined {
  const recognised = recognise(token, trust, at)
  return denied(recognised) ? recognised : undefined
}

/** What a token says as long as it stands, though nobody has proven to be its holder: a copy, since it makes nobody a Principal. */
export function sayings(
  token: VerifiedToken,
  trust: Pick<Snapshot, 'revocations'>,
  at: Moment,
): Sayings | Denial {
  const recognised = recognise(token, trust, at)
  return denied(recognised) ? recognised : { ...recognised }
}

function recognise(
  { claims, kid, claimsJson, issuer }: VerifiedToken,
  { revocations }: Pick<Snapshot, 'revocations'>,
  at: Moment,
): Principal | Denial {
  const tenant = tenantOf(issuer.tenant, claims)
  if (typeof tenant === 'string') return deny(tenant)
  const attributes = attributesOf(claims)
  if (!attributes) return deny('claim_invalid')
  const said = { kid, claimsJson, attributes }
  const who = new RecognisedPrincipal(tenant.name, issuer.issuer, claims as unknown as AccessClaims, said)
  const facts = { source: issuer.source, sid: claims['sid'] }
  // In the seconds that are tolerated after its end a token is what it was in its last one: a record that ends with it still counts.
  const last = Math.min(at, who.expiresAt * 1000 - 1)
  const revoked = revocations.size === 0 ? undefined : revocations.against(who, facts, last)
  return revoked ? deny(revoked) : who
}

/** True only for what `standing` returned: a private field cannot be forged by a cast or from outside this file. */
export function isPrincipal(value: unknown): value is Principal {
  return RecognisedPrincipal.made(value)
}

/** Claims whose presence and types token/checks.ts has proven (row "identity" and row "time"). */
interface AccessClaims {
  readonly sub: string
  readonly client_id?: string
  /** Names the client where a provider from before RFC 9068 leaves `client_id` out. */
  readonly azp?: string
  readonly jti: string
  readonly iat: number
  readonly exp: number
  readonly scope?: string
  readonly roles?: readonly (string | { readonly value: string })[]
}

const NONE: readonly string[] = Object.freeze([])

class RecognisedPrincipal implements Principal {
  readonly #made = true
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly tenant: string
  readonly kind: 'user' | 'machine'
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly issuedAt: number
  readonly expiresAt: number
  readonly jti: string
  readonly kid: string
  readonly acr: string | undefined
  readonly authTime: number | undefined
  readonly amr: readonly string[]
  readonly confirmation: Attributes['confirmation']
  readonly authorizationDetails: readonly AuthorizationDetail[]
  readonly actors: readonly Actor[]
  readonly claimsJson: string

  constructor(
    tenant: string,
    issuer: string,
    claims: AccessClaims,
    signed: { kid: string; claimsJson: string; attributes: Attributes },
  ) {
    this.issuer = issuer
    this.subject = claims.sub
    this.clientId = claims.client_id ?? claims.azp ?? ''
    this.tenant = tenant
    this.kind = claims.sub === this.clientId ? 'machine' : 'user'
    this.scopes = claims.scope ? claims.scope.split(' ') : NONE
    this.roles = claims.roles?.map((role) => (typeof role === 'string' ? role : role.value)) ?? NONE
    this.issuedAt = claims.iat
    this.expiresAt = claims.exp
    this.jti = claims.jti
    this.kid = signed.kid
    this.acr = signed.attributes.acr
    this.authTime = signed.attributes.authTime
    this.amr = signed.attributes.amr
    this.confirmation = signed.attributes.confirmation
    this.authorizationDetails = signed.attributes.authorizationDetails
    this.actors = signed.attributes.actors
    this.claimsJson = signed.claimsJson
  }

  static made(value: unknown): boolean {
    return typeof value === 'object' && value !== null && #made in value
  }
}
