import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { bareJwk, CLIENT_KEY, forgeProof, jktOf } from '../fixtures/proofs.ts'
import { constant } from '../fixtures/tokens.ts'
import { AT_S, tokenOf } from './arena.ts'
import { BOUND, type Call, openDpopArena } from './dpop-arena.ts'

// The attacker knows which id the client will use next, and sends it first in something that is refused.
const mallory = signingKey('ES256', 'mallory')
const jwk = bareJwk(CLIENT_KEY)
const withId = (call: Call, jti: string): Call => ({ ...call, proof: { ...(call.proof as object), jti } })

const REFUSED: readonly (readonly [claim: string, call: Call, reason: string])[] = [
  ['a forged signature', { proof: { sign: constant(Buffer.alloc(64, 1)) } }, 'dpop_sig'],
  ['the key of the victim, signed by another', { proof: { key: mallory, header: { jwk } } }, 'dpop_sig'],
  ['another key', { proof: { key: mallory } }, 'dpop_jkt'],
  ['another method', { proof: { method: 'PUT' } }, 'dpop_htm'],
  ['another URL', { proof: { url: 'https://evil.example/' } }, 'dpop_htu'],
  ['another token', { proof: { claims: { ath: 'x' } } }, 'dpop_ath'],
  ['an old date', { proof: { at: AT_S - 100 } }, 'dpop_iat_skew'],
  ['a foreign nonce', { proof: { claims: { nonce: 'x' } } }, 'dpop_nonce_invalid'],
  [
    'an expired token',
    { token: { claims: { ...BOUND.claims, exp: AT_S - 100, iat: AT_S - 200 } } },
    'expired',
  ],
  [
    'a token of another tenant',
    { token: { claims: { ...BOUND.claims, tenant: 'initech' } } },
    'issuer_tenant_mismatch',
  ],
  ['the scheme Bearer', { scheme: 'Bearer' }, 'cnf_scheme_mismatch'],
]

describe('attack 66: a proof that is refused, to use up the id of one that is good', () => {
  test.each(REFUSED)('attack 66, 003-21: after %s the id is still unused', async (claim, call, reason) => {
    const arena = await openDpopArena()
    expect(await arena.verdict(withId(call, claim))).toBe(reason)
    expect(await arena.verdict({ proof: { jti: claim } })).toBe('allow')
    expect(await arena.verdict({ proof: { jti: claim } })).toBe('dpop_replay')
  })

  test('attack 66: a route that the token is not good for uses nothing up', async () => {
    const arena = await openDpopArena({
      tokens: { externalBaseUrl: 'https://api.test.example', firstPartyScopes: ['admin'] },
    })
    const refused = {
      token: { claims: { ...BOUND.claims, scope: 'invoice:read admin' } },
      proof: { jti: 'a' },
    }
    expect(await arena.verdict(refused)).toBe('policy_denied')
    expect(await arena.verdict({ proof: { jti: 'a' } })).toBe('allow')
  })

  test('attack 66, 003-13: a thief with the token and a proof of his own gets nothing', async () => {
    const arena = await openDpopArena()
    const token = tokenOf(BOUND)
    const seen = forgeProof({ token, at: AT_S })
    const [, payload, signature] = seen.split('.')
    const header = Buffer.from(
      JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: bareJwk(mallory) }),
    ).toString('base64url')
    for (const [proof, reason] of [
      [forgeProof({ token, at: AT_S, key: mallory }), 'dpop_jkt'],
      [forgeProof({ token, at: AT_S, key: mallory, header: { jwk } }), 'dpop_sig'],
      [`${header}.${payload}.${signature}`, 'dpop_jkt'],
    ] as const)
      expect(await arena.verdict({ token, proof: [proof] })).toBe(reason)
    expect(jktOf(mallory)).not.toBe(jktOf(CLIENT_KEY))
    expect(await arena.verdict({ token, proof: [seen] })).toBe('allow')
  })
})
