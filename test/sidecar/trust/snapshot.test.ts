import { expect, test } from 'vitest'
import type { Issuer, Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { parseSnapshot } from '../../../sidecar/trust/snapshot.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { issuerMessage, SOURCE, snapshotMessage } from './beliefs.ts'

const KEY = signingKey('RS256', 'k1')
const GOOD = snapshotMessage(3, [{ keys: [KEY], notAfterMs: 77, refreshable: true }])

function read(message: Snapshot): readonly string[] {
  const parsed = parseSnapshot(message, new Map())
  return 'generation' in parsed ? [] : parsed
}

test('a good message becomes beliefs', () => {
  const beliefs = parseSnapshot(GOOD, new Map())
  if (!('generation' in beliefs)) throw new Error('refused')
  expect(beliefs).toMatchObject({ generation: 3, exclusiveAudience: false, maxTokenLifetimeS: 3600 })
  const issuer = beliefs.issuers.get(ISSUER)
  expect(issuer).toMatchObject({ source: SOURCE, skewS: 60, tenant: { kind: 'fixed', tenant: 'acme' } })
  expect(issuer?.algorithms).toEqual(new Set(['RS256', 'ES256']))
  expect(issuer?.keys).toMatchObject({ notAfter: 77, refreshable: true, weakKids: new Set() })
  expect([...(issuer?.keys.byKid.keys() ?? [])]).toEqual(['k1'])
})

const profile = (change: object) => ({
  profile: {
    audience: 'a',
    exclusiveAudience: false,
    maxTokenLifetimeS: 60,
    leases: undefined,
    routes: [],
    tokens: undefined,
    ...change,
  },
})

test.each<readonly [path: string, what: string, change: Partial<Snapshot>, ok: boolean]>([
  ['profile.audience', '0 characters', profile({ audience: '' }), false],
  ['profile.audience', '1 character', profile({ audience: 'a' }), true],
  ['profile.audience', '512 characters', profile({ audience: 'a'.repeat(512) }), true],
  ['profile.audience', '513 characters', profile({ audience: 'a'.repeat(513) }), false],
  ['profile.max_token_lifetime_s', '0', profile({ maxTokenLifetimeS: 0 }), false],
  ['profile.max_token_lifetime_s', '59', profile({ maxTokenLifetimeS: 59 }), false],
  ['profile.max_token_lifetime_s', '60', profile({ maxTokenLifetimeS: 60 }), true],
  ['profile.max_token_lifetime_s', '86400', profile({ maxTokenLifetimeS: 86_400 }), true],
  ['profile.max_token_lifetime_s', '86401', profile({ maxTokenLifetimeS: 86_401 }), false],
  ['issuers', '0', { issuers: [] }, false],
  ['issuers', '32', { issuers: many(32) }, true],
  ['issuers', '33', { issuers: many(33) }, false],
])('%s of %s', (path, _what, change, ok) => {
  const problems = read({ ...GOOD, ...change })
  expect(problems).toEqual(ok ? [] : [expect.stringMatching(new RegExp(`^${path}: `))])
})

const claim = (name: string, allowed: string[]) =>
  ({ $case: 'tenantClaim', tenantClaim: { claim: name, allowed } }) as const
const tenants = (count: number) => Array.from({ length: count }, (_, index) => `t${index}`)

test.each<readonly [path: string, what: string, change: Partial<Issuer>, ok: boolean]>([
  ['issuer', 'empty', { issuer: '' }, false],
  ['issuer', '512 characters', { issuer: 'i'.repeat(512) }, true],
  ['issuer', '513 characters', { issuer: 'i'.repeat(513) }, false],
  ['source', 'empty', { source: '' }, true],
  ['source', '320 characters', { source: 's'.repeat(320) }, true],
  ['source', '321 characters', { source: 's'.repeat(321) }, false],
  ['skew_s', '0', { skewS: 0 }, true],
  ['skew_s', '300', { skewS: 300 }, true],
  ['skew_s', '301', { skewS: 301 }, false],
  ['algorithms', 'none named', { algorithms: [] }, false],
  ['algorithms', 'HS256', { algorithms: ['RS256', 'HS256'] }, false],
  ['algorithms', 'none', { algorithms: ['none'] }, false],
  ['algorithms', 'a lower-case name', { algorithms: ['rs256'] }, false],
  ['algorithms', 'EdDSA', { algorithms: ['EdDSA'] }, true],
  ['tenant', 'absent', { tenant: undefined }, false],
  ['tenant', 'fixed and empty', { tenant: { $case: 'fixedTenant', fixedTenant: '' } }, false],
  ['tenant', 'a claim without a name', { tenant: claim('', ['acme']) }, false],
  ['tenant', 'a claim that may be anything', { tenant: claim('tenant', []) }, false],
  ['tenant', 'a claim that may be empty', { tenant: claim('tenant', ['acme', '']) }, false],
  ['tenant', 'a claim with 10000 tenants', { tenant: claim('tenant', tenants(10_000)) }, true],
  ['tenant', 'a claim with 10001 tenants', { tenant: claim('tenant', tenants(10_001)) }, false],
  ['keys.jwks', 'no JSON', keysOf('x'), false],
  ['keys.jwks', 'larger than 256 KiB', keysOf(' '.repeat(256 * 1024 + 1)), false],
  ['keys.jwks', 'a private key', keysOf(JSON.stringify({ keys: [{ ...KEY.jwk, d: 'AA' }] })), false],
  ['keys.jwks', 'nothing yet', keysOf(''), true],
  ['keys', 'absent', { keys: undefined }, true],
])('issuers[0].%s: %s', (path, _what, change, ok) => {
  const problems = read({ ...GOOD, issuers: [{ ...issuerMessage({ keys: [KEY] }), ...change }] })
  expect(problems).toEqual(ok ? [] : [expect.stringMatching(new RegExp(`^issuers\\[0\\]\\.${path}: `))])
})

test('one bad key does not spoil the set; a weak one is remembered by its kid', () => {
  const weak = { ...KEY.jwk, kid: 'weak', e: 'Aw' }
  const odd = { kty: 'OKP', crv: 'X448', kid: 'odd' }
  const document = Buffer.from(JSON.stringify({ keys: [weak, odd, KEY.jwk] }))
  const beliefs = parseSnapshot(snapshotMessage(1, [{ document }]), new Map())
  const keys = 'issuers' in beliefs ? beliefs.issuers.get(ISSUER)?.keys : undefined
  expect([...(keys?.byKid.keys() ?? [])]).toEqual(['k1'])
  expect(keys?.weakKids).toEqual(new Set(['weak']))
})

test('keys that configuration gives never go stale', () => {
  const beliefs = parseSnapshot(snapshotMessage(1, [{ keys: [KEY], notAfterMs: 0 }]), new Map())
  expect('issuers' in beliefs && beliefs.issuers.get(ISSUER)?.keys.notAfter).toBe(Number.POSITIVE_INFINITY)
})

function keysOf(jwks: string): Partial<Issuer> {
  return { keys: { jwks: Buffer.from(jwks), notAfterMs: 0, refreshable: false } }
}

function many(count: number): Issuer[] {
  return Array.from({ length: count }, (_, index) =>
    issuerMessage({ issuer: `https://idp-${index}.example` }),
  )
}
