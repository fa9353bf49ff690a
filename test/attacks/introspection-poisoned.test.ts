import { afterAll, describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import {
  introspectionAt,
  json,
  openAsking,
  type Reply,
  startScriptedIssuer,
  text,
} from '../fixtures/scripted-issuer.ts'
import { AUDIENCE, forge, goodClaims } from '../fixtures/tokens.ts'
import { AT_S, openArena } from './arena.ts'

// Whoever can answer for the issuer, or mixes answers up, must not be able to say yes.

const server = await startScriptedIssuer()
const asking = openAsking()
const introspection = introspectionAt(server.url)
const opaque = await openArena({
  issuers: [{ keys: [signingKey()], introspection }],
  askEndpoint: asking.ask,
})
const always = await openArena({
  issuers: [{ keys: [signingKey()], introspection }],
  askEndpoint: asking.ask,
  tokens: { requirements: introspected() },
})
afterAll(async () => {
  asking[Symbol.dispose]()
  await server[Symbol.asyncDispose]()
})

function introspected() {
  return {
    senderConstraints: [],
    introspect: true,
    sharedReplay: false,
    acrValues: [],
    maxAuthAgeS: 0,
    maxTokenAgeS: 0,
    clientKind: 0 as const,
  }
}

const ACTIVE = { active: true, ...goodClaims(AT_S), token_type: 'Bearer' }
let serial = 0
const fresh = () => `opaque-${++serial}`

const says = (change: object): Reply => json({ ...ACTIVE, ...change })
const POISON: readonly (readonly [claim: string, reply: Reply, reason: string])[] = [
  ['"active":"true"', says({ active: 'true' }), 'introspection_invalid'],
  ['"active":1', says({ active: 1 }), 'introspection_invalid'],
  ['"active":null', says({ active: null }), 'introspection_invalid'],
  ['no "active"', says({ active: undefined }), 'introspection_invalid'],
  ['active in an array', says({ active: [true] }), 'introspection_invalid'],
  ['an array', json([ACTIVE]), 'introspection_invalid'],
  ['HTML with status 200', text('<html>{"active":true}</html>', 'text/html'), 'introspection_invalid'],
  ['JSON that says it is HTML', text(JSON.stringify(ACTIVE), 'text/html'), 'introspection_invalid'],
  [
    'a signed introspection response',
    text(JSON.stringify(ACTIVE), 'application/token-introspection+jwt'),
    'introspection_invalid',
  ],
  ['two "active"', text('{"active":false,"active":true}', 'application/json'), 'introspection_invalid'],
  [
    'more than 64 KiB',
    text(JSON.stringify({ ...ACTIVE, pad: 'x'.repeat(70_000) }), 'application/json'),
    'introspection_invalid',
  ],
  ['an empty body', text('', 'application/json'), 'introspection_invalid'],
  ['no audience', says({ aud: undefined }), 'introspection_invalid'],
  ['a refresh token', says({ token_type: 'refresh_token' }), 'introspection_invalid'],
  ['another issuer', says({ iss: 'https://evil.example' }), 'introspection_invalid'],
  ['another audience', says({ aud: 'https://other.example' }), 'aud_mismatch'],
  ['a token that is over', says({ exp: AT_S - 61 }), 'expired'],
  [
    'a redirect',
    (_form, response) => void response.writeHead(302, { location: server.url }).end(),
    'introspection_invalid',
  ],
]

describe('attack 71: introspection poisoning', () => {
  test.each(POISON)('attack 71: an opaque token and %s', async (_claim, reply, reason) => {
    server.reply(reply)
    expect(await opaque.verdict(fresh())).toBe(reason)
  })

  const OTHERS: readonly (readonly [string, object])[] = [
    ['jti', { jti: 'another' }],
    ['sub', { sub: 'bob' }],
    ['iss', { iss: 'https://evil.example' }],
    ['client_id', { client_id: 'another' }],
    ['exp', { exp: AT_S + 299 }],
    ['cnf that the token does not have', { cnf: { jkt: 'A'.repeat(43) }, token_type: 'DPoP' }],
  ]
  test.each(OTHERS)(
    'T9: attack 71: the answer about another token, told by its %s',
    async (_name, change) => {
      const claims = goodClaims(AT_S, { jti: fresh() })
      server.say({ active: true, ...claims, ...change })
      expect(await always.verdict(forge({ at: AT_S, claims }))).toBe('introspection_invalid')
    },
  )

  test('attack 71: what an honest issuer says is allowed, or these refusals prove nothing', async () => {
    server.say(ACTIVE)
    expect(await opaque.verdict(fresh())).toBe('allow')
    const claims = goodClaims(AT_S, { jti: fresh(), aud: AUDIENCE })
    server.say({ active: true, ...claims })
    expect(await always.verdict(forge({ at: AT_S, claims }))).toBe('allow')
    server.say({ active: true })
    expect(await always.verdict(forge({ at: AT_S, claims: { jti: fresh() } }))).toBe('allow')
  })
})
