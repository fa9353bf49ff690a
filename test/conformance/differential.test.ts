// Our verdict on thousands of generated tokens beside jose's. Every difference has a name, and all but one are in the strict direction.
import fc from 'fast-check'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { beforeAll, expect, test } from 'vitest'
import { denied, type Reason } from '../../sidecar/decision.ts'
import { jwksOf } from '../fixtures/keys.ts'
import { openPipeline, type Pipeline } from '../fixtures/pipeline.ts'
import { question } from '../fixtures/question.ts'
import { AUDIENCE, ISSUER } from '../fixtures/tokens.ts'
import { MAX_LIFETIME_S, NOW_S, PUBLISHED, SKEW_S } from './differential-changes.ts'
import { tokenOf, type Wish, wishes } from './differential-tokens.ts'

const SEED = 20_260_902
const TOKENS = 6_000

/** Why we refuse what jose, told everything it can be told, accepts. A reason that no token provokes any more is stale. */
const STRICTER = {
  token_too_large: 'more than 8 KiB: work an attacker may cause is bounded before it is done',
  b64_invalid: 'blanks and padding in base64url (RFC 7515 section 2): many spellings of one token',
  b64_noncanonical: 'unused bits set (RFC 4648 section 3.5): many spellings of one token',
  json_invalid: 'NUL, lone surrogate or byte order mark: parsers differ on what they read',
  json_duplicate: 'a member twice (RFC 7519 section 4): parsers differ on which one counts',
  json_depth: 'nested deeper than 16',
  header_forbidden:
    'jku, jwk, x5u, x5c, cty, zip, b64 (RFC 8725 sections 3.10 to 3.12): nothing in an access token may choose its key',
  crit_unsupported: 'any crit: we understand no extension (RFC 7515 section 4.1.11)',
  jwe_unsupported: 'members of an encrypted token in a signed one',
  kid_missing: 'no kid: jose takes the only key that fits, we never guess',
  aud_invalid: 'an audience that is not a list of texts',
  exp_invalid: 'exp not a whole number, beyond 2^53, or not after iat',
  iat_future: 'issued in the future; jose looks at iat only with maxTokenAge',
  lifetime_too_long: 'exp - iat beyond the configured lifetime',
  claim_invalid: 'identity, scope, roles, tenant, iat or nbf of a wrong type or form (RFC 9068 section 2.2)',
  claim_missing: 'the claim that names the tenant',
  issuer_tenant_mismatch: 'a tenant that this issuer may not speak for',
  cnf_unknown: 'a sender constraint that we cannot check (RFC 7800 section 3.1)',
  cnf_scheme_mismatch: 'a DPoP-bound token as a bearer token (RFC 9449 section 7.2)',
  mtls_missing: 'a certificate-bound token without its certificate (RFC 8705 section 3)',
} as const satisfies Partial<Record<Reason, string>>

/** What jose refuses and we accept. */
const LAXER = {
  edDsaAlias:
    'alg EdDSA with a key published as Ed25519: one algorithm under its old and new name (RFC 9864 section 2.2)',
} as const

let pipeline: Pipeline
const published: JSONWebKeySet = JSON.parse(JSON.stringify(jwksOf(PUBLISHED)))
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'Ed25519']

beforeAll(async () => {
  pipeline = await openPipeline({
    issuers: [{ keys: PUBLISHED, algorithms: ALGORITHMS, skewS: SKEW_S }],
    maxTokenLifetimeS: MAX_LIFETIME_S,
    now: () => NOW_S * 1000 + 500,
  })
})

interface Ours {
  /** Claims of a token that we believe. */
  readonly claims?: unknown
  readonly reason?: Reason
}

async function ours(token: string): Promise<Ours> {
  const { decision, principal } = await pipeline.ask(question({ token }))
  if (principal) return { claims: JSON.parse(principal.claimsJson) }
  return denied(decision) ? { reason: decision.reason } : {}
}

const keySet = createLocalJWKSet(published)

async function joses(token: string): Promise<{ readonly claims?: unknown; readonly code?: string }> {
  try {
    const { payload } = await jwtVerify(token, keySet, {
      issuer: ISSUER,
      audience: AUDIENCE,
      typ: 'at+jwt',
      algorithms: [...ALGORITHMS, 'EdDSA'],
      requiredClaims: ['iss', 'aud', 'exp', 'iat', 'sub', 'client_id', 'jti'],
      clockTolerance: SKEW_S,
      currentDate: new Date(NOW_S * 1000 + 500),
    })
    return { claims: payload }
  } catch (cause) {
    return { code: cause instanceof Error ? cause.name : 'unknown' }
  }
}

const seen = { both: 0, neither: 0, stricter: new Map<string, number>(), laxer: new Map<string, number>() }

test(`${TOKENS} generated tokens: every difference from jose is one we can name`, async () => {
  await fc.assert(fc.asyncProperty(wishes, compare), { seed: SEED, numRuns: TOKENS })
})

async function compare(wish: Wish): Promise<void> {
  const token = tokenOf(wish)
  const [we, they] = [await ours(token), await joses(token)]
  const story = wish.changes.map(({ what }) => what).join(' + ')
  if (we.claims !== undefined && they.claims !== undefined) {
    expect(we.claims, `${story}: both accept, but read different claims`).toEqual(they.claims)
    seen.both++
  } else if (we.claims === undefined && they.claims === undefined) {
    expect(we.reason, `${story}: refused without a reason`).toBeDefined()
    seen.neither++
  } else if (they.claims !== undefined) {
    expect(Object.keys(STRICTER), `${story}: only we refuse, because`).toContain(we.reason)
    count(seen.stricter, we.reason ?? '')
  } else {
    const alias = token.startsWith(Buffer.from('{"alg":"EdDSA"').toString('base64url').slice(0, -2))
    expect(alias && they.code, `${story}: we accept what jose refuses (${they.code})`).toBe(
      'JWKSNoMatchingKey',
    )
    count(seen.laxer, 'edDsaAlias')
  }
}

test('the table of differences has no stale row', () => {
  expect([...seen.stricter.keys()].sort()).toEqual(Object.keys(STRICTER).sort())
  expect([...seen.laxer.keys()]).toEqual(Object.keys(LAXER))
})

test('the generator is not idle: each of the four outcomes is common', () => {
  expect(seen.both).toBeGreaterThan(TOKENS / 10)
  expect(seen.neither).toBeGreaterThan(TOKENS / 10)
  expect([...seen.stricter.values()].reduce((sum, one) => sum + one, 0)).toBeGreaterThan(TOKENS / 10)
})

function count(tally: Map<string, number>, name: string): void {
  tally.set(name, (tally.get(name) ?? 0) + 1)
}
