import { status } from '@grpc/grpc-js'
import type { JwtSvid } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Now } from '../ports.ts'
import type { ControlIdentity } from './control.ts'
import { codeOf, type Issuer } from './issuer.ts'
import type { Trust, TrustState } from './trust.ts'

/** JWT-SVIDs of the application: from the issuer, and from memory until half of their life is over. */
export interface JwtSvids {
  /** At least one. Rejects with an Error that has a gRPC `code`. */
  fetch(audience: readonly string[], spiffeId: string): Promise<readonly JwtSvid[]>
  /** Sets of tokens in memory. */
  held(): number
}

export interface JwtNeeds {
  readonly issuer: Issuer
  readonly control: ControlIdentity
  readonly trust: TrustState
  readonly wall: Now
  /** One answer may serve several callers, so that none of them ends the question. */
  readonly lifetime: AbortSignal
}

/** Different questions remembered; the one asked longest ago goes first. */
const MOST_HELD = 128
/** Different questions under way at once; beyond it callers are told to come back. */
const MOST_ASKED = 16

const TOLD_LATELY_MS = 60_000

interface Answer {
  readonly svids: readonly JwtSvid[]
  readonly freshUntilMs: number
  readonly expiresAtMs: number
}

export function createJwtSvids({ issuer, control, trust, wall, lifetime }: JwtNeeds): JwtSvids {
  const held = new Map<string, Answer>()
  const asked = new Map<string, Promise<Answer>>()
  // A key that left the bundle was revoked or has had its time: nobody believes what it signed.
  trust.watch(() => {
    for (const [question, { svids }] of held) {
      if (!svids.every(({ token }) => believed(token, trust.current()))) held.delete(question)
    }
  })
  const ask = async (audience: readonly string[], spiffeId: string): Promise<Answer> => {
    const own = control.current()
    if (!own) throw refusal(status.UNAVAILABLE, 'no identity yet; come back')
    const { svids } = await issuer.jwt({ audience: [...audience], spiffeId }, own, lifetime)
    const at = wall()
    const expiresAtMs = Math.min(...svids.map((one) => one.expiresAtMs))
    if (svids.length === 0 || expiresAtMs <= at)
      throw refusal(status.UNAVAILABLE, 'the issuer gave no token that is valid now')
    return { svids, expiresAtMs, freshUntilMs: at + (expiresAtMs - at) / 2 }
  }
  const once = (question: string, make: () => Promise<Answer>): Promise<Answer> => {
    const running = asked.get(question)
    if (running) return running
    if (asked.size >= MOST_ASKED)
      throw refusal(status.UNAVAILABLE, 'too many tokens asked for at once; come back')
    const answer = make().finally(() => asked.delete(question))
    asked.set(question, answer)
    return answer
  }
  const keep = (question: string, answer: Answer): void => {
    held.delete(question)
    held.set(question, answer)
    const [oldest] = held.keys()
    if (held.size > MOST_HELD && oldest !== undefined) held.delete(oldest)
  }
  const refusedAt = (question: string): void => {
    held.delete(question)
    // As with X509-SVIDs: it may be our control SVID that the operator does not know any more.
    if (control.ageMs() >= TOLD_LATELY_MS) control.renewNow()
  }
  return {
    held: () => held.size,
    async fetch(audience, spiffeId) {
      const asking = [...new Set(audience)].sort()
      const question = JSON.stringify([spiffeId, ...asking])
      const before = held.get(question)
      if (before && before.freshUntilMs > wall()) return before.svids
      try {
        const answer = await once(question, () => ask(asking, spiffeId))
        keep(question, answer)
        return answer.svids
      } catch (cause) {
        // What is held is good until it expires; only a refusal of the operator takes it away.
        if (codeOf(cause) === status.PERMISSION_DENIED) refusedAt(question)
        const still = held.get(question)
        if (still && still.expiresAtMs > wall()) return still.svids
        throw cause
      }
    },
  }
}

function refusal(code: number, details: string): Error {
  return Object.assign(new Error(details), { code, details })
}

function believed(token: string, trust: Trust): boolean {
  try {
    const header: unknown = JSON.parse(
      Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString('utf8'),
    )
    const kid = (header as { kid?: unknown }).kid
    return trust.jwt.keys.some((key) => key.kid === kid)
  } catch {
    return false
  }
}
