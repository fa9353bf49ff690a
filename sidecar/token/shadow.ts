import type { createLocalJWKSet as CreateLocalJwkSet } from 'jose/jwks/local'
import type { Random, Sleep } from '../ports.ts'
import type { Moment } from '../request.ts'
import type { Issuer, KeySet } from '../trust/snapshot.ts'
import { audiencesOf } from './evidence.ts'
import type { Inquiry, Proof } from './verify.ts'

export const SHADOW_LIMITS = {
  /** Share of the hits that are verified again. */
  share: 0.01,
  /** Samples that may wait; more are let go. */
  waiting: 32,
  /** Pause before those that wait are verified in a row, milliseconds: one by one, each would find the processor's caches cold. */
  pauseMs: 50,
} as const

export interface ShadowNeeds {
  readonly random: Random
  readonly sleep: Sleep
  /** Ends it. */
  readonly lifetime: AbortSignal
  /** The reference refuses what the memory let through. Told of the issuer, never of the token. */
  readonly diverged: (issuer: string) => void
}

interface Sample {
  readonly token: string
  readonly claimsJson: string
  readonly issuer: Issuer
  readonly audience: string
  readonly at: Moment
}

/**
 * Verifies one hit of a hundred again from its bytes, off the road of the check: the signature by another library, which shares no line
 * with ours, and the claims by rules that say when a token is fine. Returns where hits are offered.
 */
export function createShadow(needs: ShadowNeeds): (inquiry: Inquiry, proof: Proof) => void {
  const waiting: Sample[] = []
  const agrees = createReference()
  let working = false
  let over = false

  const work = async (): Promise<void> => {
    while (waiting.length > 0) {
      await needs.sleep(SHADOW_LIMITS.pauseMs, needs.lifetime)
      for (const sample of waiting.splice(0)) {
        // Whatever keeps the reference from answering: it has not agreed.
        const agreed = await agrees(sample).catch(() => false)
        if (agreed) continue
        over = true
        return needs.diverged(sample.issuer.issuer)
      }
    }
  }
  return (inquiry, { jwt, token: { issuer } }) => {
    if (over || needs.random() >= SHADOW_LIMITS.share || waiting.length >= SHADOW_LIMITS.waiting) return
    const { token, trust, at } = inquiry
    const { claimsJson } = jwt
    waiting.push({ token: token.toString('latin1'), claimsJson, issuer, audience: trust.audience, at })
    if (working) return
    working = true
    work()
      .catch(() => undefined)
      .finally(() => {
        working = false
      })
  }
}

function createReference(): (sample: Sample) => Promise<boolean> {
  const sets = new WeakMap<Buffer, ReturnType<typeof CreateLocalJwkSet>>()
  return async (sample) => {
    // Loaded with the first sample, and these two parts alone (5 MB): a sidecar whose callers never come twice does not pay for it.
    const { compactVerify } = await import('jose/jws/compact/verify')
    const { createLocalJWKSet } = await import('jose/jwks/local')
    const { keys, algorithms } = sample.issuer
    const find = sets.get(keys.document) ?? createLocalJWKSet(readSet(keys))
    sets.set(keys.document, find)
    const names = [...algorithms].flatMap((name) => (name === 'Ed25519' ? [name, 'EdDSA'] : [name]))
    const { payload } = await compactVerify(sample.token, find, { algorithms: names })
    return Buffer.from(payload).toString() === sample.claimsJson && areFine(sample)
  }
}

interface ReadKey {
  readonly kty: string
  readonly alg?: string
}

// Ed25519 has two names (RFC 9864), and that library takes the one of the key by the letter.
function readSet({ document }: KeySet): { keys: ReadKey[] } {
  const { keys } = JSON.parse(document.toString('utf8')) as { readonly keys: readonly ReadKey[] }
  return { keys: keys.map(({ alg, ...rest }) => (rest.kty === 'OKP' || !alg ? rest : { ...rest, alg })) }
}

function areFine({ claimsJson, issuer, audience, at }: Sample): boolean {
  const { iss, aud, exp, iat, nbf } = JSON.parse(claimsJson) as Readonly<Record<string, never>>
  const early = Math.floor(at / 1000) - issuer.skewS
  const late = Math.floor(at / 1000) + issuer.skewS
  return (
    iss === issuer.issuer &&
    audiencesOf(aud)?.includes(audience) === true &&
    Number(exp) > early &&
    Number(iat) <= late &&
    (nbf === undefined || Number(nbf) <= late)
  )
}
