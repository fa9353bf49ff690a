import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { AUDIENCE } from '../fixtures/tokens.ts'
import { mint, openVouching } from '../fixtures/vouching.ts'
import { AT_S, openArena, tokenOf, trusting } from './arena.ts'

// A verdict that was right for one configuration, asked for under another (lua-resty-openidc 399 and 569).

const key = signingKey('ES256', 'reuse')
const OTHER = 'https://other.test.example'
const issuer = (change: object = {}) => ({ issuers: [{ keys: [key], algorithms: ['ES256'], ...change }] })

const CHANGES: readonly (readonly [what: string, change: object, verdict: string])[] = [
  ['another audience', { audience: 'https://third.test.example' }, 'aud_mismatch'],
  ['an audience for itself alone', { exclusiveAudience: true }, 'aud_not_exclusive'],
  ['a denied audience', { tokens: { deniedAudiences: [OTHER] } }, 'aud_denied'],
  ['a shorter life', { maxTokenLifetimeS: 120 }, 'lifetime_too_long'],
  [
    'other tenants',
    issuer({ tenant: { $case: 'fixedTenant', fixedTenant: 'globex' } }),
    'issuer_tenant_mismatch',
  ],
  ['other algorithms', issuer({ algorithms: ['ES384'] }), 'alg_not_allowed'],
  ['another issuer', issuer({ issuer: 'https://new.example' }), 'iss_unknown'],
  ['a client in place of the issuer', issuer({ client: true }), 'iss_unknown'],
]

describe('attack 75: 004-31: a verdict remembered for another route or configuration', () => {
  test.each(CHANGES)('%s', async (_what, change, verdict) => {
    const { pipeline } = await openArena(trusting(key))
    const token = tokenOf({ key, claims: { aud: [AUDIENCE, OTHER] } })
    const ask = () => pipeline.reason(question({ token }))
    for (let count = 0; count < 3; count++) expect(await ask()).toBe('allow')
    await pipeline.install(change)
    for (let count = 0; count < 2; count++) expect(await ask()).toBe(verdict)
    await pipeline.install({
      ...trusting(key),
      audience: AUDIENCE,
      exclusiveAudience: false,
      maxTokenLifetimeS: 3600,
      tokens: {},
    })
    expect(await ask()).toBe('allow')
  })

  test('a token without a type, once the time for that is over', async () => {
    const time = { ms: AT_S * 1000 }
    const { pipeline } = await openArena({
      ...issuer({ legacyTypUntilMs: time.ms + 10_000 }),
      now: () => time.ms,
    })
    const token = tokenOf({ key, header: { typ: 'JWT' } })
    expect(await pipeline.reason(question({ token }))).toBe('allow')
    time.ms += 10_000
    expect(await pipeline.reason(question({ token }))).toBe('typ_mismatch')
  })

  test('what was verified as one kind is not verified as another', async () => {
    const vouching = await openVouching()
    const token = mint('access_token')
    for (let count = 0; count < 2; count++)
      expect(await vouching.verdict('access_token', token)).toBe('verified')
    expect(await vouching.verdict('id_token', token)).toBe('typ_mismatch')
    expect(await vouching.verdict('access_token', token)).toBe('verified')
  })
})
