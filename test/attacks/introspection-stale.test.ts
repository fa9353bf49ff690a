import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { introspectionAt, json, openAsking, startScriptedIssuer } from '../fixtures/scripted-issuer.ts'
import { goodClaims } from '../fixtures/tokens.ts'
import { type Arena, AT_S, openArena } from './arena.ts'

// What was said a moment ago: how long it may still be believed.

const server = await startScriptedIssuer()
const asking = openAsking()
let ms = 0
let arena: Arena
afterAll(async () => {
  asking[Symbol.dispose]()
  await server[Symbol.asyncDispose]()
})

const ACTIVE = { active: true, ...goodClaims(AT_S) }
let token = ''
let serial = 0
beforeEach(async () => {
  token = `opaque-${++serial}`
  ms = 0
  arena = await openArena({
    issuers: [{ keys: [signingKey()], introspection: introspectionAt(server.url) }],
    askEndpoint: asking.ask,
    now: () => AT_S * 1000 + ms,
    monotonic: () => ms,
  })
})

describe('attack 72: stale introspection', () => {
  test('attack 72: a token that becomes active is refused for less than five seconds more', async () => {
    server.say({ active: false })
    expect(await arena.verdict(token)).toBe('introspection_inactive')
    server.say(ACTIVE)
    ms = 4_999
    expect(await arena.verdict(token)).toBe('introspection_inactive')
    ms = 5_000
    expect(await arena.verdict(token)).toBe('allow')
  })

  test('attack 72: 002-18: T4: a token that is ended at its issuer is believed for less than thirty seconds more', async () => {
    server.say(ACTIVE)
    expect(await arena.verdict(token)).toBe('allow')
    server.say({ active: false })
    ms = 29_999
    expect(await arena.verdict(token)).toBe('allow')
    ms = 30_000
    expect(await arena.verdict(token)).toBe('introspection_inactive')
  })

  test('T4: an answer is not used past the end of the token', async () => {
    server.say({ ...ACTIVE, exp: AT_S + 10 })
    expect(await arena.verdict(token)).toBe('allow')
    const before = server.asked.length
    ms = 9_999
    expect(await arena.verdict(token)).toBe('allow')
    expect(server.asked.length).toBe(before)
    ms = 10_000
    server.say({ active: false })
    expect(await arena.verdict(token)).toBe('introspection_inactive')
  })

  test('attack 72: what cannot be answered is not remembered as an answer', async () => {
    server.reply(json({}, 500))
    expect(await arena.verdict(token)).toBe('introspection_unavailable')
    server.say(ACTIVE)
    expect(await arena.verdict(token)).toBe('allow')
  })
})
