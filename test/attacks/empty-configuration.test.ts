import { describe, expect, test } from 'vitest'
import { parseConfig } from '../../sidecar/config.ts'
import { signingKey } from '../fixtures/keys.ts'
import type { PipelinePlan } from '../fixtures/pipeline.ts'
import { openArena, tenantsBy, trusting } from './arena.ts'

const arena = await openArena()
const [issuer] = trusting(signingKey()).issuers

const EMPTY: readonly (readonly [name: string, change: Partial<PipelinePlan>, path: string])[] = [
  ['an empty issuer', { issuers: [{ ...issuer, issuer: '' }] }, 'issuer'],
  ['no issuers', { issuers: [] }, 'issuers'],
  ['an empty audience', { audience: '' }, 'audience'],
  ['no algorithms', { issuers: [{ ...issuer, algorithms: [] }] }, 'algorithms'],
  ['an empty algorithm', { issuers: [{ ...issuer, algorithms: [''] }] }, 'algorithms'],
  [
    'an empty fixed tenant',
    { issuers: [{ ...issuer, tenant: { $case: 'fixedTenant', fixedTenant: '' } }] },
    'tenant',
  ],
  ['an empty tenant claim', { issuers: [{ ...issuer, tenant: tenantsBy('', ['acme']) }] }, 'tenant'],
  ['no allowed tenants', { issuers: [{ ...issuer, tenant: tenantsBy('tenant', []) }] }, 'tenant'],
  [
    'an empty allowed tenant',
    { issuers: [{ ...issuer, tenant: tenantsBy('tenant', ['acme', '']) }] },
    'tenant',
  ],
  ['an issuer given twice', { issuers: [issuer, issuer] }, 'issuer'],
  ['a skew of an hour', { issuers: [{ ...issuer, skewS: 3600 }] }, 'skew_s'],
  ['no longest lifetime', { maxTokenLifetimeS: 0 }, 'max_token_lifetime_s'],
  ['a longest lifetime of a year', { maxTokenLifetimeS: 31_536_000 }, 'max_token_lifetime_s'],
]

const yaml = (change: string) => `
version: 1
listen: { tcp: '127.0.0.1:0' }
audience: https://api.test.example
issuers:
  - issuer: https://idp.test.example
    jwks: { file: jwks.json }
    algorithms: [RS256]
    tenant: { fixed: acme }
policy: { path: bundle }
${change}`
const replaced = (from: RegExp, to: string) => yaml('').replace(from, to)

describe('attack 46: 004-17: an empty setting that would skip its check', () => {
  test.each(EMPTY)('%s is refused, and what was believed before stays', async (_, change, path) => {
    const installed = await arena.pipeline.install(change)
    expect(installed).toMatchObject({ ok: false, problems: [expect.stringContaining(path)] })
    expect(await arena.verdict({})).toBe('allow')
    expect(await arena.verdict({ claims: { iss: '' } })).toBe('iss_unknown')
    expect(await arena.verdict({ claims: { aud: '' } })).toBe('aud_mismatch')
    // The pipeline remembers its last wish.
    await arena.pipeline.install({
      ...trusting(signingKey()),
      audience: 'https://api.test.example',
      maxTokenLifetimeS: 3600,
    })
  })

  test.each([
    ['issuer', replaced(/issuer: https.*/, "issuer: ''")],
    ['issuer', replaced(/issuer: https.*/, 'issuer:')],
    ['issuers', replaced(/issuers:[\s\S]*?policy/, 'issuers: []\npolicy')],
    ['issuers', replaced(/issuers:[\s\S]*?policy/, 'policy')],
    ['audience', replaced(/audience: .*/, "audience: ''")],
    ['audience', replaced(/audience: .*/, 'audience: []')],
    ['audience', replaced(/audience: .*\n/, '')],
    ['aud', yaml('aud: https://api.test.example')],
    ['algorithms', replaced(/algorithms: .*/, 'algorithms: []')],
    ['algorithms', replaced(/algorithms: .*/, 'algorithms: [none]')],
    ['algorithms', replaced(/algorithms: .*/, 'algorithms: [HS256]')],
    ['tenant', replaced(/\n.*tenant: .*/, '')],
    ['tenant', replaced(/tenant: .*/, "tenant: { fixed: '' }")],
  ])('a file with a bad %s is no configuration (%#)', (name, text) => {
    const read = parseConfig(text, {}, '/')
    expect(read.ok ? [] : read.problems).toContainEqual(expect.stringContaining(name))
  })

  test('the file they were made from is one', () => {
    expect(parseConfig(yaml(''), {}, '/')).toMatchObject({ ok: true })
  })
})
