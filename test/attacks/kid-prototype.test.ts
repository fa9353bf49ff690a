import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { goodClaims } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses, spellings, trusting } from './arena.ts'

const arena = await openArena()
const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'valueOf',
  'hasOwnProperty',
  '__defineGetter__',
  'length',
  '0',
]
const claims = goodClaims(AT_S)
const smuggled = (names: readonly string[]) => {
  const kept = Object.entries(claims).filter(([name]) => !names.includes(name))
  const hidden = Object.entries(claims).filter(([name]) => names.includes(name))
  const [inherited, own] = [hidden, kept].map((entries) => JSON.stringify(Object.fromEntries(entries)))
  return `{"__proto__":${inherited},${own?.slice(1)}`
}

describe('attack 13: J9: names that every object inherits', () => {
  refuses(
    arena,
    spellings(NAMES, (kid) => [`kid ${kid}`, { header: { kid } }, 'kid_unknown']),
  )
  refuses(
    arena,
    spellings(NAMES, (iss) => [`iss ${iss}`, { claims: { iss } }, 'iss_unknown']),
  )
  refuses(
    arena,
    spellings(NAMES, (tenant) => [`tenant ${tenant}`, { claims: { tenant } }, 'issuer_tenant_mismatch']),
  )
  refuses(
    arena,
    spellings(NAMES, (alg) => [`alg ${alg}`, { header: { alg } }, 'alg_not_allowed']),
  )
  refuses(arena, [
    ['an audience inherited from __proto__', { payloadText: smuggled(['aud']) }, 'aud_missing'],
    ['a subject inherited from __proto__', { payloadText: smuggled(['sub']) }, 'claim_missing'],
    ['an expiry inherited from __proto__', { payloadText: smuggled(['exp']) }, 'exp_missing'],
    ['a tenant inherited from __proto__', { payloadText: smuggled(['tenant']) }, 'claim_missing'],
    [
      'every claim inherited from __proto__',
      { payloadText: smuggled(Object.keys(claims)).replace(',}', '}') },
      'iss_missing',
    ],
  ])
  admits(arena, [
    ['a claim called __proto__ that changes nothing', { payloadText: smuggled([]) }],
    ['a claim called constructor', { claims: { constructor: 'x', toString: 1 } }],
  ])

  test.each(NAMES)('a key that is really called %s is found', async (kid) => {
    const key = signingKey('ES256', kid)
    const named = await openArena(trusting(key))
    expect(await named.verdict({ key })).toBe('allow')
    expect(await named.verdict({ key, header: { kid: 'hasOwn' } })).toBe('kid_unknown')
  })

  test('nothing was added to what objects inherit', () => {
    expect(({} as Record<string, unknown>)['aud']).toBeUndefined()
  })
})
