import { type Denial, denied, deny, type Reason } from '../decision.ts'
import { Fault, type Now } from '../ports.ts'
import type { JsonObject, Moment } from '../request.ts'
import { lapsed } from '../trust/lease.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import { type Expected, hasEnded, isNumericDate, type ProfileName } from './evidence.ts'
import { PROFILES } from './profiles.ts'
import { LOGOUT_S, type SingleUse } from './single-use.ts'
import { tenantOf } from './tenant.ts'
import type { Prove, ProvenToken } from './verify.ts'

export type TokenKind = ProfileName | 'jwt_svid'

/** A token whose kind the application names. Made in serve/vouch-codec.ts only. */
export interface VouchRequest {
  readonly token: Buffer
  readonly tokenKind: TokenKind
  readonly expected: Expected
  /** How long the caller waits, milliseconds; 0 when it did not say. */
  readonly timeoutMs: number
}

/** What a genuine token says. It is no Principal, and nothing makes it one. */
export interface Vouched {
  readonly tokenKind: TokenKind
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly tenant: string
  readonly claimsJson: string
  readonly kid: string
  readonly jti: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

/** Validates a JWT-SVID of our trust domain for one audience. */
export type ValidateSvid = (
  token: string,
  audience: string,
  at: Moment,
) =>
  | { readonly ok: true; readonly spiffeId: string; readonly claims: JsonObject }
  | { readonly ok: false; readonly reason: Reason }

export interface VouchSteps {
  /** Read before each look and after it, as in decide.ts. */
  readonly wall: Now
  readonly current: (at: Moment) => Snapshot | Denial
  readonly prove: Prove
  readonly once: SingleUse
  /** `undefined`: this sidecar has no identity, and knows no keys of a trust domain. */
  readonly svid: ValidateSvid | undefined
  readonly broke: (fault: Fault) => void
}

/** The one who waits for the answer. */
export interface Waiting {
  gone(): 'cancelled' | 'deadline' | undefined
  signal(): AbortSignal
}

export interface VouchOutcome {
  readonly outcome: Vouched | Denial
  readonly trust: Snapshot | undefined
}
export type Vouch = (request: VouchRequest, caller: Waiting) => Promise<VouchOutcome>

/** How an AccessPolicy names this question, should its revocation lease differ, or all replicas have to know what was used once. */
const ACTION = 'token:verify'

/** Whether a token is what the application takes it for, top to bottom. Whatever breaks on the way, the answer is no. */
export function createVouch(steps: VouchSteps): Vouch {
  return async (request, caller) => {
    let trust: Snapshot | undefined
    const progress: Progress = { used: 'not yet' }
    try {
      for (let looks = 0; looks < MOST_LOOKS; looks++) {
        const at = steps.wall()
        const believed = steps.current(at)
        if (denied(believed)) return { outcome: believed, trust }
        trust = believed
        const outcome = await vouchFor(request, { steps, trust, at, caller, progress })
        const now = steps.current(steps.wall())
        if (denied(now)) return { outcome: now, trust }
        const gone = caller.gone()
        if (gone) return { outcome: deny(gone), trust }
        if (outcome !== 'overtaken') return { outcome, trust }
      }
      return { outcome: deny('not_ready'), trust }
    } catch (cause) {
      const fault = Fault.from(cause)
      steps.broke(fault)
      return { outcome: deny(caller.gone() ?? fault.code), trust }
    }
  }
}

/** How often one question is looked at while beliefs are replaced meanwhile; after that nobody knows. */
const MOST_LOOKS = 3

/** Whether a token was used up, which happens once, however often it is looked at; and if every replica knows. */
interface Progress {
  used: 'not yet' | 'here' | 'everywhere'
}

interface Setting {
  readonly progress: Progress
  readonly steps: VouchSteps
  readonly trust: Snapshot
  readonly at: Moment
  readonly caller: Waiting
}

async function vouchFor(request: VouchRequest, setting: Setting): Promise<Vouched | Denial | 'overtaken'> {
  const { token, tokenKind, expected } = request
  const { steps, trust, at, caller } = setting
  if (tokenKind === 'jwt_svid') return vouchForSvid(token, setting)
  const proven = await steps.prove({
    ...{ token, profile: PROFILES[tokenKind], expected, trust, at },
    signal: () => caller.signal(),
  })
  // What was proven under beliefs that were replaced while a key was fetched is proven anew.
  const now = steps.current(steps.wall())
  if (!denied(now) && now.generation !== trust.generation) return 'overtaken'
  if (denied(proven)) return proven
  // Nobody here has seen a proof: whoever holds a bound token may not be the one it was given to (RFC 9449 section 7.2).
  if (tokenKind === 'access_token' && proven.claims['cnf'] !== undefined) return deny('cnf_scheme_mismatch')
  const vouched = readProven(proven, expected)
  if (denied(vouched)) return vouched
  const refusal = withdrawn(vouched, proven, setting)
  if (refusal || !ONCE.has(tokenKind)) return refusal ? deny(refusal) : vouched
  return (await spent(vouched, proven, setting)) ?? vouched
}

function vouchForSvid(token: Buffer, { steps, trust, at }: Setting): Vouched | Denial {
  if (!steps.svid) return deny('jwks_unavailable')
  const validated = steps.svid(token.toString('latin1'), trust.audience, at)
  if (!validated.ok) return deny(validated.reason)
  const { spiffeId, claims } = validated
  return {
    tokenKind: 'jwt_svid',
    issuer: spiffeId.split('/', 3).join('/'),
    subject: spiffeId,
    ...{ clientId: '', tenant: '', kid: '' },
    claimsJson: payloadOf(token),
    jti: textOf(claims['jti']),
    expiresAt: Math.floor(Number(claims['exp'])),
  }
}

function readProven(proven: ProvenToken, { clientId }: Expected): Vouched | Denial {
  const { profile, claims, claimsJson, kid, issuer } = proven
  const tenant = tenantOf(issuer.tenant, claims)
  // What gives no access may leave the tenant out; one that is not its issuer's it may not name.
  const unnamed = tenant === 'claim_missing' && profile !== 'access_token'
  if (typeof tenant === 'string' && !unnamed) return deny(tenant)
  const { exp, iat } = claims
  return {
    tokenKind: profile,
    issuer: issuer.issuer,
    subject: textOf(claims['sub']),
    clientId: clientNamed(profile, claims) || clientId,
    tenant: typeof tenant === 'string' ? '' : tenant.name,
    ...{ claimsJson, kid },
    jti: textOf(claims['jti']),
    // A logout token without an end of its own is over when the longest one would be.
    expiresAt: isNumericDate(exp) ? exp : Number(iat) + LOGOUT_S,
  }
}

function clientNamed(profile: ProfileName, claims: JsonObject): string {
  if (profile === 'client_assertion') return textOf(claims['sub'])
  return profile === 'access_token' ? textOf(claims['client_id'] ?? claims['azp']) : ''
}

// Whoever is to be logged out may well be revoked already: of a logout token only its maker and its key count.
function withdrawn(
  who: Vouched,
  { claims, issuer }: ProvenToken,
  { steps, trust, at }: Setting,
): Reason | undefined {
  const logout = who.tokenKind === 'logout_token'
  const { iat, sid } = claims
  const named = logout ? { ...who, subject: '', clientId: '', tenant: '', jti: '' } : who
  const issuedAt = isNumericDate(iat) ? iat : 0
  const facts = { source: issuer.source, sid: logout ? undefined : sid }
  // In the seconds that are tolerated after its end a token is what it was in its last one (as in token/standing.ts).
  const last = Math.min(at, who.expiresAt * 1000 - 1)
  const revoked = trust.revocations.size > 0 && trust.revocations.against({ ...named, issuedAt }, facts, last)
  if (revoked || lapsed(trust, ACTION, at)) return revoked || 'revocation_stale'
  // What was waited for took time, as in decide.ts.
  const now = steps.wall()
  return now > at && hasEnded(claims, issuer, Math.floor(now / 1000)) ? 'expired' : undefined
}

const ONCE: ReadonlySet<TokenKind> = new Set(['logout_token', 'client_assertion'])

// Last of all, so that a token that is refused for anything else uses nothing up.
async function spent(
  who: Vouched,
  proven: ProvenToken,
  setting: Setting,
): Promise<Denial | 'overtaken' | undefined> {
  const { steps, trust, at, caller, progress } = setting
  const { issuer, jti } = who
  const until = (who.expiresAt + proven.issuer.skewS + 1) * 1000
  const { sharedReplay: everywhere } = trust.tokens.requirements(ACTION)
  if (progress.used !== 'not yet')
    return everywhere && progress.used === 'here' ? deny('not_ready') : undefined
  const use = await steps.once.spend(
    { audience: trust.audience, source: proven.issuer.source, issuer, jti, until, at, everywhere },
    () => caller.signal(),
  )
  if (use !== 'fresh') return deny(use === 'seen' ? 'revoked_jti' : 'replay_store_unavailable')
  progress.used = everywhere ? 'everywhere' : 'here'
  const now = steps.current(steps.wall())
  if (!denied(now) && now.generation !== trust.generation) return 'overtaken'
  const late = withdrawn(who, proven, setting)
  return late ? deny(late) : undefined
}

function payloadOf(token: Buffer): string {
  const [, payload = ''] = token.toString('latin1').split('.')
  return Buffer.from(payload, 'base64url').toString('utf8')
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
