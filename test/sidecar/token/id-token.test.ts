// ID tokens as OpenID Connect Core section 3.1.3.7 has them judged, one table a rule.
import { describe, expect, test } from 'vitest'
import type { Expected } from '../../../sidecar/token/evidence.ts'
import { leftHalf } from '../../../sidecar/token/id-token.ts'
import { AT_S } from '../../attacks/arena.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { CLIENT, forge, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { IDP_KEY, mint, openVouching, PARTIES } from '../../fixtures/vouching.ts'

type Row = readonly [what: string, claims: Members, verdict: string, expected?: Partial<Expected>]

const vouching = await openVouching()
const SKEW_S = 60
const OTHER = 'other-client'
const ACCESS_TOKEN = 'jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y'
const CODE = 'Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk'
const AT_HASH = leftHalf(ACCESS_TOKEN, 'ES256')
const C_HASH = leftHalf(CODE, 'ES256')

const TABLE: Readonly<Record<string, readonly Row[]>> = {
  'I1: the issuer is exact': [
    ['another', { iss: 'https://evil.example' }, 'iss_unknown'],
    ['with a slash', { iss: `${ISSUER}/` }, 'iss_unknown'],
    ['in capitals', { iss: ISSUER.toUpperCase() }, 'iss_unknown'],
    ['none', { iss: undefined }, 'iss_missing'],
    ['a client of ours, which makes no ID tokens', { iss: CLIENT }, 'alg_not_allowed'],
  ],
  'I2: 001-12: the audience has the client': [
    ['itself', { aud: CLIENT }, 'verified'],
    ['in a list', { aud: [CLIENT] }, 'verified'],
    ['another client', { aud: OTHER }, 'aud_mismatch'],
    ['a longer name', { aud: `${CLIENT}-2` }, 'aud_mismatch'],
    ['none', { aud: undefined }, 'aud_missing'],
    ['an empty list', { aud: [] }, 'aud_invalid'],
    ['no text', { aud: [7, CLIENT] }, 'aud_invalid'],
    ['the API it is not for', { aud: 'https://api.test.example' }, 'aud_mismatch'],
  ],
  'I3: several audiences need the authorized party': [
    ['named', { aud: [CLIENT, OTHER], azp: CLIENT }, 'verified', { otherAudiences: [OTHER] }],
    ['left out', { aud: [CLIENT, OTHER] }, 'claim_missing', { otherAudiences: [OTHER] }],
    ['another one', { aud: [CLIENT, OTHER], azp: OTHER }, 'claim_invalid', { otherAudiences: [OTHER] }],
    ['another one beside one audience', { azp: OTHER }, 'claim_invalid'],
    ['no text', { azp: [CLIENT] }, 'claim_invalid'],
    ['named needlessly', { azp: CLIENT }, 'verified'],
  ],
  'I4: untrusted audiences are refused': [
    ['nobody said it is fine', { aud: [CLIENT, OTHER], azp: CLIENT }, 'aud_not_exclusive'],
    [
      'one of two',
      { aud: [CLIENT, OTHER, 'third'], azp: CLIENT },
      'aud_not_exclusive',
      { otherAudiences: [OTHER] },
    ],
  ],
  'I6: not expired': [
    ['just now', { exp: AT_S - SKEW_S, iat: AT_S - 200 }, 'expired'],
    ['not quite', { exp: AT_S - SKEW_S + 1, iat: AT_S - 200 }, 'verified'],
    ['never', { exp: undefined }, 'exp_missing'],
    ['at no moment', { exp: 'tomorrow' }, 'exp_invalid'],
    ['in two days', { exp: AT_S + 2 * 86_400 }, 'lifetime_too_long'],
  ],
  'I7: issued within the window': [
    ['in the future, but for the clocks', { iat: AT_S + SKEW_S, exp: AT_S + 300 }, 'verified'],
    ['in the future', { iat: AT_S + SKEW_S + 1, exp: AT_S + 300 }, 'iat_future'],
    ['at no time', { iat: undefined }, 'iat_missing'],
    ['not valid yet', { nbf: AT_S + SKEW_S + 1 }, 'nbf_future'],
  ],
  'I8: 001-16: the nonce is the one that was sent': [
    ['another', { nonce: 'n-2' }, 'nonce_mismatch'],
    ['in capitals', { nonce: 'N-1' }, 'nonce_mismatch'],
    ['no text', { nonce: ['n-1'] }, 'nonce_mismatch'],
    ['empty', { nonce: '' }, 'nonce_mismatch'],
    ['one where none was sent', {}, 'nonce_mismatch', { nonce: '' }],
    ['empty where none was sent', { nonce: '' }, 'nonce_mismatch', { nonce: '' }],
    ['none where none was sent', { nonce: undefined }, 'verified', { nonce: '' }],
  ],
  'I8: 001-17: a nonce that was sent must come back': [['left out', { nonce: undefined }, 'nonce_missing']],
  'I9: the class of authentication is the one that was asked for': [
    ['nobody asked', { acr: 'pwd' }, 'verified'],
    ['the one', { acr: 'mfa' }, 'verified', { acrValues: ['mfa'] }],
    ['one of two', { acr: 'mfa' }, 'verified', { acrValues: ['hwk', 'mfa'] }],
    ['a lesser one', { acr: 'pwd' }, 'step_up_required', { acrValues: ['mfa'] }],
    ['left out', {}, 'step_up_required', { acrValues: ['mfa'] }],
    ['a list', { acr: ['mfa'] }, 'claim_invalid', { acrValues: ['mfa'] }],
  ],
  'I10: the login is not older than was asked for': [
    ['nobody asked', { auth_time: AT_S - 9_000 }, 'verified'],
    ['old enough', { auth_time: AT_S - 300 - SKEW_S }, 'verified', { maxAgeS: 300 }],
    ['too old', { auth_time: AT_S - 301 - SKEW_S }, 'step_up_required', { maxAgeS: 300 }],
    ['at any other moment than now', { auth_time: AT_S - SKEW_S - 1 }, 'step_up_required', { maxAgeS: 0 }],
    ['left out', { auth_time: undefined }, 'claim_missing', { maxAgeS: 300 }],
    ['left out where nobody asked', { auth_time: undefined }, 'verified'],
    ['in the future', { auth_time: AT_S + SKEW_S + 1 }, 'claim_invalid'],
    ['no moment', { auth_time: 'now' }, 'claim_invalid'],
  ],
  'I11: hashes of token and code fit': [
    ['of the token', { at_hash: AT_HASH }, 'verified', { accessToken: ACCESS_TOKEN }],
    ['of another token', { at_hash: AT_HASH }, 'claim_invalid', { accessToken: `${ACCESS_TOKEN}x` }],
    ['left out', {}, 'claim_missing', { accessToken: ACCESS_TOKEN }],
    ['of the code', { c_hash: C_HASH }, 'verified', { code: CODE }],
    ['of another code', { c_hash: AT_HASH }, 'claim_invalid', { code: CODE }],
    ['of the token in place of the code', { at_hash: AT_HASH }, 'claim_missing', { code: CODE }],
    [
      'one right and one wrong',
      { at_hash: AT_HASH, c_hash: 'x' },
      'claim_invalid',
      { accessToken: ACCESS_TOKEN, code: CODE },
    ],
    ['no token came along', { at_hash: AT_HASH }, 'verified'],
    ['the whole hash', { at_hash: `${AT_HASH}${AT_HASH}` }, 'claim_invalid', { accessToken: ACCESS_TOKEN }],
  ],
}

describe.each(Object.entries(TABLE))('%s', (_rule, rows) => {
  test.each(rows.map((row) => [row[0], row] as const))('%s', async (_what, [, claims, verdict, expected]) => {
    expect(await vouching.verdict('id_token', mint('id_token', claims), expected)).toBe(verdict)
  })
})

test.each(['HS256', 'none', 'RS256', 'ES384', 'EdDSA'])(
  'I5: the algorithm is the registered one, not %s',
  async (alg) => {
    expect(await vouching.verdict('id_token', mint('id_token', {}, { alg }))).toBe('alg_not_allowed')
  },
)

test('I11: at_hash of OpenID Connect Core appendix A.3 comes out', () => {
  expect(leftHalf(ACCESS_TOKEN, 'RS256')).toBe('77QmUPtjPfzWtF2AnpK9RQ')
  expect(leftHalf(CODE, 'RS256')).toBe('LDktKdoQak3Pk0cnXxCltA')
})

test.each(['ES256', 'ES384', 'ES512', 'Ed25519'] as const)(
  'I11: under %s the hash has half of its length',
  (alg) => {
    const bytes = { ES256: 16, ES384: 24, ES512: 32, Ed25519: 32 }[alg]
    expect(Buffer.from(leftHalf('token', alg), 'base64url').length).toBe(bytes)
  },
)

test('I12: 001-06: the keys of ID tokens are found like all others: a new kid is asked for', async () => {
  const unknown = await openVouching({ issuers: [{ ...PARTIES[0], refreshable: true }] })
  const next = signingKey('ES256', 'next')
  const token = forge({
    key: next,
    header: { typ: 'JWT' },
    payloadText: JSON.stringify({
      iss: ISSUER,
      aud: CLIENT,
      sub: 'alice',
      nonce: 'n-1',
      iat: AT_S,
      exp: AT_S + 60,
    }),
  })
  expect(await unknown.verdict('id_token', token)).toBe('jwks_unavailable')
  expect(await vouching.verdict('id_token', token)).toBe('kid_unknown')
})

test('000-18: every claim that says the token is of another kind is a mismatch of type', async () => {
  for (const name of [
    'client_id',
    'scope',
    'cnf',
    'events',
    'htm',
    'htu',
    'ath',
    'response_type',
    'token_introspection',
  ])
    expect(await vouching.verdict('id_token', mint('id_token', { [name]: 'x' }))).toBe('typ_mismatch')
})

test('an ID token without a subject is for nobody', async () => {
  for (const sub of ['', 7, undefined, 'x'.repeat(257)])
    expect(await vouching.verdict('id_token', mint('id_token', { sub }))).toMatch(/^claim_/)
})

test('a forged signature is refused whatever else fits', async () => {
  const token = forge({
    key: { ...signingKey('ES256', 'thief'), kid: IDP_KEY.kid },
    header: { typ: 'JWT' },
    payloadText: JSON.stringify({
      iss: ISSUER,
      aud: CLIENT,
      sub: 'alice',
      nonce: 'n-1',
      iat: AT_S,
      exp: AT_S + 60,
    }),
  })
  expect(await vouching.verdict('id_token', token)).toBe('sig_invalid')
})
