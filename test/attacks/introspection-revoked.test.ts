import { hash } from 'node:crypto'
import { afterAll, describe, expect, test } from 'vitest'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { type Confirm, createConfirm } from '../../sidecar/token/confirm.ts'
import { createIntrospection } from '../../sidecar/token/introspection.ts'
import { introspectionAt, openAsking, startScriptedIssuer } from '../fixtures/scripted-issuer.ts'
import { CLIENT, goodClaims } from '../fixtures/tokens.ts'
import { fedSnapshot } from '../sidecar/trust/fed-world.ts'
import { AT_S } from './arena.ts'
import { openFedArena, STATED } from './fed.ts'

// The issuer has not heard of it yet, and its answer is still remembered: a revocation counts all the same.

const server = await startScriptedIssuer()
const asking = openAsking()
afterAll(async () => {
  asking[Symbol.dispose]()
  await server[Symbol.asyncDispose]()
})

let serial = 0

async function openOpaqueArena() {
  const whole = fedSnapshot(6, [STATED])
  const introspection = introspectionAt(server.url)
  const arena = await openFedArena({
    first: { ...whole, issuers: whole.issuers.map((one) => ({ ...one, introspection })) },
  })
  const introspect = createIntrospection({
    ask: asking.ask,
    now: () => arena.now(),
    record: () => undefined,
    lifetime: new AbortController().signal,
  })
  const confirm: Confirm = createConfirm(introspect)
  const token = `opaque-${++serial}`
  return { arena, token, verdict: () => arena.verdict(token, {}, { confirm }) }
}

const ROWS: readonly (readonly [what: string, (token: string) => Revocation['subject'], reason: string])[] = [
  ['its name', () => ({ $case: 'jti', jti: 'j-1' }), 'revoked_jti'],
  ['its session', () => ({ $case: 'sid', sid: 's-1' }), 'revoked_sid'],
  ['its user', () => ({ $case: 'sub', sub: 'alice' }), 'revoked_sub'],
  ['its client', () => ({ $case: 'clientId', clientId: CLIENT }), 'revoked_client'],
  ['its tenant', () => ({ $case: 'tenant', tenant: 'acme' }), 'revoked_tenant'],
]

describe('attack 72: C14: an active answer, and a revocation', () => {
  test.each(ROWS)(
    'attack 72: C14: by %s: denied at once, and the answer is forgotten',
    async (_what, subject, reason) => {
      const { arena, token, verdict } = await openOpaqueArena()
      server.say({ active: true, ...goodClaims(AT_S, { jti: 'j-1', sid: 's-1' }) })
      expect(await verdict()).toBe('allow')
      const asked = server.asked.length
      expect(await verdict()).toBe('allow')
      expect(server.asked.length).toBe(asked)
      expect(arena.revoke({ subject: subject(token) })).toMatchObject({ ok: true })
      expect(await verdict()).toBe(reason)
      expect(server.asked.length).toBe(asked + 1)
    },
  )

  test('attack 72: a token without a name is revoked by the hash of its text', async () => {
    const { arena, token, verdict } = await openOpaqueArena()
    // A server that names a token by its own text has not named it.
    server.say({ active: true, ...goodClaims(AT_S, { jti: token }) })
    expect(await verdict()).toBe('allow')
    const jti = `sha256:${hash('sha256', token, 'base64url')}`
    expect(arena.revoke({ subject: { $case: 'jti', jti } })).toMatchObject({ ok: true })
    expect(await verdict()).toBe('revoked_jti')
  })

  test('C14: a revocation of somebody else leaves the answer where it is', async () => {
    const { arena, verdict } = await openOpaqueArena()
    server.say({ active: true, ...goodClaims(AT_S, { jti: 'j-1' }) })
    expect(await verdict()).toBe('allow')
    const asked = server.asked.length
    arena.revoke({ subject: { $case: 'sub', sub: 'somebody else' } })
    expect(await verdict()).toBe('allow')
    expect(server.asked.length).toBe(asked)
  })

  test('a revocation that arrives while the issuer is asked counts', async () => {
    const { arena, verdict } = await openOpaqueArena()
    server.reply((_form, response) => {
      arena.revoke({ subject: { $case: 'sub', sub: 'alice' } })
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ active: true, ...goodClaims(AT_S) }))
    })
    expect(await verdict()).toBe('revoked_sub')
    expect(await verdict()).toBe('revoked_sub')
  })
})
