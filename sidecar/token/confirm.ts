import { type Denial, denied, deny } from '../decision.ts'
import type { Moment } from '../request.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import type { Presented } from './credentials.ts'
import type { Introspect } from './introspection.ts'
import { confirmed, opaqueToken } from './introspection-answer.ts'
import type { Verified, VerifiedToken } from './verify.ts'

/** For which question a token is looked at. */
export interface Occasion {
  readonly trust: Snapshot
  readonly at: Moment
  readonly action: string
  readonly signal: () => AbortSignal
}

/** What is believed of a token after its issuer was asked, where that is owed; else what local verification said. */
export type Confirm = (
  local: Verified,
  presented: Pick<Presented, 'token'>,
  occasion: Occasion,
) => Verified | Promise<Verified>

/** Issuers that one opaque token is shown to. */
export const MOST_ASKED = 8
const MAX_OPAQUE_BYTES = 4 * 1024

/**
 * Where a route wants it, a token that passed local verification must be active at its issuer as well: both or nothing. A token that is no JWT
 * has only its issuer to speak for it, and is refused where no issuer is asked about such tokens.
 */
export function createConfirm(introspect: Introspect): Confirm {
  return (local, presented, occasion) => {
    if (denied(local)) {
      return local.reason === 'token_format' && isOpaque(presented.token)
        ? askAboutOpaque(introspect, presented.token, occasion)
        : local
    }
    const owed = occasion.trust.tokens.requirements(occasion.action).introspect
    return owed ? askAboutToo(introspect, local, presented.token, occasion) : local
  }
}

/**
 * Two or four dots are a JWS or a JWE, a brace is the JSON serialization: what looks like one and is none was refused, and its issuer is not
 * asked to read it more generously; neither is what has the header of one anywhere between its dots. The rest must be a `token68`
 * (RFC 6750 section 2.1).
 */
function isOpaque(token: Buffer): boolean {
  if (token.length === 0 || token.length > MAX_OPAQUE_BYTES) return false
  const text = token.toString('latin1')
  const parts = text.split('.')
  const dots = parts.length - 1
  return dots !== 2 && dots !== 4 && /^[A-Za-z0-9\-._~+/]+=*$/.test(text) && !parts.some(isJoseHeader)
}

// RFC 7515 section 4.1.1: each has `alg`.
function isJoseHeader(part: string): boolean {
  const text = Buffer.from(part, 'base64url').toString('latin1')
  return text.trimStart().startsWith('{') && text.includes('"alg"')
}

async function askAboutToo(
  introspect: Introspect,
  local: VerifiedToken,
  token: Buffer,
  { trust, at, signal }: Occasion,
): Promise<Verified> {
  const { issuer } = local
  // A route that wants it and an issuer that cannot be asked: never local verification alone.
  if (!issuer.introspection) return deny('introspection_unavailable')
  const about = {
    token,
    issuer,
    introspection: issuer.introspection,
    trust,
    at,
    fresh: true,
    unproven: false,
  }
  const answer = await introspect(about, signal())
  return denied(answer) ? answer : confirmed(local, answer, { trust, at })
}

/**
 * An opaque token names no issuer. Where one issuer is asked about such tokens, it is that one; where several are, each in turn until one
 * knows it, so that each of them gets to see tokens of those before it.
 */
async function askAboutOpaque(
  introspect: Introspect,
  token: Buffer,
  { trust, at, action, signal }: Occasion,
): Promise<Verified> {
  const fresh = trust.tokens.requirements(action).introspect
  const refusals: Denial[] = []
  for (const issuer of askedAboutOpaque(trust)) {
    const { introspection } = issuer
    if (!introspection) continue
    const about = { token, issuer, introspection, trust, at, fresh, unproven: true }
    const answer = await introspect(about, signal())
    if (!denied(answer)) return opaqueToken(token, answer, { issuer, trust, at })
    refusals.push(answer)
    if (signal().aborted) break
  }
  // Only if every one of them has said that it does not know it, we know that it is worth nothing.
  const unknown = refusals.find(({ reason }) => reason !== 'introspection_inactive')
  return unknown ?? refusals[0] ?? deny('token_format')
}

function askedAboutOpaque({ issuers }: Snapshot): readonly Issuer[] {
  // A client speaks for itself alone, and issues no tokens.
  const asked = [...issuers.values()].filter(({ client, introspection }) => !client && introspection?.opaque)
  return asked.slice(0, MOST_ASKED)
}
