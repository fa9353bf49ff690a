import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { openArena } from './arena.ts'

// Names that become equal when they are joined with a delimiter.
const JOINS: readonly (readonly [
  first: readonly [iss: string, kid: string],
  second: readonly [iss: string, kid: string],
])[] = [
  [
    ['https://a.example', '/b:k'],
    ['https://a.example/b', ':k'],
  ],
  [
    ['https://a.example', '/b/k'],
    ['https://a.example/b', '/k'],
  ],
  [
    ['https://a.example#', 'k'],
    ['https://a.example', '#k'],
  ],
  [
    ['https://a.example', ':k'],
    ['https://a.example:', 'k'],
  ],
  [
    ['https://a.example,x', 'k'],
    ['https://a.example', 'x,k'],
  ],
  [
    ['1:a', '1:b'],
    ['1', ':a1:b'],
  ],
]
const tenant = { $case: 'fixedTenant', fixedTenant: 'acme' } as const

describe('attack 74: an issuer and a key name that flow into each other', () => {
  test.each(JOINS)('%j and %j stay two', async ([firstIssuer, firstKid], [secondIssuer, secondKid]) => {
    const first = signingKey('ES256', firstKid)
    const second = signingKey('ES256', secondKid)
    const arena = await openArena({
      issuers: [
        { issuer: firstIssuer, keys: [first], algorithms: ['ES256'], tenant },
        { issuer: secondIssuer, keys: [second], algorithms: ['ES256'], tenant },
      ],
    })
    expect(await arena.verdict({ key: first, claims: { iss: firstIssuer } })).toBe('allow')
    expect(await arena.verdict({ key: second, claims: { iss: secondIssuer } })).toBe('allow')
    expect(await arena.verdict({ key: second, claims: { iss: firstIssuer } })).toBe('kid_unknown')
    expect(await arena.verdict({ key: first, claims: { iss: secondIssuer } })).toBe('kid_unknown')
    const stolen = { key: second, header: { kid: firstKid }, claims: { iss: firstIssuer } }
    expect(await arena.verdict(stolen)).toBe('sig_invalid')
  })

  test('a header remembered from one issuer does not choose the key of another', async () => {
    const ours = signingKey('ES256', 'k')
    const theirs = { ...signingKey('ES256', 'other'), kid: 'k' }
    const arena = await openArena({
      issuers: [
        { issuer: 'https://a.example', keys: [ours], algorithms: ['ES256'], tenant },
        {
          issuer: 'https://b.example',
          keys: [{ ...theirs, jwk: { ...theirs.jwk, kid: 'k' } }],
          algorithms: ['ES256'],
          tenant,
        },
      ],
    })
    for (let round = 0; round < 3; round++) {
      expect(await arena.verdict({ key: ours, claims: { iss: 'https://a.example' } })).toBe('allow')
      expect(await arena.verdict({ key: theirs, claims: { iss: 'https://b.example' } })).toBe('allow')
      expect(await arena.verdict({ key: ours, claims: { iss: 'https://b.example' } })).toBe('sig_invalid')
    }
  })
})
