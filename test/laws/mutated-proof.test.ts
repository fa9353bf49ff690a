import fc from 'fast-check'
import { calculateJwkThumbprint, compactVerify, EmbeddedJWK } from 'jose'
import { expect, test } from 'vitest'
import { AT_S, tokenOf } from '../attacks/arena.ts'
import { BOUND, openDpopArena } from '../attacks/dpop-arena.ts'
import { signingKey } from '../fixtures/keys.ts'
import { athOf, bareJwk, CLIENT_KEY, forgeProof, jktOf, type ProofForge } from '../fixtures/proofs.ts'

// Proofs that are right but for one to three things, signed before or after: whatever we allow, a verifier made of jose and the checks
// of RFC 9449 section 4.3 in a few lines allows as well.

const token = tokenOf(BOUND)
const URL_ = 'https://api.test.example/invoices/inv-1'
const ALGS = ['ES256', 'ES384', 'ES512', 'Ed25519', 'RS256', 'PS256']
const OTHER = signingKey('ES256', 'other')

async function reference(line: string): Promise<boolean> {
  try {
    const { payload, protectedHeader } = await compactVerify(line, EmbeddedJWK, { algorithms: ALGS })
    const claims: Readonly<Record<string, unknown>> = JSON.parse(new TextDecoder().decode(payload))
    const { typ, jwk } = protectedHeader
    const { jti, htm, htu, iat, ath } = claims
    return (
      /^(?:application\/)?dpop\+jwt$/i.test(typ ?? '') &&
      typeof jti === 'string' &&
      htm === 'GET' &&
      typeof htu === 'string' &&
      new URL(htu).origin + new URL(htu).pathname === URL_ &&
      typeof iat === 'number' &&
      Math.abs(iat - AT_S) <= 60 &&
      ath === athOf(token) &&
      jwk !== undefined &&
      (await calculateJwkThumbprint(jwk)) === jktOf(CLIENT_KEY)
    )
  } catch {
    return false
  }
}

const ODD = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    '',
    0,
    -1,
    Number.MAX_VALUE,
    true,
    [],
    {},
    '\u0000',
    AT_S,
    String(AT_S),
  ),
  fc.string({ maxLength: 12 }),
  fc.double(),
  fc.constantFrom(
    URL_,
    `${URL_}?a`,
    `${URL_}/`,
    `${URL_}/../inv-1`,
    URL_.replace('api', 'API'),
    'GET',
    'get',
    'ES256',
    'none',
    'dpop+jwt',
    'JWT',
  ),
  fc.constant(athOf(token)),
  fc.constantFrom(bareJwk(CLIENT_KEY), bareJwk(OTHER), { ...bareJwk(CLIENT_KEY), d: 'AA' }),
)
const members = (names: readonly string[]) =>
  fc.dictionary(
    fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, fc.string({ maxLength: 6 })),
    ODD,
    { maxKeys: 2 },
  )

/** One character of one segment, after signing. */
const scratch = fc.option(
  fc.record({
    segment: fc.nat(2),
    at: fc.nat(2_000),
    character: fc.constantFrom('A', '_', '-', '=', '.', ' ', '\n', '+'),
  }),
  {
    nil: undefined,
    freq: 3,
  },
)

const proofs = fc.record({
  header: members(['typ', 'alg', 'jwk', 'kid', 'crit', 'b64', 'jku', 'x5c']),
  claims: members(['jti', 'htm', 'htu', 'iat', 'ath', 'nonce', 'exp', 'nbf']),
  key: fc.constantFrom(CLIENT_KEY, CLIENT_KEY, CLIENT_KEY, OTHER),
  scratch,
})

test('D2 to D12: a mutated proof is never allowed where the reference verifier refuses', async () => {
  const arena = await openDpopArena()
  let allowed = 0
  let refused = 0
  const law = fc.asyncProperty(proofs, async ({ header, claims, key, scratch: scratched }) => {
    const wish: ProofForge = { token, at: AT_S, key, header, claims }
    const whole = forgeProof(wish)
    const segments = whole.split('.')
    if (scratched) {
      const text = segments[scratched.segment] ?? ''
      const at = scratched.at % Math.max(1, text.length)
      segments[scratched.segment] = `${text.slice(0, at)}${scratched.character}${text.slice(at + 1)}`
    }
    const line = segments.join('.')
    const verdict = await arena.verdict({ token, proof: [line] })
    if (verdict !== 'allow') refused++
    else {
      allowed++
      expect(await reference(line)).toBe(true)
    }
  })
  await fc.assert(law, { numRuns: 6_000 })
  // Both happen often, or the law says nothing.
  expect(Math.min(allowed, refused)).toBeGreaterThan(200)
}, 120_000)
