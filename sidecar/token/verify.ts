import type { VerificationKey } from '../../contracts/jwks.ts'
import type { JoseHeader } from '../../contracts/jws.ts'
import { type Denial, denied, deny, type Reason } from '../decision.ts'
import type { JsonObject, Moment } from '../request.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import type { KnownToken } from './cache.ts'
import { CHECKS_AFTER_KEY, CHECKS_BEFORE_KEY, EVERY_CHECK, make } from './checks.ts'
import type { Presented } from './credentials.ts'
import {
  type Check,
  type Evidence,
  type Expected,
  type KeyedEvidence,
  NOTHING_EXPECTED,
  type Profile,
  type ProfileName,
} from './evidence.ts'
import { type HeaderMemo, type ParsedJwt, parseJwt, rememberHeader } from './jwt.ts'
import { PROFILES } from './profiles.ts'

/** A token of a believed issuer that passed every check of one profile. Made here only. */
export interface ProvenToken<Name extends ProfileName = ProfileName> {
  readonly profile: Name
  readonly claims: JsonObject
  /** The claims as their issuer stated them: strict JSON text. */
  readonly claimsJson: string
  /** Key that signed it; empty for a token that its issuer was asked about. */
  readonly kid: string
  readonly issuer: Issuer
  readonly [proven]: true
}
declare const proven: unique symbol

/** An access token: the only kind that gives access. */
export type VerifiedToken = ProvenToken<'access_token'>

/** The token that its issuer calls active, with the claims of its answer; for token/introspection-answer.ts, which has checked them. */
export function vouchedByIssuer(
  answer: Pick<VerifiedToken, 'claims' | 'claimsJson' | 'issuer'>,
): VerifiedToken {
  return { ...answer, profile: 'access_token', kid: '' } as VerifiedToken
}

/** Finds the key, waiting for a refresh of the issuer's set if its `kid` is new. */
export type FindKey = (
  issuer: Issuer,
  header: JoseHeader,
  at: Moment,
  signal: () => AbortSignal,
) => VerificationKey | Denial | Promise<VerificationKey | Denial>

/** One token, and what it is to be. */
export interface Inquiry<Name extends ProfileName = ProfileName> {
  readonly token: Buffer
  readonly profile: Profile & { readonly name: Name }
  readonly expected: Expected
  readonly trust: Snapshot
  readonly at: Moment
  readonly signal: () => AbortSignal
}
export type Proven<Name extends ProfileName> = ProvenToken<Name> | Denial
export type Prove = <Name extends ProfileName>(inquiry: Inquiry<Name>) => Proven<Name> | Promise<Proven<Name>>

export type Verify = (
  presented: Presented,
  trust: Snapshot,
  at: Moment,
  signal: () => AbortSignal,
) => Verified | Promise<Verified>
export type Verified = VerifiedToken | Denial

export interface ChecksTable {
  readonly beforeKey: readonly Check<Evidence>[]
  readonly afterKey: readonly Check<KeyedEvidence>[]
}
const ALL_CHECKS: ChecksTable = { beforeKey: CHECKS_BEFORE_KEY, afterKey: CHECKS_AFTER_KEY }

/** Verification of what a request presented: an RFC 9068 access token. Opaque tokens are refused until introspection is served. */
export function createVerify(prove: Prove): Verify {
  const { access_token: profile } = PROFILES
  return ({ token }, trust, at, signal) =>
    prove({ token, profile, expected: NOTHING_EXPECTED, trust, at, signal })
}

/** A proven token with what proved it. */
export interface Proof<Name extends ProfileName = ProfileName> {
  readonly token: ProvenToken<Name>
  readonly jwt: ParsedJwt
  readonly key: VerificationKey
}
/** `known`: what an earlier proof of the very same bytes has shown, and what need not be shown again. */
export type ProveInFull = <Name extends ProfileName>(
  inquiry: Inquiry<Name>,
  known?: KnownToken,
) => Proof<Name> | Denial | Promise<Proof<Name> | Denial>

/** The one verifier of signed tokens, whatever their profile. */
export function createProve(findKey: FindKey, checks: ChecksTable = ALL_CHECKS): ProveInFull {
  const memo = createHeaderMemo()
  return <Name extends ProfileName>(inquiry: Inquiry<Name>, known?: KnownToken) => {
    const { token, profile, expected, trust, at, signal } = inquiry
    const jwt = known ? known.jwt : parseJwt(token, memo)
    if (denied(jwt)) return jwt
    const issuer = believedIssuer(jwt, trust)
    if (typeof issuer === 'string') return deny(issuer)

    const vouched = known?.key
    const evidence = { jwt, profile, expected, issuer, trust, atS: Math.floor(at / 1000), vouched }
    const early = make(checks.beforeKey, evidence)
    if (typeof early === 'string') return deny(early)

    const judgeWith = (key: VerificationKey | Denial): Proof<Name> | Denial => {
      if (denied(key)) return key
      const late = make(checks.afterKey, { ...evidence, key })
      if (typeof late === 'string') return deny(late)
      // Not "none refused" but "each one was made": a check that is left out by mistake vouches for nothing.
      if ((early | late) !== EVERY_CHECK) return deny('internal')
      rememberHeader(jwt, memo)
      const { claims, claimsJson, header } = jwt
      const shown = { profile: profile.name, claims, claimsJson, kid: header.kid, issuer }
      return { token: shown as ProvenToken<Name>, jwt, key }
    }
    // A known key, which is nearly always, costs no turn of the event loop.
    const found = findKey(issuer, jwt.header, at, signal)
    return found instanceof Promise ? found.then(judgeWith) : judgeWith(found)
  }
}

/** The same without a memory. */
export function forgetful(proveInFull: ProveInFull): Prove {
  const tokenOf = <Name extends ProfileName>(proof: Proof<Name> | Denial): Proven<Name> =>
    denied(proof) ? proof : proof.token
  return (inquiry) => {
    const proof = proveInFull(inquiry)
    return proof instanceof Promise ? proof.then(tokenOf) : tokenOf(proof)
  }
}

// The unverified `iss` chooses whose keys to try and nothing else (RFC 8725 section 3.8); a Map, so that no name is special.
function believedIssuer(jwt: ParsedJwt, trust: Snapshot): Issuer | Reason {
  const iss = jwt.claims['iss']
  if (iss === undefined) return 'iss_missing'
  return (typeof iss === 'string' && trust.issuers.get(iss)) || 'iss_unknown'
}

const MEMO_ENTRIES = 256

// Emptied when full: real fleets have a handful of headers, and only genuine tokens are kept.
function createHeaderMemo(): HeaderMemo {
  const headers = new Map<string, JoseHeader>()
  return {
    get: (text) => headers.get(text),
    keep: (text, header) => {
      if (headers.size >= MEMO_ENTRIES) headers.clear()
      headers.set(text, header)
    },
  }
}
