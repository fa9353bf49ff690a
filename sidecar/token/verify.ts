import type { VerificationKey } from '../../contracts/jwks.ts'
import { type Denial, denied, deny, type Reason } from '../decision.ts'
import type { JsonObject, Moment } from '../request.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import {
  CHECKS_AFTER_KEY,
  CHECKS_BEFORE_KEY,
  type Check,
  type Evidence,
  type KeyedEvidence,
} from './checks.ts'
import type { Presented } from './credentials.ts'
import { type HeaderMemo, type JoseHeader, type ParsedJwt, parseJwt, rememberHeader } from './jwt.ts'

/** A token of a believed issuer that passed every check. Made here only. */
export interface VerifiedToken {
  readonly claims: JsonObject
  /** The claims as their issuer stated them: strict JSON text. */
  readonly claimsJson: string
  /** Key that signed it; empty for a token that its issuer was asked about. */
  readonly kid: string
  readonly issuer: Issuer
  readonly [verified]: true
}
declare const verified: unique symbol

/** Finds the key, waiting for a refresh of the issuer's set if its `kid` is new. */
export type FindKey = (
  issuer: Issuer,
  header: JoseHeader,
  at: Moment,
  signal: () => AbortSignal,
) => VerificationKey | Denial | Promise<VerificationKey | Denial>

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

/** Local verification of an RFC 9068 access token. Opaque tokens are refused until introspection is served. */
export function createVerify(findKey: FindKey, checks: ChecksTable = ALL_CHECKS): Verify {
  const memo = createHeaderMemo()
  return (presented, trust, at, signal) => {
    const jwt = parseJwt(presented.token, memo)
    if (denied(jwt)) return jwt
    const issuer = believedIssuer(jwt, trust)
    if (typeof issuer === 'string') return deny(issuer)

    const evidence = { jwt, issuer, trust, atS: Math.floor(at / 1000) }
    const early = firstRefusal(checks.beforeKey, evidence)
    if (early) return deny(early)

    const judgeWith = (key: VerificationKey | Denial): Verified => {
      if (denied(key)) return key
      const late = firstRefusal(checks.afterKey, { ...evidence, key })
      if (late) return deny(late)
      rememberHeader(jwt, memo)
      const { claims, claimsJson, header } = jwt
      return { claims, claimsJson, kid: header.kid, issuer } as VerifiedToken
    }
    // A known key, which is nearly always, costs no turn of the event loop.
    const found = findKey(issuer, jwt.header, at, signal)
    return found instanceof Promise ? found.then(judgeWith) : judgeWith(found)
  }
}

// The unverified `iss` chooses whose keys to try and nothing else (RFC 8725 section 3.8); a Map, so that no name is special.
function believedIssuer(jwt: ParsedJwt, trust: Snapshot): Issuer | Reason {
  const iss = jwt.claims['iss']
  if (iss === undefined) return 'iss_missing'
  return (typeof iss === 'string' && trust.issuers.get(iss)) || 'iss_unknown'
}

function firstRefusal<E>(checks: readonly Check<E>[], evidence: E): Reason | undefined {
  for (const check of checks) {
    const reason = check.refusal(evidence)
    if (reason) return reason
  }
  return undefined
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
