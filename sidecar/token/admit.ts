import { type Denial, deny, type Reason } from '../decision.ts'
import type { Principal, Sayings } from '../principal.ts'
import type { Moment } from '../request.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import type { Requirements } from '../trust/token-rules.ts'

/** A principal whose token brings what one action asks of tokens. Made here only, and good for that action only. */
export interface Admitted {
  readonly principal: Principal
  readonly action: string
}

/** What a requirement may look at. */
interface Claimant {
  readonly who: Sayings
  readonly asked: Requirements
  readonly trust: AdmitTrust
  /** Whole seconds since the epoch. */
  readonly atS: number
}
type AdmitTrust = Pick<Snapshot, 'tokens' | 'issuers'>

interface Requirement {
  readonly name: string
  readonly refusal: (claimant: Claimant) => Reason | undefined
}

/**
 * What tokens must bring, by route, in the order in which it is told. Of the closed list of reasons:
 * - a token that is too old for the route is `expired`: the remedy is the same, another token (401);
 * - the wrong kind of client, and a third party with a scope that is not for third parties, are `policy_denied` (403): no scope that
 *   could be asked for would help, so `insufficient_scope` and its challenge would send the caller in circles.
 */
const REQUIREMENTS: readonly Requirement[] = [
  { name: 'sender constraint', refusal: ({ who, asked }) => unbound(who, asked) },
  { name: 'token age', refusal: tooOld },
  { name: 'client kind', refusal: ({ who, asked }) => wrongKind(who, asked) },
  { name: 'first-party scopes', refusal: thirdParty },
  { name: 'authentication', refusal: tooWeak },
]

/** Does this token bring what the route asks of tokens, before any rule is asked? */
export function admit(
  principal: Principal,
  trust: AdmitTrust,
  action: string,
  at: Moment,
): Admitted | Denial {
  return lacking(principal, trust, action, at) ?? new Admission(principal, action)
}

/** Why what a token says does not do for this action; `undefined` when it does. */
export function lacking(who: Sayings, trust: AdmitTrust, action: string, at: Moment): Denial | undefined {
  const asked = trust.tokens.requirements(action)
  const claimant = { who, asked, trust, atS: Math.floor(at / 1000) }
  for (const { refusal } of REQUIREMENTS) {
    const reason = refusal(claimant)
    if (reason) return deny(reason)
  }
  return undefined
}

/** True only for what `admit` returned for this action: a private field cannot be forged by a cast or from outside this file. */
export function isAdmitted(value: unknown, action: string): value is Admitted {
  return Admission.made(value) && (value as Admitted).action === action
}

class Admission implements Admitted {
  readonly #made = true
  readonly principal: Principal
  readonly action: string
  constructor(principal: Principal, action: string) {
    this.principal = principal
    this.action = action
  }
  static made(value: unknown): boolean {
    return typeof value === 'object' && value !== null && #made in value
  }
}

// Whoever steals a bearer token has all of it (RFC 6750 section 5.3), whatever its scopes.
function unbound({ confirmation }: Sayings, { senderConstraints }: Requirements): Reason | undefined {
  if (senderConstraints.size === 0) return undefined
  return confirmation !== 'bearer' && senderConstraints.has(confirmation) ? undefined : 'cnf_required'
}

function tooOld({ who, asked, atS }: Claimant): Reason | undefined {
  return asked.maxTokenAgeS > 0 && atS - who.issuedAt > asked.maxTokenAgeS ? 'expired' : undefined
}

function wrongKind({ kind }: Sayings, { clientKind }: Requirements): Reason | undefined {
  return clientKind === 'any' || clientKind === kind ? undefined : 'policy_denied'
}

function thirdParty({ who, trust }: Claimant): Reason | undefined {
  const { firstPartyOnly } = trust.tokens
  if (!who.scopes.some(firstPartyOnly)) return undefined
  return trust.issuers.get(who.issuer)?.firstPartyClients.has(who.clientId) ? undefined : 'policy_denied'
}

// RFC 9470 sections 3 and 4. A moment of authentication that lies ahead of us by more than clocks differ says nothing.
function tooWeak({ who, asked, trust, atS }: Claimant): Reason | undefined {
  const { acrValues, maxAuthAgeS } = asked
  if (acrValues.length > 0 && (who.acr === undefined || !acrValues.includes(who.acr)))
    return 'step_up_required'
  if (maxAuthAgeS === 0) return undefined
  const { authTime } = who
  const skewS = trust.issuers.get(who.issuer)?.skewS ?? 0
  if (authTime === undefined || authTime > atS + skewS) return 'step_up_required'
  return atS - authTime > maxAuthAgeS ? 'step_up_required' : undefined
}
