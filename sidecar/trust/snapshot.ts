import type {
  Issuer as IssuerMessage,
  Snapshot as SnapshotMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import {
  type Algorithm,
  algorithmNamed,
  JWKS_LIMITS,
  parseJwks,
  type VerificationKey,
} from '../../contracts/jwks.ts'
import type { PolicyModule } from '../ports.ts'
import type { Moment } from '../request.ts'
import { SNAPSHOT_LIMITS } from '../settings.ts'
import { type Exchange, type Introspection, parseExchange, parseIntrospection } from './endpoint.ts'
import type { LeaseView } from './lease.ts'
import { REVOCATION_LIMITS } from './revocation-wire.ts'
import type { KnownRevocations } from './revocations.ts'
import { parseTiers, type Tiers } from './tiers.ts'
import { parseTokenRules, type TokenRules } from './token-rules.ts'

/**
 * Everything believed at one moment. Immutable; replaced as a whole, by one assignment. What is pushed between snapshots is reached
 * through it, so that no decision can be made without looking at it.
 */
export interface Snapshot extends Beliefs {
  readonly policy: PolicyModule
  /** What identifies the policy in acknowledgements (contracts/bundle-digest.ts). */
  readonly policyDigest: Buffer
  readonly revocations: KnownRevocations
  readonly lease: LeaseView
}

/** All but the policy, which is prepared from files. */
export interface Beliefs {
  readonly generation: number
  readonly audience: string
  readonly exclusiveAudience: boolean
  readonly maxTokenLifetimeS: number
  readonly issuers: ReadonlyMap<string, Issuer>
  /** How long revocations may be unconfirmed; `undefined` where none are pushed (standalone). */
  readonly tiers: Tiers | undefined
  readonly tokens: TokenRules
}

export interface Issuer {
  readonly issuer: string
  /** The TokenIssuer that says so, as `namespace/name`; empty in standalone mode. Only its revocations count here. */
  readonly source: string
  readonly algorithms: ReadonlySet<Algorithm>
  readonly skewS: number
  readonly tenant: TenantRule
  readonly keys: KeySet
  /** Until when its tokens may be typed `JWT` or not at all; 0: never (RFC 9068 section 4). */
  readonly legacyTypUntil: Moment
  /** Clients that may use the first-party scopes of the profile. */
  readonly firstPartyClients: ReadonlySet<string>
  /** `undefined`: opaque tokens are refused. */
  readonly introspection: Introspection | undefined
  /** `undefined`: no token can be exchanged here. */
  readonly exchange: Exchange | undefined
  /** Its keys are those of an OAuth client, which signs assertions and requests about itself and no tokens. */
  readonly client: boolean
}

/** Which tenants an issuer may speak for: one, or those of a closed list that a claim names. */
export type TenantRule =
  | { readonly kind: 'fixed'; readonly tenant: string }
  | { readonly kind: 'claim'; readonly claim: string; readonly allowed: ReadonlySet<string> }

export interface KeySet {
  readonly byKid: ReadonlyMap<string, readonly VerificationKey[]>
  /** Keys that were published but are too weak to believe. */
  readonly weakKids: ReadonlySet<string>
  /** Keys that are not believed although they are published. */
  readonly revokedKids: ReadonlySet<string>
  /** From this moment on the keys may not be used: their source has been silent for too long. */
  readonly notAfter: Moment
  readonly refreshable: boolean
  /** The JWK Set as published; empty when there is none. */
  readonly document: Buffer
}

const REVOKED_KIDS = 64

/** Reads the wire form: all of it, or every problem with its path. `before` lends key sets whose document did not change. */
export function parseSnapshot(
  message: SnapshotMessage,
  before: ReadonlyMap<string, Issuer>,
): Beliefs | readonly string[] {
  const problems: string[] = []
  const { profile } = message
  const audience = profile?.audience ?? ''
  if (!audience || audience.length > SNAPSHOT_LIMITS.text)
    problems.push('profile.audience: must be 1 to 512 characters')
  const lifetime = profile?.maxTokenLifetimeS ?? 0
  const [shortest, longest] = SNAPSHOT_LIMITS.lifetimeS
  if (lifetime < shortest || lifetime > longest) {
    problems.push(`profile.max_token_lifetime_s: must be ${shortest} to ${longest}`)
  }
  if (message.issuers.length === 0 || message.issuers.length > SNAPSHOT_LIMITS.issuers) {
    problems.push(`issuers: must be 1 to ${SNAPSHOT_LIMITS.issuers}`)
  }
  const tiers = parseTiers(profile)
  if (Array.isArray(tiers)) problems.push(...tiers)
  const tokens = parseTokenRules(profile)
  if (Array.isArray(tokens)) problems.push(...tokens)
  const issuers = new Map<string, Issuer>()
  message.issuers.forEach((one, index) => {
    const parsed = parseIssuer(one, before.get(one.issuer))
    if (Array.isArray(parsed)) problems.push(...parsed.map((text) => `issuers[${index}].${text}`))
    else if (issuers.has(one.issuer)) problems.push(`issuers[${index}].issuer: given twice`)
    else issuers.set(one.issuer, parsed as Issuer)
  })
  if (problems.length > 0) return problems
  return {
    tiers: tiers as Tiers | undefined,
    tokens: tokens as TokenRules,
    generation: message.generation,
    audience,
    exclusiveAudience: profile?.exclusiveAudience ?? false,
    maxTokenLifetimeS: lifetime,
    issuers,
  }
}

function parseIssuer(message: IssuerMessage, before: Issuer | undefined): Issuer | readonly string[] {
  const problems: string[] = []
  if (!message.issuer || message.issuer.length > SNAPSHOT_LIMITS.text)
    problems.push('issuer: must be 1 to 512 characters')
  if (message.source.length > REVOCATION_LIMITS.source)
    problems.push(`source: must be at most ${REVOCATION_LIMITS.source} characters`)
  if (message.skewS > SNAPSHOT_LIMITS.skewS) problems.push(`skew_s: must be at most ${SNAPSHOT_LIMITS.skewS}`)
  const named = message.algorithms.map((name) => algorithmNamed(name))
  const algorithms = new Set(named.filter((name) => name !== undefined))
  if (named.length === 0 || named.includes(undefined))
    problems.push('algorithms: must name known asymmetric algorithms')
  const tenant = parseTenant(message.tenant)
  if (!tenant) problems.push('tenant: must fix one tenant, or name a claim and 1 to 10000 allowed values')
  const { revokedKids } = message
  if (revokedKids.length > REVOKED_KIDS || revokedKids.some((kid) => kid.length > SNAPSHOT_LIMITS.text))
    problems.push(
      `revoked_kids: must be at most ${REVOKED_KIDS} of at most ${SNAPSHOT_LIMITS.text} characters`,
    )
  const { legacyTypUntilMs: legacyTypUntil, firstPartyClients } = message
  if (firstPartyClients.length > SNAPSHOT_LIMITS.clients)
    problems.push(`first_party_clients: must be at most ${SNAPSHOT_LIMITS.clients}`)
  const introspection = parseIntrospection(message.introspection, problems)
  const exchange = parseExchange(message.exchange, problems)
  const keys = parseKeys(message, algorithms, before)
  if (typeof keys === 'string') problems.push(`keys.jwks: ${keys}`)
  if (!tenant || typeof keys === 'string' || problems.length > 0) return problems
  const { issuer, source, skewS } = message
  return {
    ...{ issuer, source, algorithms, skewS, tenant, keys, legacyTypUntil, introspection, exchange },
    firstPartyClients: new Set(firstPartyClients),
    client: message.client,
  }
}

function parseTenant(tenant: IssuerMessage['tenant']): TenantRule | undefined {
  if (tenant?.$case === 'fixedTenant') {
    return tenant.fixedTenant ? { kind: 'fixed', tenant: tenant.fixedTenant } : undefined
  }
  if (tenant?.$case !== 'tenantClaim') return undefined
  const { claim, allowed } = tenant.tenantClaim
  if (!claim || allowed.length === 0 || allowed.length > SNAPSHOT_LIMITS.tenants || allowed.includes(''))
    return undefined
  return { kind: 'claim', claim, allowed: new Set(allowed) }
}

// An unchanged document keeps its imported keys: importing costs far more than a decision.
function parseKeys(
  message: IssuerMessage,
  algorithms: ReadonlySet<Algorithm>,
  before: Issuer | undefined,
): KeySet | string {
  const document = message.keys?.jwks ?? Buffer.alloc(0)
  const notAfter = message.keys?.notAfterMs || Number.POSITIVE_INFINITY
  const refreshable = message.keys?.refreshable ?? false
  const terms = { notAfter, refreshable, revokedKids: new Set(message.revokedKids) }
  const old = before?.keys
  if (old?.document.equals(document) && before && sameMembers(before.algorithms, algorithms)) {
    return { ...old, ...terms }
  }
  if (document.length === 0) return { ...terms, byKid: new Map(), weakKids: new Set(), document }
  if (document.length > JWKS_LIMITS.bytes) return `larger than ${JWKS_LIMITS.bytes} bytes`
  const parsed = parseJwks(document, algorithms)
  if (!parsed.ok) return parsed.why
  const weakKids = new Set(parsed.refused.filter((key) => key.weak && key.kid).map((key) => key.kid))
  return { ...terms, byKid: Map.groupBy(parsed.keys, (key) => key.kid), weakKids, document }
}

function sameMembers<T>(one: ReadonlySet<T>, other: ReadonlySet<T>): boolean {
  return one.size === other.size && one.isSubsetOf(other)
}
