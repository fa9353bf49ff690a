import { describe, expect, test } from 'vitest'
import type { TokenKind } from '../../sidecar/token/vouch.ts'
import { AUDIENCE, CLIENT, ISSUER, type Members } from '../fixtures/tokens.ts'
import { EXPECTED, type Minted, mint, openVouching } from '../fixtures/vouching.ts'

// Every kind presented as every other one: as it is, and with every claim borrowed that the other kind asks for and its maker could have put in.

const KINDS = ['access_token', 'id_token', 'logout_token', 'client_assertion', 'request_object'] as const
const MINTED: readonly Minted[] = [...KINDS, 'legacy_access_token']
const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} }

/** What each kind asks for, for tokens that are made of another. */
const BORROWED: Readonly<Record<(typeof KINDS)[number], Members>> = {
  access_token: {
    aud: AUDIENCE,
    sub: 'alice',
    client_id: CLIENT,
    jti: 'j',
    tenant: 'acme',
    scope: 'invoice:read',
  },
  id_token: { aud: CLIENT, sub: 'alice', nonce: 'n-1', azp: CLIENT },
  logout_token: { aud: CLIENT, sub: 'alice', sid: 's-1', jti: 'j', events: EVENTS },
  client_assertion: { aud: AUDIENCE, iss: CLIENT, sub: CLIENT, jti: 'j' },
  request_object: { aud: AUDIENCE, iss: CLIENT, client_id: CLIENT },
}
const TYPES: Readonly<Record<(typeof KINDS)[number], string>> = {
  access_token: 'at+jwt',
  id_token: 'JWT',
  logout_token: 'logout+jwt',
  client_assertion: 'JWT',
  request_object: 'oauth-authz-req+jwt',
}
/** Reasons that tell one kind from another: its type, or a claim. */
const TOLD_APART =
  /^(typ_mismatch|claim_missing|claim_invalid|nonce_missing|nonce_mismatch|aud_mismatch|aud_missing|iss_unknown|issuer_tenant_mismatch|lifetime_too_long)$/
const LAST = { access_token: 'access_token', legacy_access_token: 'access_token' } as const
const kindOf = (minted: Minted): TokenKind => (minted in LAST ? 'access_token' : (minted as TokenKind))

const vouching = await openVouching()
const pairs = MINTED.flatMap((minted) =>
  KINDS.filter((kind) => kind !== kindOf(minted)).map((kind) => [minted, kind] as const),
)

describe('attack 32: attack 31, J15, 004-11: kinds of tokens exclude each other', () => {
  test.each(MINTED)('control: %s is what it is', async (minted) => {
    expect(await vouching.verdict(kindOf(minted), mint(minted))).toBe('verified')
  })

  test('the matrix is whole', () => {
    expect(pairs.length).toBe(MINTED.length * KINDS.length - MINTED.length)
  })

  test.each(pairs)('%s as %s, as it is', async (minted, kind) => {
    expect(await vouching.verdict(kind, mint(minted))).toMatch(TOLD_APART)
  })

  test.each(pairs)('%s as %s, for the same audience', async (minted, kind) => {
    const both = mint(minted, { aud: [AUDIENCE, CLIENT] })
    expect(await vouching.verdict(kind, both, { otherAudiences: [AUDIENCE] })).toMatch(TOLD_APART)
  })

  // Its own marks are kept: the maker of an ID token puts a nonce in, whatever else somebody has it put in.
  test.each(pairs)('%s as %s, with every claim of it', async (minted, kind) => {
    const dressed = mint(minted, {
      ...BORROWED[kind],
      ...(minted === 'request_object' ? {} : { iss: issOf(minted) }),
    })
    expect(await vouching.verdict(kind, dressed)).toMatch(TOLD_APART)
  })

  test.each(pairs)('%s as %s, with its type', async (minted, kind) => {
    expect(await vouching.verdict(kind, mint(minted, {}, { typ: TYPES[kind] }))).toMatch(TOLD_APART)
  })

  test.each(MINTED)('%s as JWT-SVID, where there is no trust domain', async (minted) => {
    expect(await vouching.verdict('jwt_svid', mint(minted))).toBe('jwks_unavailable')
  })
})

function issOf(minted: Minted): string {
  return minted === 'client_assertion' ? CLIENT : ISSUER
}

describe('what was expected of each kind is used', () => {
  test('every kind but access has something to expect', () => {
    expect(KINDS.filter((kind) => EXPECTED[kind].clientId === '')).toEqual(['access_token'])
  })
})
