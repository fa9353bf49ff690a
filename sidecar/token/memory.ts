import { type Denial, denied } from '../decision.ts'
import type { Moment } from '../request.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import { type CacheLimits, createTokenCache } from './cache.ts'
import type { ProfileName } from './evidence.ts'
import { createFingerprint, isCanonical } from './fingerprint.ts'
import { type Basis, createNegativeCache, refusalOf } from './negative.ts'
import { forgetful, type Inquiry, type Proof, type Prove, type ProveInFull, type Proven } from './verify.ts'

/** How a lookup ended. `recheck_failed`: known, and refused by what is checked each time. */
export type LookupResult = 'hit' | 'miss' | 'negative_hit' | 'recheck_failed'

export interface MemoryNeeds {
  /** No entries, or no bytes: nothing is remembered. */
  readonly limits: CacheLimits
  /** 32 random bytes of this process. */
  readonly salt: Uint8Array
  readonly counted: (result: LookupResult) => void
  /** Told of every token that was let through because it is known. Returns at once. */
  readonly hit: (inquiry: Inquiry, proof: Proof) => void
}

export interface RememberingProve {
  readonly prove: Prove
  /** Forgets everything and remembers nothing from now on. */
  readonly disable: () => void
  readonly size: () => { readonly entries: number; readonly bytes: number; readonly refusals: number }
}

/**
 * Verification that knows tokens again. There is one road, and what is remembered shortens it at two places only: how the bytes
 * read, and that a key has vouched for them. Every check is made each time, with the beliefs, the key and the clock of now; so a change of any of
 * them counts at once. Access tokens alone are remembered: the others come once.
 */
export function rememberTokens(proveInFull: ProveInFull, needs: MemoryNeeds): RememberingProve {
  const cache = createTokenCache(needs.limits)
  const refusals = createNegativeCache()
  const anew = forgetful(proveInFull)
  const fingerprint = createFingerprint(needs.salt)
  let on = needs.limits.entries > 0 && needs.limits.bytes > 0
  const { counted } = needs

  const refuse = ({ trust, at }: Inquiry, basis: Basis, denial: Denial): Denial => {
    if (on) refusals.admit(basis, denial, at, earliestEnd(trust, at))
    return denial
  }
  const inFull = <Name extends ProfileName>(
    inquiry: Inquiry<Name>,
    basis: Basis,
  ): Proven<Name> | Promise<Proven<Name>> => {
    counted('miss')
    const learn = (proof: Proof<Name> | Denial): Proven<Name> => {
      if (denied(proof)) return refuse(inquiry, basis, proof)
      if (on) cache.admit(basis.fingerprint, proof.jwt, proof.key, inquiry.at)
      return proof.token
    }
    const proof = proveInFull(inquiry)
    return proof instanceof Promise ? proof.then(learn) : learn(proof)
  }
  const confirm = <Name extends ProfileName>(
    inquiry: Inquiry<Name>,
    basis: Basis,
    proof: Proof<Name> | Denial,
  ): Proven<Name> | Promise<Proven<Name>> => {
    if (!denied(proof)) {
      counted('hit')
      needs.hit(inquiry, proof)
      return proof.token
    }
    cache.forget(basis.fingerprint)
    // Another key has this name now, and it has not seen these bytes.
    if (proof.reason === 'sig_invalid') return inFull(inquiry, basis)
    counted('recheck_failed')
    return refuse(inquiry, basis, proof)
  }
  const again = <Name extends ProfileName>(
    inquiry: Inquiry<Name>,
    name: string,
  ): Proven<Name> | Promise<Proven<Name>> => {
    const { trust, at, profile } = inquiry
    const basis = { fingerprint: name, profile: profile.name, generation: trust.generation }
    const refusal = refusals.get(basis, at)
    if (refusal) {
      counted('negative_hit')
      return refusalOf(refusal)
    }
    const known = cache.get(name, at)
    // Asked only of what is not known: nothing else was ever let in under its name.
    if (!known) return isCanonical(inquiry.token) ? inFull(inquiry, basis) : anew(inquiry)

    const proof = proveInFull(inquiry, known)
    return proof instanceof Promise
      ? proof.then((late) => confirm(inquiry, basis, late))
      : confirm(inquiry, basis, proof)
  }
  return {
    prove: (inquiry) => {
      const name = on && inquiry.profile.grants ? fingerprint(inquiry.token) : undefined
      return name === undefined ? anew(inquiry) : again(inquiry, name)
    },
    disable() {
      on = false
      cache.clear()
      refusals.clear()
    },
    size: () => ({ entries: cache.size(), bytes: cache.bytes(), refusals: refusals.size() }),
  }
}

// The clock alone changes reasons as well: once keys may not be used any more, nobody knows; once types are due, they come first.
function earliestEnd({ issuers }: Snapshot, at: Moment): Moment {
  let end = Number.POSITIVE_INFINITY
  for (const { keys, legacyTypUntil } of issuers.values()) {
    end = Math.min(end, keys.notAfter, legacyTypUntil > at ? legacyTypUntil : end)
  }
  return end
}
