import { hash } from 'node:crypto'
import { type Denial, deny } from '../decision.ts'
import type { Monotonic } from '../ports.ts'
import type { JsonObject, Moment } from '../request.ts'
import type { AskEndpoint, EndpointAnswer, Introspection } from '../trust/endpoint.ts'
import type { Issuer, Snapshot } from '../trust/snapshot.ts'
import { type IntrospectionAnswer, readAnswer } from './introspection-answer.ts'
import { createAnswerCache } from './introspection-cache.ts'

/** Which token, and whom to ask about it. */
export interface About {
  readonly token: Buffer
  readonly issuer: Issuer
  readonly introspection: Introspection
  readonly trust: Snapshot
  readonly at: Moment
  /** Whether an answer that was given before is too old, however young it is. */
  readonly fresh: boolean
  /** Whether nothing is known of the token but its text. */
  readonly unproven: boolean
}

/** The members of an answer that says `active`, not judged yet; or why there is none. */
export type Introspect = (about: About, signal: AbortSignal) => Promise<JsonObject | Denial>

/** How one question ended, and how long it took; what is answered from memory is none. */
export type IntrospectionOutcome = 'active' | 'inactive' | 'invalid' | 'unavailable'
export type RecordIntrospection = (outcome: IntrospectionOutcome, seconds: number) => void

export interface IntrospectionNeeds {
  readonly ask: AskEndpoint
  readonly now: Monotonic
  readonly record: RecordIntrospection
  /** Ends every question when the program ends: one answer may serve several callers, so that none of them ends it. */
  readonly lifetime: AbortSignal
}

/** Different tokens asked about at once. */
const MOST_FLIGHTS = 1_024

interface Flight {
  readonly landed: Promise<IntrospectionAnswer | 'unavailable'>
  /** Whether the question is on its way: whoever comes now and wants to be sure needs another answer. */
  readonly sent: () => boolean
}

/**
 * Asks issuers about tokens (RFC 7662). One question a token at a time; active answers are kept for at most 30 s and dropped by a revocation
 * that meets them, inactive ones for at most 5 s and apart from the others. Whatever prevents an answer is a denial, never permission.
 */
export function createIntrospection(needs: IntrospectionNeeds): Introspect {
  const cache = createAnswerCache(needs.now)
  const flights = new Map<string, Flight>()

  const fly = (key: string, about: About): Flight => {
    let sent = false
    const landed = Promise.resolve().then(async () => {
      sent = true
      const { epoch } = about.trust.revocations
      const startedAt = needs.now()
      const answer = readEndpoint(await needs.ask(questionOf(about), needs.lifetime))
      const seconds = (needs.now() - startedAt) / 1000
      needs.record(answer === 'unavailable' ? answer : answer.kind, seconds)
      // An answer to an older question than the last one is for those who asked it, and not to be remembered.
      if (answer !== 'unavailable' && flights.get(key) === flight)
        cache.keep(key, answer, { ...about, epoch })
      return answer
    })
    const flight: Flight = { landed, sent: () => sent }
    flights.set(key, flight)
    const over = () => void (flights.get(key) === flight && flights.delete(key))
    landed.then(over, over)
    return flight
  }
  const asked = async (key: string, about: About, signal: AbortSignal): Promise<JsonObject | Denial> => {
    const underWay = flights.get(key)
    const joined = underWay && !(about.fresh && underWay.sent()) ? underWay : undefined
    if (!joined && flights.size >= MOST_FLIGHTS) return deny('introspection_unavailable')
    const answer = await patiently((joined ?? fly(key, about)).landed, signal)
    if (answer === 'unavailable') return deny('introspection_unavailable')
    return answer.kind === 'active' ? answer.claims : deny(`introspection_${answer.kind}`)
  }
  return async (about, signal) => {
    const key = keyOf(about)
    const known = cache.find(key, about)
    if (known === 'inactive') return deny('introspection_inactive')
    return known && !about.fresh ? known : asked(key, about, signal)
  }
}

function questionOf({ token, issuer, introspection: { endpoint }, unproven }: About) {
  const form = { token: token.toString('latin1'), token_type_hint: 'access_token' }
  return { endpoint, issuer: issuer.issuer, form, unproven }
}

// T6: a server that cannot answer has not said "inactive", and neither has one that does not let us ask.
function readEndpoint(answer: EndpointAnswer): IntrospectionAnswer | 'unavailable' {
  if (answer.kind === 'unavailable') return 'unavailable'
  const { status, body } = answer
  if (status === 200) return readAnswer(body)
  return status >= 300 && status < 400 ? { kind: 'invalid' } : 'unavailable'
}

/** The answer, or `unavailable` as soon as nobody waits for it any more. */
async function patiently<T>(landed: Promise<T>, signal: AbortSignal): Promise<T | 'unavailable'> {
  if (signal.aborted) return 'unavailable'
  const { promise: over, resolve } = Promise.withResolvers<'unavailable'>()
  const end = () => resolve('unavailable')
  signal.addEventListener('abort', end, { once: true })
  try {
    return await Promise.race([landed, over])
  } finally {
    signal.removeEventListener('abort', end)
  }
}

// Everything that decides: the token, whom we believe for it, whom we ask, and under which beliefs (SHA-256 of an unambiguous text).
function keyOf({ token, issuer, introspection: { endpoint }, trust }: About): string {
  const asked = [issuer.source, issuer.issuer, endpoint.url, endpoint.clientId, trust.generation]
  return `${hash('sha256', token, 'base64url')}.${hash('sha256', JSON.stringify(asked), 'base64url')}`
}
