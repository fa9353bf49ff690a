import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { type Asked, question } from '../fixtures/question.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, spellings, tenantsBy } from './arena.ts'

const GLOBEX = 'https://idp.globex.example'
const MANY = 'https://idp.many.example'
const [ours, theirs, many] = ['acme', 'globex', 'many'].map((kid) => signingKey('ES256', kid))
const es256 = ['ES256']
const arena = await openArena({
  issuers: [
    {
      issuer: ISSUER,
      keys: ours ? [ours] : [],
      algorithms: es256,
      tenant: { $case: 'fixedTenant', fixedTenant: 'acme' },
    },
    {
      issuer: GLOBEX,
      keys: theirs ? [theirs] : [],
      algorithms: es256,
      tenant: { $case: 'fixedTenant', fixedTenant: 'globex' },
    },
    {
      issuer: MANY,
      keys: many ? [many] : [],
      algorithms: es256,
      tenant: tenantsBy('org', ['acme', 'initech']),
    },
  ],
})
const acme = (claims: object) => ({ ...(ours && { key: ours }), claims: { iss: ISSUER, ...claims } })
const globex = (claims: object) => ({ ...(theirs && { key: theirs }), claims: { iss: GLOBEX, ...claims } })
const fromMany = (claims: object) => ({
  ...(many && { key: many }),
  claims: { iss: MANY, tenant: undefined, ...claims },
})
const FOREIGN = [
  'globex',
  'ACME',
  'acme ',
  '',
  'acme\u200b',
  '*',
  null,
  1,
  true,
  ['acme'],
  ['globex'],
  { acme: 1 },
]
const stored = (tenant: string): Asked => ({ stored: { tenant, owner: 'alice' } })

describe('attack 45: 004-03: an issuer that speaks for a tenant which is not its own', () => {
  refuses(
    arena,
    spellings(FOREIGN, (tenant) => [
      `tenant ${JSON.stringify(tenant)} from the issuer of acme`,
      acme({ tenant }),
      'issuer_tenant_mismatch',
    ]),
  )
  refuses(arena, [
    ['org globex from an issuer of acme and initech', fromMany({ org: 'globex' }), 'issuer_tenant_mismatch'],
    ['org in capitals', fromMany({ org: 'ACME' }), 'issuer_tenant_mismatch'],
    ['an empty org', fromMany({ org: '' }), 'issuer_tenant_mismatch'],
    ['no org', fromMany({}), 'claim_missing'],
    ['tenant in place of org', fromMany({ tenant: 'acme' }), 'claim_missing'],
    ['org as a list', fromMany({ org: ['acme'] }), 'claim_invalid'],
    ['org null', fromMany({ org: null }), 'claim_invalid'],
    ['org as a number', fromMany({ org: 1 }), 'claim_invalid'],
    ['our tenant from the issuer of globex', globex({ tenant: 'acme' }), 'issuer_tenant_mismatch'],
    [
      'our tenant from the issuer of globex by not saying so',
      globex({ tenant: undefined }),
      'tenant_mismatch',
    ],
  ])
  admits(arena, [
    ['its own tenant', acme({ tenant: 'acme' })],
    ['its own tenant without saying so', acme({ tenant: undefined })],
    ['one of several tenants', fromMany({ org: 'acme' })],
  ])

  test.each([
    ['acme', acme({}), 'acme', 'allow'],
    ['acme', acme({}), 'globex', 'tenant_mismatch'],
    ['globex', globex({ tenant: 'globex' }), 'globex', 'allow'],
    ['globex', globex({ tenant: 'globex' }), 'acme', 'tenant_mismatch'],
    ['initech', fromMany({ org: 'initech' }), 'initech', 'allow'],
    ['initech', fromMany({ org: 'initech' }), 'acme', 'tenant_mismatch'],
  ])('an identity of %s asks for an invoice', async (_, weapon, tenant, want) => {
    expect(await arena.verdict(weapon, stored(tenant))).toBe(want)
  })

  test('a tenant that the request asserts is not read', async () => {
    const token = globex({ tenant: 'globex' })
    const asked = { ...stored('acme'), request: { tenant: 'globex', owner: 'alice' } }
    expect(await arena.verdict(token, asked)).toBe('tenant_mismatch')
    expect(question(asked).resource?.request).toEqual({ tenant: 'globex', owner: 'alice' })
  })
})
