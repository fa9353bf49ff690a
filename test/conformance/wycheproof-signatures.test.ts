// Wycheproof signature vectors through key import and VerificationKey.verify, the only two things that touch cryptography.
import { createPublicKey } from 'node:crypto'
import { expect, test } from 'vitest'
import { parseJwks, type VerificationKey } from '../../contracts/jwks.ts'
import { ALL_ALGORITHMS } from './jws-road.ts'
import { type Case, type Jwk, readVectors } from './wycheproof.ts'

interface SignatureCase extends Case {
  readonly msg: string
  readonly sig: string
}
interface Group {
  readonly publicKeyPem: string
  readonly tests: readonly SignatureCase[]
}
interface PssGroup extends Group {
  readonly sha: string
  readonly mgfSha: string
  readonly sLen: number
}
interface Outcome {
  readonly tests: number
  readonly valid: number
  readonly invalid: number
  /** `acceptable` by the vectors' own account. */
  readonly acceptable: number
  /** Tests whose key is refused at import: none of their signatures can ever be asked about. */
  readonly keyRefused: Readonly<Record<string, number>>
  /** Vectors on which we and their makers differ. */
  readonly accepted: readonly number[]
  readonly refused: readonly number[]
}

const agreed = { acceptable: 0, keyRefused: {}, accepted: [], refused: [] }
const pkcs1 = { ...agreed, acceptable: 1 }
/** Valid signatures by a key with e = 3, which the lint refuses: these are the only disagreements. */
const smallExponent = (tests: number) => ({
  ...pkcs1,
  keyRefused: { 'RSA exponent is not odd and between 65537 and 2^32': tests },
})

const EXACT: readonly (readonly [file: string, alg: string, want: Outcome])[] = [
  ['ecdsa_secp256r1_sha256_p1363', 'ES256', { ...agreed, tests: 262, valid: 173, invalid: 89 }],
  ['ecdsa_secp384r1_sha384_p1363', 'ES384', { ...agreed, tests: 280, valid: 193, invalid: 87 }],
  ['ecdsa_secp521r1_sha512_p1363', 'ES512', { ...agreed, tests: 318, valid: 231, invalid: 87 }],
  ['ed25519', 'Ed25519', { ...agreed, tests: 151, valid: 88, invalid: 63 }],
  ['ed25519', 'EdDSA', { ...agreed, tests: 151, valid: 88, invalid: 63 }],
  ['rsa_signature_2048_sha256', 'RS256', { ...smallExponent(2), tests: 259, valid: 9, invalid: 249 }],
  ['rsa_signature_2048_sha384', 'RS384', { ...pkcs1, tests: 258, valid: 7, invalid: 250 }],
  ['rsa_signature_2048_sha512', 'RS512', { ...smallExponent(1), tests: 259, valid: 8, invalid: 250 }],
  ['rsa_signature_3072_sha256', 'RS256', { ...smallExponent(1), tests: 259, valid: 8, invalid: 250 }],
  ['rsa_signature_3072_sha384', 'RS384', { ...pkcs1, tests: 259, valid: 7, invalid: 251 }],
  ['rsa_signature_3072_sha512', 'RS512', { ...smallExponent(1), tests: 260, valid: 8, invalid: 251 }],
  ['rsa_signature_4096_sha256', 'RS256', { ...pkcs1, tests: 258, valid: 7, invalid: 250 }],
  ['rsa_signature_4096_sha384', 'RS384', { ...pkcs1, tests: 259, valid: 7, invalid: 251 }],
  ['rsa_signature_4096_sha512', 'RS512', { ...pkcs1, tests: 259, valid: 7, invalid: 251 }],
  ['rsa_signature_8192_sha256', 'RS256', { ...pkcs1, tests: 258, valid: 7, invalid: 250 }],
  ['rsa_pss_2048_sha256_mgf1_32', 'PS256', { ...agreed, tests: 108, valid: 63, invalid: 45 }],
  ['rsa_pss_3072_sha256_mgf1_32', 'PS256', { ...agreed, tests: 108, valid: 63, invalid: 45 }],
  ['rsa_pss_4096_sha256_mgf1_32', 'PS256', { ...agreed, tests: 108, valid: 63, invalid: 45 }],
  ['rsa_pss_2048_sha384_mgf1_48', 'PS384', { ...agreed, tests: 141, valid: 95, invalid: 46 }],
  ['rsa_pss_4096_sha384_mgf1_48', 'PS384', { ...agreed, tests: 141, valid: 95, invalid: 46 }],
  ['rsa_pss_4096_sha512_mgf1_64', 'PS512', { ...agreed, tests: 179, valid: 132, invalid: 47 }],
]

test.each(EXACT)(
  '%s as %s: every invalid signature is refused, every valid one accepted',
  (file, alg, want) => {
    expect(outcomeOf(file, alg)).toEqual(want)
  },
)

// A PKCS #1 DigestInfo without its NULL parameter: RFC 8017 section 9.2 writes one, and two spellings are one too many.
test('the one "acceptable" RSA signature of each file is refused', () => {
  const files = EXACT.filter(([, , { acceptable }]) => acceptable > 0)
  expect(files).toHaveLength(10)
  for (const [file, alg] of files) {
    const acceptable = judged(file, alg).filter(({ one }) => one.result === 'acceptable')
    expect(acceptable.map(({ one, genuine }) => [one.flags, genuine])).toEqual([[['MissingNull'], false]])
  }
})

// Valid signatures of another scheme: the algorithm that a key is bound to fixes curve, digest, padding and salt length.
test.each([
  ['ecdsa_secp256r1_sha512_p1363', 'ES256', 242],
  ['ecdsa_secp384r1_sha512_p1363', 'ES384', 230],
  ['rsa_signature_2048_sha384', 'RS256', 7],
  ['rsa_signature_2048_sha256', 'PS256', 9],
  ['rsa_pss_2048_sha256_mgf1_32', 'RS256', 63],
  ['rsa_pss_2048_sha256_mgf1_0', 'PS256', 61],
  ['rsa_pss_2048_sha256_mgf1sha1_20', 'PS256', 63],
  ['rsa_pss_2048_sha512_256_mgf1_32', 'PS256', 69],
  ['rsa_pss_4096_sha512_mgf1_32', 'PS512', 132],
] as const)(
  '%s as %s: all %i signatures that are valid in their own scheme are refused',
  (file, alg, valid) => {
    const foreign = judged(file, alg).filter(({ one }) => one.result === 'valid')
    expect(foreign).toHaveLength(valid)
    expect(foreign.filter(({ genuine }) => genuine)).toEqual([])
  },
)

// 150 valid signatures, one for each combination of digest, mask digest and salt length.
test.each([
  ['PS256', 'SHA-256', 32],
  ['PS384', 'SHA-384', 48],
  ['PS512', 'SHA-512', 64],
])('%s accepts exactly one parameter set of 150: %s throughout and a salt of %i octets', (alg, sha, sLen) => {
  const { testGroups } = readVectors<PssGroup>('rsa_pss_misc_test.json')
  expect(testGroups).toHaveLength(150)
  const own = testGroups.filter((one) => one.sha === sha && one.mgfSha === sha && one.sLen === sLen)
  const accepted = judged('rsa_pss_misc', alg).filter(({ genuine }) => genuine)
  expect(accepted.map(({ one }) => one.tcId)).toEqual(
    own.flatMap(({ tests }) => tests.map(({ tcId }) => tcId)),
  )
  expect(accepted).toHaveLength(1)
})

function outcomeOf(file: string, alg: string): Outcome {
  const all = judged(file, alg)
  const count = (result: Case['result']) => all.filter(({ one }) => one.result === result).length
  const keyRefused: Record<string, number> = {}
  for (const { why } of all) if (why) keyRefused[why] = (keyRefused[why] ?? 0) + 1
  const named = (wanted: Case['result'], genuine: boolean) =>
    all
      .filter((found) => found.one.result === wanted && found.genuine === genuine && !found.why)
      .map(({ one }) => one.tcId)
  return {
    tests: all.length,
    valid: count('valid'),
    invalid: count('invalid'),
    acceptable: count('acceptable'),
    keyRefused,
    accepted: named('invalid', true),
    refused: named('valid', false),
  }
}

interface Judged {
  readonly one: SignatureCase
  readonly genuine: boolean
  readonly why: string
}

function judged(file: string, alg: string): readonly Judged[] {
  const { testGroups } = readVectors<Group>(`${file}_test.json`)
  return testGroups.flatMap(({ publicKeyPem, tests }) => {
    const key = imported(publicKeyPem, alg)
    const genuine = (one: SignatureCase) =>
      typeof key !== 'string' && key.verify(Buffer.from(one.msg, 'hex'), Buffer.from(one.sig, 'hex'))
    return tests.map((one) => ({ one, genuine: genuine(one), why: typeof key === 'string' ? key : '' }))
  })
}

function imported(pem: string, alg: string): VerificationKey | string {
  const jwk: Jwk = { ...createPublicKey(pem).export({ format: 'jwk' }), kid: 'vector', alg, use: 'sig' }
  const set = parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })), ALL_ALGORITHMS)
  if (!set.ok) return set.why
  return set.keys[0] ?? set.refused[0]?.why ?? 'neither a key nor a refusal'
}
