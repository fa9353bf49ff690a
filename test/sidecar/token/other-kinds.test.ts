// Logout tokens, client assertions, request objects and JWT-SVIDs: one table a rule.
import { describe, expect, test } from 'vitest'
import type { KnownRevocations } from '../../../sidecar/trust/revocations.ts'
import { AT_S } from '../../attacks/arena.ts'
import { AUDIENCE, CLIENT, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { type Minted, mint, openVouching, type VouchingPlan } from '../../fixtures/vouching.ts'

type Row = readonly [what: string, claims: Members, verdict: string]
const vouching = await openVouching()
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const SKEW_S = 60

const TABLES: Readonly<
  Record<Exclude<Minted, 'legacy_access_token' | 'id_token'>, Readonly<Record<string, readonly Row[]>>>
> = {
  logout_token: {
    'L2: five claims are required': [
      ['no iss', { iss: undefined }, 'iss_missing'],
      ['no aud', { aud: undefined }, 'aud_missing'],
      ['another client', { aud: 'other' }, 'aud_mismatch'],
      ['no iat', { iat: undefined }, 'iat_missing'],
      ['no jti', { jti: undefined }, 'claim_missing'],
      ['no events', { events: undefined }, 'claim_missing'],
      ['expired', { iat: AT_S - 300, exp: AT_S - SKEW_S }, 'expired'],
      ['without an end, young', { iat: AT_S - 600, exp: undefined }, 'verified'],
      ['without an end, old', { iat: AT_S - 600 - SKEW_S, exp: undefined }, 'expired'],
      ['for an hour', { exp: AT_S + 3_600 }, 'lifetime_too_long'],
    ],
    'L3: the event is the one of logout': [
      ['another', { events: { 'https://schemas.example/login': {} } }, 'claim_invalid'],
      ['no object', { events: { [EVENT]: true } }, 'claim_invalid'],
      ['a list', { events: [EVENT] }, 'claim_invalid'],
      ['empty', { events: {} }, 'claim_invalid'],
      ['inherited', { events: { __proto__: { [EVENT]: {} } } }, 'claim_invalid'],
      ['null', { events: { [EVENT]: null } }, 'claim_invalid'],
    ],
    'L4: subject or session': [
      ['subject', { sid: undefined }, 'verified'],
      ['session', { sub: undefined }, 'verified'],
      ['neither', { sub: undefined, sid: undefined }, 'claim_missing'],
      ['an empty one', { sid: '' }, 'claim_invalid'],
    ],
    'L5: never a nonce': [
      ['one', { nonce: 'n-1' }, 'typ_mismatch'],
      ['null', { nonce: null }, 'typ_mismatch'],
    ],
  },
  client_assertion: {
    'issuer and subject are the client (RFC 7523 section 3)': [
      ['another subject', { sub: 'other' }, 'claim_invalid'],
      ['another issuer', { iss: 'other' }, 'iss_unknown'],
      ['the provider', { iss: ISSUER, sub: ISSUER }, 'alg_not_allowed'],
      ['for another server', { aud: 'https://other.example' }, 'aud_mismatch'],
      ['no jti', { jti: undefined }, 'claim_missing'],
      ['no end', { exp: undefined }, 'exp_missing'],
      ['no beginning', { iat: undefined }, 'verified'],
      ['an end 300 s ahead, and the clocks', { exp: AT_S + 300 + SKEW_S, iat: undefined }, 'verified'],
      ['later', { exp: AT_S + 301 + SKEW_S, iat: undefined }, 'lifetime_too_long'],
      ['later, with a late beginning', { exp: AT_S + 361, iat: AT_S + 60 }, 'lifetime_too_long'],
    ],
  },
  request_object: {
    'R5: 003-18: inside and outside name the same client, which signed': [
      ['another inside', { client_id: 'other' }, 'claim_invalid'],
      ['none inside', { client_id: undefined }, 'claim_missing'],
      ['another issuer', { iss: 'other' }, 'iss_unknown'],
    ],
    'R5: 003-18: a request object is for this server and holds no other': [
      ['a request in it', { request: 'x.y.z' }, 'typ_mismatch'],
      ['an address of a request in it', { request_uri: 'urn:x' }, 'typ_mismatch'],
      ['a subject, as in an assertion', { sub: CLIENT }, 'typ_mismatch'],
      ['for another server', { aud: 'https://other.example' }, 'aud_mismatch'],
      ['for several servers, ours among them', { aud: [AUDIENCE, 'https://other.example'] }, 'verified'],
      ['no end', { exp: undefined }, 'exp_missing'],
      ['for more than an hour', { exp: AT_S + 3_700 }, 'lifetime_too_long'],
    ],
  },
  access_token: {
    'A2: J12: seven claims are required': [
      ...['sub', 'client_id', 'jti'].map(
        (name): Row => [`no ${name}`, { [name]: undefined }, 'claim_missing'],
      ),
      ['no exp', { exp: undefined }, 'exp_missing'],
      ['no iat', { iat: undefined }, 'iat_missing'],
      ['no aud', { aud: undefined }, 'aud_missing'],
    ],
    'a bound one is refused, whoever brings it': [
      ['a key', { cnf: { jkt: 'x' } }, 'cnf_scheme_mismatch'],
      ['a certificate', { cnf: { 'x5t#S256': 'x' } }, 'cnf_scheme_mismatch'],
      ['nothing', { cnf: null }, 'cnf_scheme_mismatch'],
    ],
    'a tenant that its issuer does not speak for': [
      ['another', { tenant: 'umbrella' }, 'issuer_tenant_mismatch'],
      ['none', { tenant: undefined }, 'claim_missing'],
    ],
  },
}

describe.each(Object.entries(TABLES))('%s', (kind, rules) => {
  describe.each(Object.entries(rules))('%s', (_rule, rows) => {
    test.each(rows)('%s', async (_what, claims, verdict) => {
      expect(await vouching.verdict(kind as Minted & 'id_token', mint(kind as Minted, claims))).toBe(verdict)
    })
  })
})

test.each<readonly [typ: string | undefined, verdict: string]>([
  ['logout+jwt', 'verified'],
  ['application/logout+jwt', 'verified'],
  [undefined, 'verified'],
  ['JWT', 'typ_mismatch'],
  ['secevent+jwt', 'typ_mismatch'],
  ['at+jwt', 'typ_mismatch'],
])('L1: a logout token of type %s', async (typ, verdict) => {
  expect(await vouching.verdict('logout_token', mint('logout_token', {}, { typ }))).toBe(verdict)
})

test.each<readonly [typ: string | undefined, verdict: string]>([
  ['oauth-authz-req+jwt', 'verified'],
  ['JWT', 'typ_mismatch'],
  [undefined, 'typ_mismatch'],
])('R5: 003-18: a request object of type %s', async (typ, verdict) => {
  expect(await vouching.verdict('request_object', mint('request_object', {}, { typ }))).toBe(verdict)
})

test.each(['logout_token', 'client_assertion'] as const)(
  'L6: %s works once, and again only under another id',
  async (kind) => {
    const token = mint(kind)
    expect(await vouching.verdict(kind, token)).toBe('verified')
    expect(await vouching.verdict(kind, token)).toBe('revoked_jti')
    expect(await vouching.verdict(kind, mint(kind))).toBe('verified')
  },
)

test('L6: what is refused uses its id up for nobody', async () => {
  const jti = 'kept'
  expect(await vouching.verdict('logout_token', mint('logout_token', { jti, nonce: 'n' }))).toBe(
    'typ_mismatch',
  )
  expect(await vouching.verdict('logout_token', mint('logout_token', { jti }))).toBe('verified')
})

test('L7: a subject without a session is told as such', async () => {
  const { subject, claimsJson } = await vouching.vouched(
    'logout_token',
    mint('logout_token', { sid: undefined }),
  )
  expect([subject, JSON.parse(claimsJson)]).toEqual([
    'alice',
    expect.not.objectContaining({ sid: expect.anything() }),
  ])
})

test.each(['HS256', 'none', 'RS256'])('L9: %s is no algorithm for logout tokens', async (alg) => {
  expect(await vouching.verdict('logout_token', mint('logout_token', {}, { alg }))).toBe('alg_not_allowed')
})

test('a client is the one outside, if there is one', async () => {
  const token = () => mint('client_assertion')
  expect(await vouching.verdict('client_assertion', token(), { clientId: 'other' })).toBe('claim_invalid')
  expect(await vouching.verdict('client_assertion', token(), { clientId: '' })).toBe('verified')
  expect(await vouching.verdict('request_object', mint('request_object'), { clientId: 'other' })).toBe(
    'claim_invalid',
  )
})

describe('what is revoked is vouched for no more', () => {
  const revoking = (against: KnownRevocations['against'], plan: VouchingPlan = {}) =>
    openVouching({
      ...plan,
      believe: (trust) => ({ ...trust, revocations: { epoch: 1, head: 1, size: 1, against } }),
    })
  test.each(['access_token', 'id_token', 'client_assertion', 'request_object'] as const)(
    '%s',
    async (kind) => {
      const revoked = await revoking(() => 'revoked_sub')
      expect(await revoked.verdict(kind, mint(kind))).toBe('revoked_sub')
    },
  )
  test.each(['access_token', 'id_token', 'client_assertion', 'request_object'] as const)(
    '%s: neither in the seconds that are tolerated after its end, when the entry has ended as well',
    async (kind) => {
      const until = (AT_S + 120) * 1000
      const plan = { atS: AT_S + 150 }
      const token = () => mint(kind, { exp: AT_S + 120 })
      expect(await (await openVouching(plan)).verdict(kind, token())).toBe('verified')
      const ended = await revoking((_who, _facts, at) => (at < until ? 'revoked_sub' : undefined), plan)
      expect(await ended.verdict(kind, token())).toBe('revoked_sub')
    },
  )
  test('a logout token may well be about somebody revoked, but not of a maker who is', async () => {
    const bySubject = await revoking((who) => (who.subject ? 'revoked_sub' : undefined))
    expect(await bySubject.verdict('logout_token', mint('logout_token'))).toBe('verified')
    const all = await revoking(() => 'revoked_issued_before')
    expect(await all.verdict('logout_token', mint('logout_token'))).toBe('revoked_issued_before')
  })
})

test('a JWT-SVID is judged by the keys of its trust domain, for the configured audience', async () => {
  const asked: unknown[] = []
  const svids = await openVouching({
    svid: (token, audience, at) => {
      asked.push([token, audience, at])
      return token === 'good.e30.sig'
        ? { ok: true, spiffeId: 'spiffe://example/a', claims: { sub: 'spiffe://example/a', exp: AT_S + 9 } }
        : { ok: false, reason: 'sig_invalid' }
    },
  })
  expect(await svids.vouched('jwt_svid', 'good.e30.sig')).toMatchObject({
    issuer: 'spiffe://example',
    subject: 'spiffe://example/a',
    expiresAt: AT_S + 9,
  })
  expect(await svids.verdict('jwt_svid', 'bad.e30.sig')).toBe('sig_invalid')
  expect(asked[0]).toEqual(['good.e30.sig', AUDIENCE, AT_S * 1000])
})

describe('A1: tokens of an issuer that was given time to type them', () => {
  const UNTIL_S = AT_S + 3_600
  test.each<readonly [what: string, claims: Members, verdict: string]>([
    ['client_id', {}, 'verified'],
    ['azp in place of client_id', { client_id: undefined, azp: CLIENT }, 'verified'],
    ['both, the same', { azp: CLIENT }, 'verified'],
    ['both, different', { azp: 'other' }, 'claim_invalid'],
    ['neither', { client_id: undefined }, 'claim_missing'],
    ...[
      'nonce',
      'at_hash',
      'c_hash',
      's_hash',
      'events',
      'toe',
      'htm',
      'htu',
      'ath',
      'response_type',
      'request',
    ].map((name): Row => [`with ${name}`, { [name]: 'x' }, 'typ_mismatch']),
  ])('%s', async (_what, claims, verdict) => {
    expect(await vouching.verdict('access_token', mint('legacy_access_token', claims))).toBe(verdict)
    // What says its type may carry whatever it likes, and needs client_id.
    const typed = await vouching.verdict('access_token', mint('access_token', claims))
    expect(typed).toBe('client_id' in claims ? 'claim_missing' : 'verified')
  })
  test.each([
    [UNTIL_S - 1, 'verified'],
    [UNTIL_S, 'typ_mismatch'],
  ])('until that moment and no longer: %i', async (atS, verdict) => {
    const later = await openVouching({ atS })
    const claims = { iat: atS - 10, exp: atS + 100 }
    for (const typ of ['JWT', 'application/jwt', '', undefined])
      expect(await later.verdict('access_token', mint('legacy_access_token', claims, { typ }))).toBe(verdict)
    expect(await later.verdict('access_token', mint('access_token', claims))).toBe('verified')
  })
})
