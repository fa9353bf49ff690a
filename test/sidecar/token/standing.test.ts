// Tenants, and what is remembered of the one who is recognised.
import { expect, test } from 'vitest'
import { denied } from '../../../sidecar/decision.ts'
import { isPrincipal } from '../../../sidecar/token/standing.ts'
import { openPipeline } from '../../fixtures/pipeline.ts'
import { question } from '../../fixtures/question.ts'
import { forge, goodClaims, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { type DeskPlan, KEY, NOW_S, openDesk } from './desk.ts'

const fixed = { $case: 'fixedTenant', fixedTenant: 'acme' } as const
const byClaim = (claim: string): NonNullable<DeskPlan['tenant']> => ({
  $case: 'tenantClaim',
  tenantClaim: { claim, allowed: ['acme', 'globex'] },
})

test.each<readonly [what: string, claims: Members, want: string]>([
  ['without a tenant claim', { tenant: undefined }, 'allow'],
  ['that says the same', { tenant: 'acme' }, 'allow'],
  ['that says another', { tenant: 'globex' }, 'issuer_tenant_mismatch'],
  ['in another case', { tenant: 'ACME' }, 'issuer_tenant_mismatch'],
  ['that says nothing', { tenant: '' }, 'issuer_tenant_mismatch'],
  ['that says null', { tenant: null }, 'issuer_tenant_mismatch'],
  ['that says it in a list', { tenant: ['acme'] }, 'issuer_tenant_mismatch'],
])('004-03: an issuer of one tenant, a token %s', async (_what, claims, want) => {
  const desk = await openDesk({ tenant: fixed })
  expect(await desk.verdict({ claims })).toBe(want)
})

test.each<readonly [what: string, claims: Members, want: string]>([
  ['an allowed tenant', { org: 'acme' }, 'allow'],
  ['an allowed tenant that is not the resource’s', { org: 'globex' }, 'tenant_mismatch'],
  ['a tenant of somebody else', { org: 'initech' }, 'issuer_tenant_mismatch'],
  ['a tenant in another case', { org: 'Acme' }, 'issuer_tenant_mismatch'],
  ['a name that objects have', { org: '__proto__' }, 'issuer_tenant_mismatch'],
  ['nothing', { org: '' }, 'issuer_tenant_mismatch'],
  ['none', { org: undefined }, 'claim_missing'],
  ['the usual claim only', { org: undefined, tenant: 'acme' }, 'claim_missing'],
  ['null', { org: null }, 'claim_invalid'],
  ['a number', { org: 7 }, 'claim_invalid'],
  ['a list', { org: ['acme'] }, 'claim_invalid'],
])('an issuer of several tenants, a token that names %s', async (_what, claims, want) => {
  const desk = await openDesk({ tenant: byClaim('org') })
  expect(await desk.verdict({ claims: { tenant: undefined, ...claims } })).toBe(want)
})

async function recognised(claims: Members) {
  const pipeline = await openPipeline({ issuers: [{ keys: [KEY] }], now: () => NOW_S * 1000 })
  const { principal } = await pipeline.ask(question({ token: forge({ key: KEY, at: NOW_S, claims }) }))
  if (!principal) throw new Error('not recognised')
  return principal
}

test('a principal is what the token says, and carries the claims as they were signed', async () => {
  const claims = goodClaims(NOW_S, { jti: 'j-1', extra: { b: [1], a: 2 } })
  const who = await recognised({ ...claims })
  expect({ ...who }).toEqual({
    actors: [],
    issuer: ISSUER,
    subject: 'alice',
    clientId: 'test-web',
    tenant: 'acme',
    kind: 'user',
    scopes: ['invoice:read', 'invoice:edit', 'invoice:delete', 'invoice:refund'],
    roles: ['billing'],
    issuedAt: NOW_S,
    expiresAt: NOW_S + 300,
    jti: 'j-1',
    kid: KEY.kid,
    acr: undefined,
    authTime: undefined,
    amr: [],
    confirmation: 'bearer',
    authorizationDetails: [],
    claimsJson: JSON.stringify(claims),
  })
})

test.each<readonly [claims: Members, kind: string]>([
  [{ sub: 'alice', client_id: 'web' }, 'user'],
  [{ sub: 'batch', client_id: 'batch' }, 'machine'],
  [{ sub: 'Batch', client_id: 'batch' }, 'user'],
])('004-02: %j speaks for a %s', async (claims, kind) => {
  expect((await recognised(claims)).kind).toBe(kind)
})

test('absent scope and roles are empty lists', async () => {
  expect(await recognised({ scope: undefined, roles: undefined })).toMatchObject({ scopes: [], roles: [] })
})

test('only what standing made is a principal: no look-alike, copy, proxy or heir is', async () => {
  const who = await recognised({})
  expect(isPrincipal(who)).toBe(true)
  const impostors: readonly unknown[] = [
    { ...who },
    structuredClone(who),
    Object.create(who),
    Object.create(Object.getPrototypeOf(who)),
    new Proxy(who, {}),
    undefined,
    null,
    'alice',
    {},
  ]
  for (const impostor of impostors) expect(isPrincipal(impostor)).toBe(false)
})

test('a refusal before standing names nobody', async () => {
  const pipeline = await openPipeline({ issuers: [{ keys: [KEY] }], now: () => NOW_S * 1000 })
  const { decision, principal } = await pipeline.ask(
    question({ token: forge({ key: KEY, at: NOW_S, claims: { exp: NOW_S - 100, iat: NOW_S - 200 } }) }),
  )
  expect(denied(decision) && decision.reason).toBe('expired')
  expect(principal).toBeUndefined()
})
