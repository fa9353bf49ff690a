import { describe, expect, test } from 'vitest'
import { denied } from '../../sidecar/decision.ts'
import type { Profile } from '../../sidecar/token/evidence.ts'
import { PROFILES } from '../../sidecar/token/profiles.ts'
import { createProve, forgetful } from '../../sidecar/token/verify.ts'
import { createKeys } from '../../sidecar/trust/keys.ts'
import { AT_S } from '../attacks/arena.ts'
import { openSteps } from '../attacks/steps.ts'
import { AUDIENCE, CLIENT, type Members } from '../fixtures/tokens.ts'
import { EXPECTED, type Minted, mint, PARTIES } from '../fixtures/vouching.ts'

// Each member of each profile has a duty: without it, a token gets through that should not.

type Name = keyof typeof PROFILES
type Duty = readonly [what: string, name: Name, without: Partial<Profile>, token: () => string]

const BOTH = { aud: [AUDIENCE, CLIENT] }
const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} }
const untyped = (kind: Minted, claims: Members = {}) => mint(kind, claims, { typ: undefined })

const DUTIES: readonly Duty[] = [
  [
    'types',
    'id_token',
    { types: new Set(['', 'jwt', 'at+jwt']) },
    () => mint('id_token', {}, { typ: 'at+jwt' }),
  ],
  [
    'forbidden claims: an access token as a login',
    'id_token',
    { forbids: [] },
    () => mint('legacy_access_token', { aud: CLIENT, nonce: 'n-1', azp: CLIENT }),
  ],
  [
    'forbidden claims: a logout as a login',
    'id_token',
    { forbids: [] },
    () => untyped('logout_token', { nonce: 'n-1' }),
  ],
  ['rules', 'id_token', { rules: [] }, () => mint('id_token', { nonce: 'n-2' })],
  ['required claims', 'id_token', { requires: [] }, () => mint('id_token', { sub: undefined })],
  ['the audience', 'id_token', { audience: 'ours' }, () => mint('id_token', { aud: AUDIENCE })],
  ['types', 'logout_token', { types: new Set(['', 'jwt']) }, () => mint('logout_token', {}, { typ: 'JWT' })],
  [
    'forbidden claims: a login as a logout',
    'logout_token',
    { forbids: [] },
    () => untyped('id_token', { events: EVENTS, jti: 'j' }),
  ],
  ['rules', 'logout_token', { rules: [] }, () => mint('logout_token', { events: undefined })],
  ['required claims', 'logout_token', { requires: [] }, () => mint('logout_token', { jti: undefined })],
  [
    'the signer',
    'client_assertion',
    { signer: 'issuer', rules: [] },
    () => untyped('id_token', { aud: AUDIENCE, jti: 'j', nonce: undefined }),
  ],
  ['rules', 'client_assertion', { rules: [] }, () => mint('client_assertion', { sub: 'other' })],
  [
    'forbidden claims: a request as an assertion',
    'client_assertion',
    { forbids: [], types: new Set(['oauth-authz-req+jwt']) },
    () => mint('request_object', { sub: CLIENT, jti: 'j' }),
  ],
  [
    'the lifetime',
    'client_assertion',
    { lifetime: PROFILES.request_object.lifetime },
    () => mint('client_assertion', { exp: AT_S + 3_000 }),
  ],
  [
    'forbidden claims: an assertion in a request',
    'request_object',
    { forbids: [] },
    () => mint('request_object', { sub: CLIENT }),
  ],
  ['rules', 'request_object', { rules: [] }, () => mint('request_object', { client_id: 'other' })],
  ['types', 'request_object', { types: new Set(['jwt']) }, () => mint('request_object', {}, { typ: 'JWT' })],
  [
    'the signer',
    'access_token',
    { signer: 'client' },
    () => mint('client_assertion', { client_id: CLIENT, tenant: 'acme' }, { typ: 'at+jwt' }),
  ],
  ['the audience', 'access_token', { audience: 'client' }, () => mint('access_token', { aud: CLIENT })],
  ['required claims', 'access_token', { requires: [] }, () => mint('access_token', { client_id: undefined })],
]

const { trust } = await openSteps({ issuers: [...PARTIES] })
const keys = createKeys({
  ...{ refresh: async () => false, installed: () => trust, now: () => 0, inFlight: 4 },
  sleep: async () => undefined,
  lifetime: new AbortController().signal,
})
const prove = forgetful(createProve(keys.find))

async function verified(profile: Profile, token: string): Promise<boolean> {
  // A client is expected everywhere, so that the audience of clients means something.
  const expected = { ...EXPECTED[profile.name], clientId: CLIENT }
  const proven = await prove({
    ...{ token: Buffer.from(token), profile, expected, trust, at: AT_S * 1000 },
    signal: () => new AbortController().signal,
  })
  return !denied(proven)
}

describe('000-28: J15: each member of each profile has a duty of its own', () => {
  test.each(DUTIES.map((duty) => [`${duty[1]}: ${duty[0]}`, duty] as const))('%s', async (_title, duty) => {
    const [, name, without, token] = duty
    expect(await verified(PROFILES[name], token())).toBe(false)
    expect(await verified({ ...PROFILES[name], ...without }, token())).toBe(true)
  })
  test('control: two audiences are no way around', async () => {
    expect(await verified(PROFILES.id_token, mint('access_token', BOTH))).toBe(false)
  })
})
