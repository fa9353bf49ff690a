import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'
import type { PolicySignature } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { BundleKey } from '../../contracts/gen/portcullis/identity/v1/identity.ts'

/** The keys that sign policy bundles in this trust domain, as the newest trust bundle names them. */
export interface Signers {
  /** Reads the keys of a trust bundle: what takes them into use instead of all others, or what is wrong with them. */
  read(keys: readonly BundleKey[]): (() => void) | readonly string[]
  /** Why this signature does not vouch for the digest; empty when it does. */
  problem(signature: PolicySignature | undefined, digest: Buffer): string
}

const KEYS = 8
const SIGNATURE_BYTES = 64

/**
 * ECDSA P-256 with SHA-256 (FIPS 186-5), in the form r and s side by side, over the 32 bytes of contracts/bundle-digest.ts. Before
 * the first trust bundle there is no key, and so no policy.
 */
export function createSigners(): Signers {
  let byId: ReadonlyMap<string, KeyObject> = new Map()
  return {
    read(keys) {
      if (keys.length === 0 || keys.length > KEYS) return [`bundle_keys: must be 1 to ${KEYS}`]
      const read = keys.map((key) => [key.id, readKey(key)] as const)
      const problems = read.flatMap(([, key], index) =>
        typeof key === 'string' ? [`bundle_keys[${index}].${key}`] : [],
      )
      if (problems.length > 0) return problems
      const next = new Map(
        read.filter((one): one is readonly [string, KeyObject] => typeof one[1] !== 'string'),
      )
      return () => {
        byId = next
      }
    },
    problem(signature, digest) {
      if (!signature) return 'unset; a pushed policy must be signed by the operator'
      const named = JSON.stringify(signature.keyId.slice(0, 64))
      const key = byId.get(signature.keyId)
      if (!key) return `key ${named} is not in the trust bundle, which has ${byId.size} keys`
      if (signature.value.length !== SIGNATURE_BYTES) return `must be ${SIGNATURE_BYTES} bytes`
      return verify('sha256', digest, { key, dsaEncoding: 'ieee-p1363' }, signature.value)
        ? ''
        : `does not fit these files under key ${named}`
    },
  }
}

function readKey({ id, spki }: BundleKey): KeyObject | string {
  if (id !== hash('sha256', spki, 'base64url')) return 'id: is not the SHA-256 of spki in base64url'
  try {
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : 'spki: must be an EC P-256 key'
  } catch {
    return 'spki: no SubjectPublicKeyInfo'
  }
}
