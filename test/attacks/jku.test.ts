import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses, spellings, trusting } from './arena.ts'
import { openListener } from './listener.ts'

const refreshed: string[] = []
const [issuer] = trusting(signingKey()).issuers
const listener = await openListener()
afterAll(() => listener[Symbol.asyncDispose]())
const arena = await openArena({
  issuers: [{ ...issuer, refreshable: true }],
  refresh: async (name) => refreshed.push(name) > Number.POSITIVE_INFINITY,
})
const attacker = signingKey('RS256', 'attacker')
const places = [
  `${listener.url}/jwks`,
  'https://idp.test.example/jwks',
  'file:///dev/null',
  '//evil.example',
  'data:,{}',
  '',
  null,
  1,
  [],
]

describe('attack 10: J8, Z10: a token that says where its key is', () => {
  refuses(
    arena,
    spellings(places, (jku) => [
      `jku ${JSON.stringify(jku).replace(/:\d+/, '')}`,
      { key: attacker, header: { jku } },
      'header_forbidden',
    ]),
  )
  refuses(arena, [
    ['a jku on a genuine token', { header: { jku: `${listener.url}/jwks` } }, 'header_forbidden'],
    [
      'a jku without a kid',
      { key: attacker, header: { jku: listener.url, kid: undefined } },
      'header_forbidden',
    ],
    [
      "an issuer that is the attacker's address",
      { key: attacker, claims: { iss: listener.url } },
      'iss_unknown',
    ],
    [
      "a kid that is the attacker's address",
      { header: { kid: `${listener.url}/k`.replace('//', '/../') } },
      'kid_invalid',
    ],
  ])
  admits(arena, [['a genuine token', {}]])

  test('nobody was contacted and no refresh was asked for', async () => {
    await arena.verdict({ key: attacker, header: { jku: `${listener.url}/jwks`, x5u: listener.url } })
    expect(refreshed).toEqual([])
    expect(listener.contacts()).toBe(0)
  })

  test('the listener would have noticed', async () => {
    await using witness = await openListener()
    await once(connect(Number(new URL(witness.url).port), '127.0.0.1'), 'close')
    expect(witness.contacts()).toBe(1)
  })
})
