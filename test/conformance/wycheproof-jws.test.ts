// Wycheproof JWS and JWK vectors through the strict parser, key import and verification.
import { expect, test } from 'vitest'
import { parseJwks } from '../../contracts/jwks.ts'
import { ALL_ALGORITHMS, parseAnyPayload, verdictOf } from './jws-road.ts'
import { type Case, type Jwk, readVectors } from './wycheproof.ts'

interface JwsCase extends Case {
  readonly jws: string
}
interface Group<K> {
  readonly comment: string
  readonly public?: K
  readonly private?: K
  readonly tests: readonly JwsCase[]
}
interface Judged {
  readonly tcId: number
  readonly valid: boolean
  readonly verdict: string
}

const HMAC = 'HS256: symmetric algorithms are not implemented (RFC 8725 section 2.1)'
const CONTRADICTION =
  'the JWK says PS256 and the token PS384: a key has exactly one algorithm (RFC 8725 section 3.1)'
const MISNAMED = 'the JWK says ES521, which is no algorithm (RFC 7518 section 3.1 has ES512)'
const NOT_BASE64 = 'holds a "?", which base64url does not have (RFC 7515 section 2); marked valid by mistake'

/** Vectors on which we and their makers differ. All of them in the strict direction. */
const JWS_DISAGREEMENTS: Readonly<Record<number, string>> = {
  1: HMAC,
  346: CONTRADICTION,
  347: MISNAMED,
  348: HMAC,
  350: CONTRADICTION,
  351: MISNAMED,
  352: HMAC,
  357: HMAC,
  358: HMAC,
  359: HMAC,
  372: NOT_BASE64,
  373: `${HMAC}; and ${NOT_BASE64}`,
  376: HMAC,
  377: HMAC,
}
const JWK_DISAGREEMENTS: Readonly<Record<number, string>> = {
  2: HMAC,
  13: HMAC,
  14: 'HS384: as above',
  15: 'HS512: as above',
}

const jws = readVectors<Group<Jwk>>('json_web_signature_test.json')
const jwk = readVectors<Group<{ readonly keys: readonly Jwk[] }>>('json_web_key_test.json')

const jwsVerdicts = jws.testGroups.flatMap((group) => judged(group, [group.public ?? group.private ?? {}]))
const jwkVerdicts = jwk.testGroups.flatMap((group) =>
  judged(group, (group.public ?? group.private)?.keys ?? []),
)

test.each([
  ['JWS', jwsVerdicts, 401, 355],
  ['JWK', jwkVerdicts, 26, 21],
])('%s: every invalid vector is refused', (_name, verdicts, total, invalid) => {
  expect(verdicts).toHaveLength(total)
  const bad = verdicts.filter(({ valid }) => !valid)
  expect(bad).toHaveLength(invalid)
  expect(bad.filter(({ verdict }) => verdict === 'genuine')).toEqual([])
})

test.each([
  ['JWS', jwsVerdicts, JWS_DISAGREEMENTS],
  ['JWK', jwkVerdicts, JWK_DISAGREEMENTS],
])(
  '%s: every valid vector is accepted, but for the named disagreements',
  (_name, verdicts, disagreements) => {
    const differing = verdicts.filter(({ valid, verdict }) => valid !== (verdict === 'genuine'))
    expect(differing.map(({ tcId }) => String(tcId))).toEqual(Object.keys(disagreements))
  },
)

test('each kind of refusal is the one that the vector provokes', () => {
  const tally: Record<string, number> = {}
  for (const { valid, verdict } of jwsVerdicts) if (!valid) tally[verdict] = (tally[verdict] ?? 0) + 1
  expect(tally).toEqual({
    alg_key_mismatch: 5,
    alg_not_allowed: 23,
    b64_invalid: 2,
    header_forbidden: 1,
    'key refused: its "key_ops" lacks "verify"': 2,
    'key refused: its "use" is not "sig"': 2,
    kid_unknown: 2,
    sig_invalid: 294,
    token_format: 24,
  })
})

test.each([
  [6, 'its "use" is not "sig"'],
  [7, 'ROCA'],
  [8, 'RSA modulus of 1024 bits'],
  [9, 'RSA exponent'],
  [19, 'its "alg" is not one that'],
  [20, 'its "alg" is not one that'],
  [21, 'its "use" is not "sig"'],
  [22, 'the point is not on it'],
  [23, 'its "alg" contradicts its "kty" or "crv"'],
  [24, 'its "alg" contradicts its "kty" or "crv"'],
])('JWK vector %i is refused at import, for its own fault', (tcId, why) => {
  const verdict = jwkVerdicts.find((one) => one.tcId === tcId)?.verdict
  expect(verdict).toContain('key refused: ')
  expect(verdict).toContain(why)
})

test('a set with a symmetric key is refused as a whole, in every JWK vector that has one', () => {
  const symmetric = jwk.testGroups.filter((group) => keysOf(group).some((key) => key['kty'] === 'oct'))
  expect(symmetric).toHaveLength(14)
  for (const group of symmetric) {
    const set = parseJwks(Buffer.from(JSON.stringify({ keys: keysOf(group) })), ALL_ALGORITHMS)
    expect(set).toEqual({ ok: false, leaked: true, why: 'publishes a symmetric key; withdraw it and rotate' })
  }
})

/** The base64 group is HS256, which falls before its spelling is looked at; so it is asked again with RS256 in the header. */
const SPELLING_DISAGREEMENTS: Readonly<Record<number, string>> = {
  367: 'byte for byte vector 357, which is valid; the padding it is named after is not there',
  370: 'byte for byte vector 357, which is valid; the padding it is named after is not there',
  372: NOT_BASE64,
  373: NOT_BASE64,
}

test('base64 vectors: the spelling alone decides, but for the named defects of the vectors', () => {
  const cases = jws.testGroups.filter(({ comment }) => comment === 'base64').flatMap(({ tests }) => tests)
  expect(cases).toHaveLength(21)
  const wellSpelt = (one: JwsCase) => typeof parseAnyPayload(asRs256(one.jws)) !== 'string'
  const differing = cases.filter((one) => wellSpelt(one) !== (one.result === 'valid'))
  expect(differing.map(({ tcId }) => String(tcId))).toEqual(Object.keys(SPELLING_DISAGREEMENTS))
  for (const one of cases.filter((c) => !wellSpelt(c))) {
    expect(parseAnyPayload(asRs256(one.jws)), one.comment).toMatch(/^b64_/)
  }
})

test('vectors 367 and 370 really are byte for byte the valid vector 357', () => {
  const text = (tcId: number) =>
    jws.testGroups.flatMap(({ tests }) => tests).find((one) => one.tcId === tcId)?.jws
  expect(text(357)).toBeDefined()
  expect(text(367)).toBe(text(357))
  expect(text(370)).toBe(text(357))
})

function judged<K>(group: Group<K>, keys: readonly Jwk[]): readonly Judged[] {
  return group.tests.map((one) => ({
    tcId: one.tcId,
    valid: one.result === 'valid',
    verdict: verdictOf(one.jws, keys),
  }))
}

function keysOf(group: Group<{ readonly keys: readonly Jwk[] }>): readonly Jwk[] {
  return (group.public ?? group.private)?.keys ?? []
}

// Both headers have 33 bytes, so that all but the last character can be exchanged under whatever a vector put behind it.
function asRs256(token: string): string {
  const plain = '{"kid":"hs256-key","alg":"HS256"}'
  const before = base64url(plain).slice(0, -1)
  const [header = '', ...rest] = token.split('.')
  const relabelled = header.startsWith(before)
    ? header.replace(before, base64url(plain.replace('HS256', 'RS256')).slice(0, -1))
    : base64url(Buffer.from(header, 'base64url').toString().replace('HS256', 'RS256'))
  return [relabelled, ...rest].join('.')
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url')
}
