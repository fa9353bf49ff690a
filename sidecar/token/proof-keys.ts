import { importShownKey, type VerificationKey } from '../../contracts/jwks.ts'
import type { Proof } from './proof.ts'

/** Keys of proofs, imported and linted once while they are in use: importing one costs several times a verification. */
export interface ProofKeys {
  /** What verifies this proof's signature; `undefined`: its key is weak or unusable. */
  find(proof: Pick<Proof, 'algorithm' | 'jwk' | 'thumbprint'>): VerificationKey['verify'] | undefined
  readonly size: () => number
}

const ENTRIES = 10_000

/**
 * By algorithm and thumbprint: two keys of one thumbprint are one key (RFC 7638 section 1), and one key is used with one algorithm at a
 * time (RFC 8725 section 3.1). The least recently used goes first. Asked only after the thumbprint was found to be that of a genuine
 * token, so nobody can fill it without tokens.
 */
export function createProofKeys(entries: number = ENTRIES): ProofKeys {
  const known = new Map<string, VerificationKey['verify']>()
  return {
    size: () => known.size,
    find({ algorithm, jwk, thumbprint }) {
      const name = `${algorithm} ${thumbprint}`
      const before = known.get(name)
      // A Map keeps the order of insertion: what is put in again has become the newest.
      if (before) known.delete(name)
      const verify = before ?? importShownKey(jwk, algorithm)
      if (!verify) return undefined
      if (known.size >= entries) for (const oldest of known.keys()) if (known.delete(oldest)) break
      known.set(name, verify)
      return verify
    },
  }
}
