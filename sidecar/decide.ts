import { type Decision, type Denial, denied, deny, MEANING, type Meaning } from './decision.ts'
import type { Judge } from './policy/judge.ts'
import { Fault, type Now } from './ports.ts'
import type { Principal } from './principal.ts'
import type { CheckRequest, Moment } from './request.ts'
import type { Admitted } from './token/admit.ts'
import type { Bind, BoundToken } from './token/binding.ts'
import type { Confirm, Occasion } from './token/confirm.ts'
import type { Presented } from './token/credentials.ts'
import { hasEnded } from './token/evidence.ts'
import type { Spend } from './token/spend.ts'
import type { Verified, Verify } from './token/verify.ts'
import { lapsed } from './trust/lease.ts'
import type { Snapshot } from './trust/snapshot.ts'

/** The steps of one check, in order. Each takes what only its predecessor makes. */
export interface Steps {
  /** Read before each look and after it: what was waited for took time, and a question is answered by the time that it is then. */
  readonly wall: Now
  readonly current: (at: Moment) => Snapshot | Denial
  readonly present: (request: CheckRequest) => Presented | Denial
  readonly verify: Verify
  /** Asks the token's issuer where that is owed, and else hands on what `verify` said. */
  readonly confirm: Confirm
  readonly bind: Bind
  readonly standing: (bound: BoundToken, trust: Snapshot, at: Moment) => Principal | Denial
  readonly admit: (who: Principal, trust: Snapshot, action: string, at: Moment) => Admitted | Denial
  readonly spend: Spend
  readonly judge: Judge
  /** A nonce for the next proof (RFC 9449 section 9). */
  readonly nonce: (at: Moment) => string
  /** Told of every breakage, for the log. */
  readonly broke: (fault: Fault) => void
}

/** The one who waits for the answer. */
export interface Caller {
  /** Why nobody waits any more. */
  gone(): 'cancelled' | 'deadline' | undefined
  /** Aborts when nobody waits any more. Made on first use: most checks wait for nothing. */
  signal(): AbortSignal
}

/** A decision and what it was based on, as far as the check got. */
export interface Outcome {
  readonly decision: Decision
  readonly principal: Principal | undefined
  readonly trust: Snapshot | undefined
  /** Of the credential, when there was one. */
  readonly scheme?: Presented['scheme'] | undefined
  /** The nonce that the caller's next proof needs. */
  readonly nonce?: string | undefined
}

export type Decide = (request: CheckRequest, caller: Caller) => Promise<Outcome>

/** The whole authorization of one request, top to bottom. Whatever breaks on the way, the answer is no. */
export function createDecide(steps: Steps): Decide {
  const establish = createEstablish(steps)
  const { doubt, ended, fallen, overtaken } = createSecondLook(steps)
  return async (request, caller) => {
    const progress: Progress = { ...NOTHING_YET }
    let at = steps.wall()
    const conclude = (decision: Decision): Outcome => {
      const { nonced, spent: _, ...known } = progress
      return owesNonce(decision, nonced)
        ? { decision, ...known, nonce: steps.nonce(at) }
        : { decision, ...known }
    }
    try {
      let established = await establish(request, at, caller, progress)
      at = steps.wall()
      // Beliefs that were replaced while we waited have said nothing: all of it once more under those of now.
      for (let looks = 1; looks < MOST_LOOKS && !caller.gone() && overtaken(progress.trust, at); looks++) {
        established = await establish(request, at, caller, progress)
        at = steps.wall()
      }
      if (denied(established)) return conclude(established)

      const { trust, looked, bound, admitted, epoch } = established
      const decision = doubt(trust, request.action, at) ?? steps.judge(admitted, request, trust, at)
      const late =
        fallen(bound, trust, at, epoch) ?? doubt(trust, request.action, at) ?? ended(bound, looked, at)
      // A caller that has given up is never told yes.
      const gone = caller.gone()
      return conclude(gone ? deny(gone) : (late ?? decision))
    } catch (cause) {
      const fault = Fault.from(cause)
      steps.broke(fault)
      return conclude(deny(caller.gone() ?? fault.code))
    }
  }
}

/** How often one question is looked at while beliefs are replaced meanwhile; after that nobody knows. */
const MOST_LOOKS = 3

/** How far a check got, for whoever tells about it. */
interface Progress {
  trust: Snapshot | undefined
  principal: Principal | undefined
  scheme: Presented['scheme'] | undefined
  /** Whether the proof carried a nonce of ours: its sender then gets the next one (RFC 9449 section 8.2). */
  nonced: boolean
  /** Whether its proof was used up, which happens once. */
  spent: boolean
}

const NOTHING_YET: Progress = Object.freeze({
  trust: undefined,
  principal: undefined,
  scheme: undefined,
  nonced: false,
  spent: false,
})

/** Who asks, and with what: all that must be known before a rule is asked. */
interface Established {
  readonly trust: Snapshot
  /** When it was looked at. */
  readonly looked: Moment
  readonly bound: BoundToken
  /** Of the revocations that `standing` looked at. */
  readonly epoch: number
  readonly admitted: Admitted
}

function createEstablish(steps: Steps) {
  return async (
    request: CheckRequest,
    at: Moment,
    caller: Caller,
    progress: Progress,
  ): Promise<Established | Denial> => {
    const trust = steps.current(at)
    if (denied(trust)) return trust
    progress.trust = trust
    progress.principal = undefined

    const presented = steps.present(request)
    if (denied(presented)) return presented
    progress.scheme = presented.scheme

    const occasion = { trust, at, action: request.action, signal: caller.signal }
    const verified = believe(steps, presented, occasion)
    const token = verified instanceof Promise ? await verified : verified
    if (denied(token)) return deny(caller.gone() ?? token.reason)

    const asked = { request, trust, at }
    const bound = steps.bind(token, presented, asked)
    if (denied(bound)) return bound
    progress.nonced = isNonced(bound)

    const { epoch } = trust.revocations
    const principal = steps.standing(bound, trust, at)
    if (denied(principal)) return principal
    progress.principal = principal

    const admitted = steps.admit(principal, trust, request.action, at)
    if (denied(admitted)) return admitted

    // Last of all: what is refused for any other reason uses no proof up.
    const spending = spendOnce(() => steps.spend(admitted, bound, asked, caller.signal), progress, admitted)
    const spent = spending instanceof Promise ? await spending : spending
    if (denied(spent)) return deny(caller.gone() ?? spent.reason)
    progress.spent = true
    return { trust, looked: at, bound, epoch, admitted: spent }
  }
}

// A question that is looked at again has used its proof up.
function spendOnce(
  spend: () => ReturnType<Spend>,
  { spent }: Progress,
  admitted: Admitted,
): ReturnType<Spend> {
  return spent ? admitted : spend()
}

function isNonced({ proof }: BoundToken): boolean {
  return proof?.nonced ?? false
}

function owesNonce(decision: Decision, nonced: boolean): boolean {
  if (!denied(decision)) return nonced
  const { error }: Meaning = MEANING[decision.reason]
  return error === 'use_dpop_nonce'
}

// By ourselves, and by its issuer where that is owed. Costs no turn of the event loop where nothing has to be waited for.
function believe(steps: Steps, presented: Presented, occasion: Occasion): Verified | Promise<Verified> {
  const { trust, at, signal } = occasion
  const local = steps.verify(presented, trust, at, signal)
  return local instanceof Promise
    ? local.then((verified) => steps.confirm(verified, presented, occasion))
    : steps.confirm(local, presented, occasion)
}

/** What is looked at again at the very end of a check: whatever was withdrawn meanwhile is withdrawn. */
function createSecondLook(steps: Steps) {
  return {
    /** Whether other beliefs than these are in use by now. The same ones with more time to their keys are no others. */
    overtaken(trust: Snapshot | undefined, at: Moment): boolean {
      const now = steps.current(at)
      return trust !== undefined && !denied(now) && now.generation !== trust.generation
    },
    /** Why we cannot know: everything is withheld by now, or other beliefs are in use, or we may have missed a revocation. */
    doubt(trust: Snapshot, action: string, at: Moment): Denial | undefined {
      const now = steps.current(at)
      if (denied(now)) return now
      if (now.generation !== trust.generation) return deny('not_ready')
      return lapsed(trust, action, at) ? deny('revocation_stale') : undefined
    },
    /** Whether a revocation that arrived since `epoch` meets this token. */
    fallen(bound: BoundToken, trust: Snapshot, at: Moment, epoch: number): Denial | undefined {
      if (trust.revocations.epoch === epoch) return undefined
      const still = steps.standing(bound, trust, at)
      return denied(still) ? still : undefined
    },
    /** Whether its time has run out since it was looked at. */
    ended({ token }: BoundToken, looked: Moment, at: Moment): Denial | undefined {
      const over = at > looked && hasEnded(token.claims, token.issuer, Math.floor(at / 1000))
      return over ? deny('expired') : undefined
    },
  }
}
