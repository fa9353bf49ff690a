import { hash } from 'node:crypto'
import { type Denial, denied, type Reason } from '../decision.ts'
import type { Now } from '../ports.ts'
import { EXCHANGE_ACTION } from '../settings.ts'
import { lacking } from '../token/admit.ts'
import type { Confirm } from '../token/confirm.ts'
import { NOTHING_EXPECTED } from '../token/evidence.ts'
import { PROFILES } from '../token/profiles.ts'
import { sayings } from '../token/standing.ts'
import type { Prove, Verified, VerifiedToken } from '../token/verify.ts'
import type { AskEndpoint, Endpoint } from '../trust/endpoint.ts'
import { lapsed } from '../trust/lease.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import {
  ACCESS_TOKEN_TYPE,
  type Exchanged,
  type ExchangeWish,
  type Refused,
  readExchange,
} from './exchange-answer.ts'

/** Never rejects for anything that was sent or answered. */
export type ExchangeToken = (wish: ExchangeWish, signal: AbortSignal) => Promise<Exchanged | Refused>

export interface ExchangeNeeds {
  readonly current: (at: number) => Snapshot | Denial
  readonly prove: Prove
  readonly confirm: Confirm
  readonly ask: AskEndpoint
  /** A JWT-SVID of the workload for this audience; `undefined` where it has none. Rejects when it cannot be had now. */
  readonly actorToken: ((audience: string) => Promise<string>) | undefined
  readonly record: (outcome: string) => void
  readonly wall: Now
  /** Ends every question when the program ends: one answer may serve several callers. */
  readonly lifetime: AbortSignal
}

export const EXCHANGE_LIMITS = {
  held: 2_048,
  underWay: 256,
  /** How long before its end a token is not given out again, milliseconds. */
  marginMs: 30_000,
} as const

interface Subject {
  readonly token: VerifiedToken
  readonly endpoint: Endpoint
  readonly trust: Snapshot
  readonly at: number
  readonly epoch: number
}

/**
 * Exchanges a caller's token for a narrower one at the issuer of that token (RFC 8693). What this workload would not accept is never sent
 * anywhere; what is kept is looked at only after the subject token was verified again, so that nothing outlives it.
 */
export function createExchange(needs: ExchangeNeeds): ExchangeToken {
  const held = new Map<string, Exchanged>()
  const underWay = new Map<string, Promise<Exchanged | Refused>>()

  const keep = (key: string, token: Exchanged): void => {
    held.delete(key)
    if (needs.wall() >= token.expiresAtMs - EXCHANGE_LIMITS.marginMs) return
    const [oldest] = held.keys()
    if (held.size >= EXCHANGE_LIMITS.held && oldest !== undefined) held.delete(oldest)
    held.set(key, token)
  }
  const ask = async (key: string, wish: ExchangeWish, subject: Subject): Promise<Exchanged | Refused> => {
    const form = await formOf(wish, subject.token, needs.actorToken)
    if (!form) return { kind: 'refused', reason: needs.actorToken ? 'unavailable' : 'not_configured' }
    const { issuer } = subject.token.issuer
    const question = { endpoint: subject.endpoint, issuer, form, unproven: false }
    const answer = await needs.ask(question, needs.lifetime)
    const { result, outcome } = readExchange(answer, { wish, subject: subject.token, at: needs.wall() })
    needs.record(outcome)
    if (result.kind === 'token') keep(key, result)
    return result
  }
  const once = (key: string, wish: ExchangeWish, subject: Subject): Promise<Exchanged | Refused> => {
    const running = underWay.get(key)
    if (running !== undefined) return running
    if (underWay.size >= EXCHANGE_LIMITS.underWay) return Promise.resolve(UNAVAILABLE)
    const answer = ask(key, wish, subject).finally(() => underWay.delete(key))
    underWay.set(key, answer)
    return answer
  }
  return async (wish, signal) => {
    const subject = await subjectOf(wish, needs, signal)
    if (subject.kind === 'refused') return subject
    const key = keyOf(wish, subject)
    const known = held.get(key)
    if (known && needs.wall() < known.expiresAtMs - EXCHANGE_LIMITS.marginMs) return known
    const result = await Promise.race([once(key, wish, subject), over(signal)])
    // What is revoked, or believed no more, while we asked is not helped to live on.
    const still = stands(subject, needs) ? subject : await subjectOf(wish, needs, signal)
    if (still.kind === 'subject') return result
    held.delete(key)
    return still
  }
}

const UNAVAILABLE: Refused = Object.freeze({ kind: 'refused', reason: 'unavailable' })

type Checked = (Subject & { readonly kind: 'subject' }) | Refused

async function subjectOf(wish: ExchangeWish, needs: ExchangeNeeds, signal: AbortSignal): Promise<Checked> {
  const at = needs.wall()
  const trust = needs.current(at)
  if (denied(trust) || lapsed(trust, EXCHANGE_ACTION, at)) return UNAVAILABLE
  const { epoch } = trust.revocations
  const token = await verified(wish.subjectToken, needs, { trust, at, signal })
  if (denied(token)) return refusedFor(token)
  const who = sayings(token, trust, at)
  if (denied(who)) return refusedFor(who)
  const short = lacking(who, trust, EXCHANGE_ACTION, at)
  if (short) return refusedFor(short)
  const { exchange } = token.issuer
  if (!exchange) return { kind: 'refused', reason: 'not_configured' }
  const had = String(token.claims['scope'] ?? '').split(' ')
  if (!wish.scopes.every((one) => had.includes(one))) return { kind: 'refused', reason: 'scope' }
  return { kind: 'subject', token, endpoint: exchange.endpoint, trust, at, epoch }
}

interface Looking {
  readonly trust: Snapshot
  readonly at: number
  readonly signal: AbortSignal
}

// As in a check: by ourselves, and by its issuer where that is owed.
async function verified(token: Buffer, needs: ExchangeNeeds, looking: Looking): Promise<Verified> {
  const signal = () => looking.signal
  const { trust, at } = looking
  const { access_token: profile } = PROFILES
  const local = await needs.prove({ token, profile, expected: NOTHING_EXPECTED, trust, at, signal })
  return needs.confirm(local, { token }, { trust, at, action: EXCHANGE_ACTION, signal })
}

/** Reasons that say nothing about the token. */
const UNKNOWABLE: ReadonlySet<Reason> = new Set([
  'jwks_unavailable',
  'introspection_unavailable',
  'introspection_invalid',
])

function refusedFor({ reason }: Denial): Refused {
  return UNKNOWABLE.has(reason) ? UNAVAILABLE : { kind: 'refused', reason: 'subject_token', because: reason }
}

/** Whether all is as it was when the subject was looked at. */
function stands({ trust, epoch }: Subject, { current, wall }: ExchangeNeeds): boolean {
  const at = wall()
  const now = current(at)
  if (denied(now) || lapsed(now, EXCHANGE_ACTION, at)) return false
  return now.generation === trust.generation && now.revocations.epoch === epoch
}

async function formOf(
  { subjectToken, audience, resource, scopes, nameWorkload }: ExchangeWish,
  { issuer }: VerifiedToken,
  actorToken: ExchangeNeeds['actorToken'],
): Promise<Readonly<Record<string, string>> | undefined> {
  const actor = nameWorkload ? await actorToken?.(issuer.issuer).catch(() => undefined) : undefined
  if (nameWorkload && actor === undefined) return undefined
  return {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subjectToken.toString('latin1'),
    subject_token_type: ACCESS_TOKEN_TYPE,
    requested_token_type: ACCESS_TOKEN_TYPE,
    scope: scopes.join(' '),
    ...(audience === '' ? {} : { audience }),
    ...(resource === '' ? {} : { resource }),
    ...(actor === undefined
      ? {}
      : { actor_token: actor, actor_token_type: 'urn:ietf:params:oauth:token-type:jwt' }),
  }
}

// Everything that decides, in an unambiguous text; of the subject token only the hash.
function keyOf(wish: ExchangeWish, { token: { issuer }, endpoint, trust }: Subject): string {
  const { subjectToken, audience, resource, scopes, nameWorkload } = wish
  const asked = [audience, resource, [...new Set(scopes)].sort(), nameWorkload]
  const whom = [issuer.source, issuer.issuer, endpoint.url, endpoint.clientId, trust.generation]
  return hash('sha256', JSON.stringify([hash('sha256', subjectToken, 'base64url'), asked, whom]), 'base64url')
}

function over(signal: AbortSignal): Promise<Refused> {
  const { promise, resolve } = Promise.withResolvers<Refused>()
  if (signal.aborted) resolve(UNAVAILABLE)
  else signal.addEventListener('abort', () => resolve(UNAVAILABLE), { once: true })
  return promise
}
