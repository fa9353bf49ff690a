import { type Allowance, bothOf, type Decision, type Denial, denied, denyByRules } from '../decision.ts'
import { Fault, type OptionalMember, POLICY_REASONS, type PolicyModule, type Verdict } from '../ports.ts'
import type { Principal } from '../principal.ts'
import type { CheckRequest, Moment, StoredFacts } from '../request.ts'
import { type Admitted, isAdmitted } from '../token/admit.ts'
import { isPrincipal } from '../token/standing.ts'
import type { Snapshot } from '../trust/snapshot.ts'

export type Judge = (admitted: Admitted, request: CheckRequest, trust: Snapshot, at: Moment) => Decision

/**
 * Floor AND application. The floor (tenant isolation, ownership of writes, scope) is ours and is asked first and always; an
 * application's module, which may be opaque, can only narrow what the floor left open. The only maker of an Allowance.
 */
export function createJudge(floorModule: PolicyModule): Judge {
  const floor = remembering(floorModule)
  return (admitted, request, trust, at) => {
    if (!isAdmitted(admitted, request.action))
      throw new Fault('internal', 'a decision was asked for a token that nobody admitted to this action')
    const who = admitted.principal
    if (!isPrincipal(who))
      throw new Fault('internal', 'a decision was asked for a caller that nobody recognised')
    const isolation = floor(floorInput(who, request))
    if (isolation.deny.some(({ hide }) => hide)) return refusal(isolation.deny)

    // Asked even when the floor has refused: only the application knows whether the resource's existence is to be hidden.
    const application = trust.policy.evaluate(applicationInput(trust.policy, who, request, at))
    if (isolation.effect === 'allow' && application.effect === 'allow')
      return new Permission(who, application.allow)
    return refusal([...isolation.deny, ...application.deny])
  }
}

/** True only for what a judge returned: a private field cannot be forged by a cast or from outside this file. */
export function isAllowance(decision: Decision): decision is Allowance {
  return !denied(decision) && Permission.made(decision)
}

class Permission implements Allowance {
  readonly #made = true
  readonly kind = 'allow'
  readonly principal: Principal
  readonly ruleIds: readonly string[]
  constructor(principal: Principal, ruleIds: readonly string[]) {
    this.principal = principal
    this.ruleIds = ruleIds
  }
  static made(value: object): boolean {
    return #made in value
  }
}

function refusal(deny: Verdict['deny']): Denial {
  const reason = POLICY_REASONS.find((one) => deny.some((rule) => rule.reason === one)) ?? 'policy_denied'
  const ruleIds = deny.map(({ rule }) => rule)
  const hidden = deny.some(({ hide }) => hide)
  const [first, ...others] = reason === 'step_up_required' ? deny.flatMap(({ stepUp }) => stepUp ?? []) : []
  return denyByRules(reason, ruleIds, hidden, first && others.reduce(bothOf, first))
}

const REMEMBERED = 1024

/**
 * The floor never changes while the program runs and sees no time, so its verdict is a pure function of the few facts it reads.
 * Emptied when full: what repeats comes back at once.
 */
function remembering(floor: PolicyModule): (inputJson: string) => Verdict {
  const verdicts = new Map<string, Verdict>()
  return (inputJson) => {
    const known = verdicts.get(inputJson)
    if (known) return known
    const verdict = floor.evaluate(inputJson)
    if (verdicts.size >= REMEMBERED) verdicts.clear()
    verdicts.set(inputJson, verdict)
    return verdict
  }
}

// Only what the floor reads. Unset fields of the wire are absent for a policy: a missing tenant or owner must not equal an
// empty one.
function floorInput(who: Principal, { action, stored: { tenant, owner } }: CheckRequest): string {
  return JSON.stringify({
    action,
    subject: { id: who.subject, tenant: who.tenant, scopes: who.scopes },
    resource: { stored: { tenant: tenant || undefined, owner: owner || undefined } },
  })
}

// The claims go in as the text that was signed and strictly parsed: no second serialisation can change what they say.
function applicationInput(policy: PolicyModule, who: Principal, request: CheckRequest, at: Moment): string {
  const { action, stored, sent, method, url } = request
  const token = policy.reads('token') ? `"token":${who.claimsJson},` : ''
  const rest = JSON.stringify({
    version: 1,
    now: Math.floor(at / 1000),
    subject: subjectOf(policy, who),
    authorization_details: policy.reads('authorization_details') ? who.authorizationDetails : undefined,
    action,
    http: policy.reads('http') ? { method, url } : undefined,
    resource: { stored: storedFacts(stored), request: sent },
  })
  return `{${token}${rest.slice(1)}`
}

// What the token does not say stays undefined, so that a rule about it holds for nobody.
function subjectOf(policy: PolicyModule, who: Principal): object {
  const read = <T>(member: OptionalMember, value: T) => (policy.reads(member) ? value : undefined)
  return {
    id: who.subject,
    tenant: who.tenant,
    kind: who.kind,
    client_id: who.clientId,
    issuer: who.issuer,
    roles: who.roles,
    scopes: who.scopes,
    acr: read('subject.acr', who.acr),
    auth_time: read('subject.auth_time', who.authTime),
    amr: read('subject.amr', who.amr),
    confirmation: read('subject.confirmation', who.confirmation),
    ...actorsOf(policy, who),
  }
}

// RFC 8693 section 4.1: only the current actor may decide anything; those before it have a name that says so.
function actorsOf(policy: PolicyModule, { actors, issuer }: Principal): object {
  if (actors.length === 0) return {}
  const [actor, ...former_actors] = actors.map((one) => ({ id: one.subject, issuer: one.issuer ?? issuer }))
  return {
    ...(policy.reads('subject.actor') ? { actor } : {}),
    ...(policy.reads('subject.former_actors') ? { former_actors } : {}),
  }
}

function storedFacts({ type, id, tenant, owner, attributes }: StoredFacts): object {
  return {
    type: type || undefined,
    id: id || undefined,
    tenant: tenant || undefined,
    owner: owner || undefined,
    attributes,
  }
}
