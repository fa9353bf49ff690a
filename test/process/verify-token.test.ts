import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type AuthorizerClient,
  createAuthorizerClient,
  isAllowance,
  isVerified,
  type TokenQuestion,
} from '../../contracts/client.ts'
import { jwksOf } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { CLIENT, ISSUER } from '../fixtures/tokens.ts'
import { CLIENT_KEY, IDP_KEY, mint } from '../fixtures/vouching.ts'
import { type Ground, openGround } from './ground.ts'
import { counterAt } from './scrape.ts'

// VerifyToken of the whole program, asked by the client library over its socket.

let ground: Ground
let sidecar: Sidecar
let client: AuthorizerClient

beforeAll(async () => {
  ground = openGround()
  ground.publish([IDP_KEY])
  const clientKeys = join(ground.directory, 'client.json')
  writeFileSync(clientKeys, JSON.stringify(jwksOf([CLIENT_KEY])))
  const party = {
    issuer: CLIENT,
    client: true,
    jwks: { file: clientKeys },
    algorithms: ['Ed25519'],
    tenant: { fixed: 'acme' },
  }
  sidecar = await startSidecar({ config: ground.config({ issuers: [ground.issuer(), party] }) })
  client = createAuthorizerClient({ target: `unix://${sidecar.unix}`, deadlineMs: 5_000 })
})
afterAll(async () => {
  client.close()
  await sidecar.stop()
  ground[Symbol.dispose]()
})

const QUESTIONS: Readonly<Record<string, () => TokenQuestion>> = {
  access_token: () => ({ kind: 'access_token', token: mint('access_token') }),
  id_token: () => ({ kind: 'id_token', clientId: CLIENT, nonce: 'n-1', token: mint('id_token') }),
  logout_token: () => ({ kind: 'logout_token', clientId: CLIENT, token: mint('logout_token') }),
  client_assertion: () => ({ kind: 'client_assertion', clientId: CLIENT, token: mint('client_assertion') }),
  request_object: () => ({ kind: 'request_object', clientId: CLIENT, token: mint('request_object') }),
}

describe('VerifyToken', () => {
  test.each(Object.entries(QUESTIONS))('%s is vouched for, which is no permission', async (kind, ask) => {
    const answer = await client.verifyToken(ask())
    expect(answer).toMatchObject({ kind: 'verified', tokenKind: kind, clientId: CLIENT })
    expect([isVerified(answer), isAllowance(answer)]).toEqual([true, false])
    expect(isVerified({ ...answer })).toBe(false)
  })

  test('what it says is what was signed', async () => {
    const answer = await client.verifyToken({
      kind: 'access_token',
      token: mint('access_token', { jti: 'said' }),
    })
    expect(answer).toMatchObject({
      issuer: ISSUER,
      subject: 'alice',
      tenant: 'acme',
      claims: { jti: 'said' },
    })
  })

  test('an ID token in place of an access token is refused, counted and logged without a word of it', async () => {
    const token = mint('id_token')
    const refused = await client.verifyToken({ kind: 'access_token', token })
    expect(refused).toMatchObject({ kind: 'deny', cause: 'sidecar', diagnostic: { reason: 'typ_mismatch' } })
    const swapped = await client.verifyToken({ kind: 'id_token', clientId: CLIENT, nonce: 'n-2', token })
    expect(swapped).toMatchObject({ kind: 'deny', diagnostic: { reason: 'nonce_mismatch' } })
    expect(await counterAt(sidecar, 'id_token_validation_failure_total', 'reason="nonce_mismatch"')).toBe(1)
    expect(
      await counterAt(sidecar, 'portcullis_verify_token_total', 'kind="access_token",outcome="refused"'),
    ).toBe(1)
    const logged = () => JSON.stringify(sidecar.decisions).includes('nonce_mismatch') || undefined
    await until('its line', logged)
    const [, payload = ''] = token.split('.')
    expect(JSON.stringify([...sidecar.decisions, ...sidecar.events])).not.toContain(payload)
  })

  test('L6: a logout token works once', async () => {
    const token = mint('logout_token')
    const ask = () => client.verifyToken({ kind: 'logout_token', clientId: CLIENT, token })
    expect((await ask()).kind).toBe('verified')
    expect(await ask()).toMatchObject({ kind: 'deny', diagnostic: { reason: 'revoked_jti' } })
  })

  test.each<readonly [what: string, question: TokenQuestion]>([
    ['no client', { kind: 'id_token', clientId: '', token: mint('id_token') }],
    ['an empty nonce', { kind: 'id_token', clientId: CLIENT, nonce: '', token: mint('id_token') }],
    ['a long client', { kind: 'logout_token', clientId: 'c'.repeat(257), token: mint('logout_token') }],
  ])('a question with %s is told what to mend', async (_what, question) => {
    const answer = await client.verifyToken(question)
    expect(answer).toMatchObject({ kind: 'deny', diagnostic: { reason: 'request_invalid' } })
  })

  test('a JWT-SVID is not known to a sidecar without an identity', async () => {
    const answer = await client.verifyToken({ kind: 'jwt_svid', token: mint('access_token') })
    expect(answer).toMatchObject({ kind: 'deny', client: { status: 503 } })
  })

  test('the same access token again is a hit, and what was counted says so', async () => {
    const token = mint('access_token')
    for (let count = 0; count < 3; count++)
      expect((await client.verifyToken({ kind: 'access_token', token })).kind).toBe('verified')
    expect(await counterAt(sidecar, 'token_cache_lookups_total', 'result="hit"')).toBeGreaterThanOrEqual(2)
    expect(await counterAt(sidecar, 'token_cache_divergence_total')).toBe(0)
  })
})
