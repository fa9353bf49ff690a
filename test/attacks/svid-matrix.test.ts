import { describe, expect, test } from 'vitest'
import { parseJwks } from '../../contracts/jwks.ts'
import type { Trust } from '../../sidecar/identity/trust.ts'
import { validateJwtSvid } from '../../sidecar/identity/validate-jwt.ts'
import { AUDIENCE, CLIENT, forge, ISSUER, type Members } from '../fixtures/tokens.ts'
import { IDP_KEY, type Minted, mint, openVouching } from '../fixtures/vouching.ts'
import { AT_S } from './arena.ts'

// The worst case: one key signs for the provider and for the trust domain, so that nothing but what a token says tells them apart.

const DOMAIN = 'test.example'
const WORKLOAD = `spiffe://${DOMAIN}/ns/shop/sa/billing`
const KINDS = ['access_token', 'id_token', 'logout_token', 'client_assertion', 'request_object'] as const
const MINTED: readonly Minted[] = [...KINDS, 'legacy_access_token']
const set = parseJwks(Buffer.from(JSON.stringify({ keys: [IDP_KEY.jwk] })), new Set(['ES256']))
const keys = set.ok ? set.keys : []
const trust = { trustDomain: DOMAIN, jwt: { keys, jwks: Buffer.alloc(0) } } as unknown as Trust
const vouching = await openVouching({
  svid: (token, audience, at) => validateJwtSvid(token, audience, trust, at),
})

const svid = (claims: Members = {}, header: Members = {}) =>
  forge({
    key: IDP_KEY,
    header: { typ: 'JWT', ...header },
    payloadText: JSON.stringify({ sub: WORKLOAD, aud: [AUDIENCE], exp: AT_S + 120, iat: AT_S, ...claims }),
  })

describe('attack 32: J15: JWT-SVIDs and the tokens of a provider exclude each other', () => {
  test('control: a JWT-SVID is one', async () => {
    expect(await vouching.vouched('jwt_svid', svid())).toMatchObject({
      subject: WORKLOAD,
      issuer: `spiffe://${DOMAIN}`,
    })
  })

  test.each(KINDS)('a JWT-SVID as %s', async (kind) => {
    expect(await vouching.verdict(kind, svid())).toBe('iss_missing')
    const dressed = svid({ iss: ISSUER, aud: [AUDIENCE, CLIENT], jti: 'j', nonce: 'n-1' })
    expect(await vouching.verdict(kind, dressed, { otherAudiences: [AUDIENCE] })).toMatch(
      /^(typ_mismatch|claim_missing|claim_invalid|alg_not_allowed|iss_unknown)$/,
    )
  })

  test.each(MINTED)('%s as JWT-SVID', async (minted) => {
    expect(await vouching.verdict('jwt_svid', mint(minted))).toMatch(
      /^(typ_mismatch|claim_invalid|alg_not_allowed)$/,
    )
    expect(await vouching.verdict('jwt_svid', mint(minted, { aud: AUDIENCE }, { typ: 'JWT' }))).toMatch(
      /^(claim_invalid|alg_not_allowed)$/,
    )
  })

  test.each<readonly [what: string, token: () => string, reason: string]>([
    ['of another trust domain', () => svid({ sub: 'spiffe://evil.example/a' }), 'iss_unknown'],
    ['of the trust domain itself', () => svid({ sub: `spiffe://${DOMAIN}` }), 'claim_invalid'],
    ['for another audience', () => svid({ aud: ['https://other.example'] }), 'aud_mismatch'],
    ['for nobody', () => svid({ aud: [] }), 'aud_invalid'],
    ['for a list that is none', () => svid({ aud: [7] }), 'aud_invalid'],
    ['that has expired', () => svid({ exp: AT_S }), 'expired'],
    ['without an end', () => svid({ exp: undefined }), 'exp_invalid'],
    ['that is not valid yet', () => svid({ nbf: AT_S + 61 }), 'nbf_future'],
    ['with a nbf that is none', () => svid({ nbf: 'now' }), 'claim_invalid'],
    ['of another type', () => svid({}, { typ: 'at+jwt' }), 'typ_mismatch'],
    ['without a kid', () => svid({}, { kid: undefined }), 'kid_missing'],
    ['of an unknown key', () => svid({}, { kid: 'other' }), 'kid_unknown'],
    ['under an algorithm that is not allowed', () => svid({}, { alg: 'HS256' }), 'alg_not_allowed'],
    ['with a member of a header too many', () => svid({}, { x: 1 }), 'header_forbidden'],
    ['with a forged signature', () => `${svid().slice(0, -8)}AAAAAAAA`, 'sig_invalid'],
    ['of two segments', () => svid().split('.').slice(0, 2).join('.'), 'token_format'],
    ['that is no JSON', () => 'e30.eA.AA', 'json_invalid'],
  ])('a JWT-SVID %s', async (_what, token, reason) => {
    expect(await vouching.verdict('jwt_svid', token())).toBe(reason)
  })
})
