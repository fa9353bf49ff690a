import { constants, createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'
import { asn1Signature } from './ecdsa.ts'
import { hasRocaFingerprint } from './roca.ts'

/**
 * JWK Sets (RFC 7517): parse, lint and import, for both programs. A key that passes is bound to exactly one algorithm
 * (RFC 8725 section 3.1) and can do one thing only: say whether a signature is genuine.
 */

/** JWS algorithms that can be configured. No HMAC: a verifier that holds a shared secret can forge (RFC 8725 section 2.1). */
export const ALGORITHMS = {
  RS256: rsa('RSA-SHA256', 'pkcs1'),
  RS384: rsa('RSA-SHA384', 'pkcs1'),
  RS512: rsa('RSA-SHA512', 'pkcs1'),
  PS256: rsa('RSA-SHA256', 'pss'),
  PS384: rsa('RSA-SHA384', 'pss'),
  PS512: rsa('RSA-SHA512', 'pss'),
  ES256: ecdsa('sha256', 'P-256', 32),
  ES384: ecdsa('sha384', 'P-384', 48),
  ES512: ecdsa('sha512', 'P-521', 66),
  Ed25519: { kty: 'OKP', crv: 'Ed25519', signatureBytes: 64, digest: undefined, padding: undefined },
} as const satisfies Record<string, AlgorithmFacts>

export type Algorithm = keyof typeof ALGORITHMS

interface AlgorithmFacts {
  readonly kty: 'RSA' | 'EC' | 'OKP'
  readonly crv: string | undefined
  readonly signatureBytes: number | undefined
  readonly digest: string | undefined
  readonly padding: 'pkcs1' | 'pss' | undefined
}

function rsa(digest: string, padding: 'pkcs1' | 'pss'): AlgorithmFacts {
  return { kty: 'RSA', crv: undefined, signatureBytes: undefined, digest, padding }
}

function ecdsa(digest: string, crv: string, coordinateBytes: number): AlgorithmFacts {
  return { kty: 'EC', crv, signatureBytes: 2 * coordinateBytes, digest, padding: undefined }
}

/** The algorithm a name stands for; `EdDSA` is the older name of Ed25519 (RFC 9864 section 2.2). */
export function algorithmNamed(name: string): Algorithm | undefined {
  if (name === 'EdDSA') return 'Ed25519'
  return Object.hasOwn(ALGORITHMS, name) ? (name as Algorithm) : undefined
}

/** A usable key: linted, imported once, bound to one algorithm. */
export interface VerificationKey {
  readonly kid: string
  readonly algorithm: Algorithm
  /** True only for a genuine signature over `signed`. Never throws for a bad signature, whatever its length. */
  readonly verify: (signed: Uint8Array, signature: Uint8Array) => boolean
}

export interface RefusedKey {
  readonly kid: string
  readonly weak: boolean
  readonly why: string
}

/** Result of reading a set: usable keys and the refused ones with the reason, or why the whole set is refused. */
export type ParsedJwks =
  | { readonly ok: true; readonly keys: readonly VerificationKey[]; readonly refused: readonly RefusedKey[] }
  | {
      readonly ok: false
      readonly why: string
      /** The document publishes a private or symmetric key: its issuer's signatures prove nothing any more. */
      readonly leaked: boolean
    }

export const JWKS_LIMITS = { bytes: 256 * 1024, keys: 64, keyBytes: 8 * 1024, kidBytes: 128 } as const

/**
 * `kid` as accepted in keys and tokens: an opaque map key, but one that cannot be mistaken for a path, a query or markup by
 * whatever prints or stores it (RFC 7515 section 4.1.4 leaves its form open; attack rows 12 to 14).
 */
export function isKid(value: unknown): value is string {
  return (
    typeof value === 'string' && /^[A-Za-z0-9._~:/+=@#,!{}-]{1,128}$/.test(value) && !value.includes('..')
  )
}

/**
 * Reads a JWK Set for one issuer. One bad key does not spoil the set, except key material that must never be published:
 * a private or symmetric key refuses the whole document, because its publisher has lost control of its secrets.
 */
export function parseJwks(document: Uint8Array, allowed: ReadonlySet<Algorithm>): ParsedJwks {
  if (document.byteLength > JWKS_LIMITS.bytes) {
    return { ok: false, why: `larger than ${JWKS_LIMITS.bytes} bytes`, leaked: false }
  }
  const members = membersOf(document)
  if (typeof members === 'string') return { ok: false, why: members, leaked: false }

  const keys: VerificationKey[] = []
  const refused: RefusedKey[] = []
  for (const jwk of members) {
    const leaked = leakedSecret(jwk)
    if (leaked) return { ok: false, why: leaked, leaked: true }
    const key = importKey(jwk, allowed)
    if ('why' in key) refused.push(key)
    else keys.push(key)
  }
  return { ok: true, keys, refused }
}

export type Jwk = Readonly<Record<string, unknown>>

function membersOf(document: Uint8Array): readonly Jwk[] | string {
  let set: unknown
  try {
    set = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(document))
  } catch {
    return 'not JSON; expected a JWK Set such as {"keys":[...]} (RFC 7517 section 5)'
  }
  const keys = isObject(set) ? set['keys'] : undefined
  if (!Array.isArray(keys)) return 'no "keys" array (RFC 7517 section 5.1)'
  if (keys.length > JWKS_LIMITS.keys) return `more than ${JWKS_LIMITS.keys} keys`
  if (!keys.every(isObject)) return 'a member of "keys" is not an object'
  return keys
}

const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'priv'] as const

function leakedSecret(jwk: Jwk): string | undefined {
  if (jwk['kty'] === 'oct' || Object.hasOwn(jwk, 'k'))
    return 'publishes a symmetric key; withdraw it and rotate'
  const member = PRIVATE_MEMBERS.find((name) => Object.hasOwn(jwk, name))
  return member && `publishes a private key (member "${member}"); withdraw it and rotate`
}

function importKey(jwk: Jwk, allowed: ReadonlySet<Algorithm>): VerificationKey | RefusedKey {
  const kid = isKid(jwk['kid']) ? jwk['kid'] : ''
  const refuse = (why: string, weak = false): RefusedKey => ({ kid, weak, why })

  if (sizeOf(jwk) > JWKS_LIMITS.keyBytes) return refuse(`larger than ${JWKS_LIMITS.keyBytes} bytes`)
  if (!kid) return refuse('no usable "kid" (1 to 128 characters of A-Z a-z 0-9 . _ ~ : / + = @ # , ! { } -)')
  const purpose = wrongPurpose(jwk)
  if (purpose) return refuse(purpose)
  const algorithm = soleAlgorithm(jwk, allowed)
  if (typeof algorithm === 'object') return refuse(algorithm.why, algorithm.weak)
  const weakness = jwk['kty'] === 'RSA' ? rsaWeakness(jwk) : curveWeakness(jwk, algorithm)
  if (weakness) return refuse(weakness, true)
  try {
    const key = createPublicKey({ key: publicPart(jwk), format: 'jwk' })
    return Object.freeze({ kid, algorithm, verify: verifierFor(algorithm, key) })
  } catch {
    return refuse('not a valid public key (for a curve: the point is not on it)', true)
  }
}

/** Whether a key may be shown by its holder at all: nothing secret in it (RFC 7518 section 6), and meant for signatures. */
export function isShowable(jwk: Jwk): boolean {
  return leakedSecret(jwk) === undefined && wrongPurpose(jwk) === undefined
}

/**
 * A public key that its holder shows by itself (RFC 9449 section 4.2, `jwk`), for exactly this algorithm. Its size is the caller's to
 * bound. `undefined`: it holds a secret, is weak, or is meant for something else. Members that make no difference to it are not read.
 */
export function importShownKey(jwk: Jwk, algorithm: Algorithm): VerificationKey['verify'] | undefined {
  if (!isShowable(jwk) || !suits(algorithm, jwk)) return undefined
  if (jwk['kty'] === 'RSA' ? rsaWeakness(jwk) : curveWeakness(jwk, algorithm)) return undefined
  try {
    return verifierFor(algorithm, createPublicKey({ key: publicPart(jwk), format: 'jwk' }))
  } catch {
    return undefined
  }
}

// Nested so deep that it cannot be written again, it is too large by any measure.
function sizeOf(jwk: Jwk): number {
  try {
    return JSON.stringify(jwk).length
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

// RFC 7517 sections 4.2 and 4.3.
function wrongPurpose(jwk: Jwk): string | undefined {
  const { use, key_ops: operations } = jwk as { use?: unknown; key_ops?: unknown }
  if (use !== undefined && use !== 'sig') return 'its "use" is not "sig"'
  if (operations === undefined) return undefined
  return Array.isArray(operations) && operations.includes('verify')
    ? undefined
    : 'its "key_ops" lacks "verify"'
}

interface NoAlgorithm {
  readonly why: string
  readonly weak: boolean
}

function suits(name: Algorithm, jwk: Jwk): boolean {
  const facts: AlgorithmFacts = ALGORITHMS[name]
  return facts.kty === jwk['kty'] && (facts.crv === undefined || facts.crv === jwk['crv'])
}

// RFC 8725 section 3.1: each key is used with exactly one algorithm. Without "alg" the configuration must leave no choice.
function soleAlgorithm(jwk: Jwk, allowed: ReadonlySet<Algorithm>): Algorithm | NoAlgorithm {
  const fits = [...allowed].filter((name) => suits(name, jwk))
  const stated = jwk['alg']
  if (stated !== undefined) {
    const named = typeof stated === 'string' ? algorithmNamed(stated) : undefined
    const match = fits.find((name) => name === named)
    if (match) return match
    const contradicts = named !== undefined && !suits(named, jwk)
    return contradicts
      ? { why: 'its "alg" contradicts its "kty" or "crv"', weak: true }
      : {
          why: 'its "alg" is not one that the configuration allows for this issuer and key type',
          weak: false,
        }
  }
  const [only, second] = fits
  if (!only) return { why: 'no allowed algorithm fits its "kty" and "crv"', weak: false }
  if (second)
    return {
      why: `it has no "alg" and both ${only} and ${second} are allowed; allow one, or publish "alg"`,
      weak: false,
    }
  return only
}

function rsaWeakness(jwk: Jwk): string | undefined {
  const n = unsigned(jwk['n'])
  const e = unsigned(jwk['e'])
  if (n === undefined || e === undefined)
    return 'its "n" or "e" is not canonical base64url (RFC 7518 section 6.3.1)'
  const bits = n.toString(2).length
  if (bits < 2048) return `RSA modulus of ${bits} bits; at least 2048 (RFC 7518 section 3.3)`
  if (bits > 8192) return `RSA modulus of ${bits} bits; at most 8192`
  if (n % 2n === 0n) return 'even RSA modulus'
  if (e < 65537n || e % 2n === 0n || e > 0xffff_ffffn)
    return 'RSA exponent is not odd and between 65537 and 2^32'
  if (hasRocaFingerprint(n)) return 'modulus has the ROCA fingerprint (CVE-2017-15361)'
  return undefined
}

const COORDINATE_BYTES: Readonly<Record<string, number>> = {
  'P-256': 32,
  'P-384': 48,
  'P-521': 66,
  Ed25519: 32,
}

function curveWeakness(jwk: Jwk, algorithm: Algorithm): string | undefined {
  const length = COORDINATE_BYTES[ALGORITHMS[algorithm].crv ?? '']
  const names = ALGORITHMS[algorithm].kty === 'EC' ? ['x', 'y'] : ['x']
  const wrong = names.find((name) => octets(jwk[name])?.length !== length)
  return wrong && `its "${wrong}" is not ${length} octets of canonical base64url (RFC 7518 section 6.2.1)`
}

function octets(value: unknown): Buffer | undefined {
  if (typeof value !== 'string') return undefined
  const bytes = Buffer.from(value, 'base64url')
  return bytes.toString('base64url') === value ? bytes : undefined
}

function unsigned(value: unknown): bigint | undefined {
  const bytes = octets(value)
  return bytes && bytes.length > 0 ? BigInt(`0x${bytes.toString('hex')}`) : undefined
}

function publicPart(jwk: Jwk): JsonWebKey {
  const { kty, n, e, crv, x, y } = jwk as Record<'kty' | 'n' | 'e' | 'crv' | 'x' | 'y', string>
  switch (kty) {
    case 'RSA':
      return { kty, n, e }
    case 'EC':
      return { kty, crv, x, y }
    default:
      return { kty, crv, x }
  }
}

function verifierFor(algorithm: Algorithm, key: KeyObject): VerificationKey['verify'] {
  const { digest, padding, signatureBytes } = ALGORITHMS[algorithm]
  const length = Math.ceil(signatureBytes ?? (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
  const options = padding === 'pss' ? { key, ...PSS } : key
  // A wrong length is refused before OpenSSL sees it (RFC 7518 section 3.4: exactly two coordinates; RFC 8017: k octets).
  return signatureBytes !== undefined && digest !== undefined
    ? (signed, signature) =>
        signature.byteLength === length && verify(digest, signed, options, asn1Signature(signature))
    : (signed, signature) => signature.byteLength === length && verify(digest, signed, options, signature)
}

// RFC 7518 section 3.5: the salt is as long as the digest. For the other algorithms the key alone says what to do; saying it again costs
// more per call than a policy evaluation.
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }

function isObject(value: unknown): value is Jwk {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
