import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type AuthorizerClient, createAuthorizerClient, type TokenQuestion } from '../../contracts/client.ts'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { WEB_CLIENT } from '../fixtures/idp-provider.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { decoded } from '../fixtures/tokens.ts'
import { type Ground, openGround, providerConfig } from './ground.ts'

// ID tokens of a real OpenID provider, asked about through the client library and a real sidecar process.

let idp: Idp
let ground: Ground
let sidecar: Sidecar
let client: AuthorizerClient

beforeAll(async () => {
  ground = openGround()
  idp = await startIdp()
  sidecar = await startSidecar({ config: providerConfig(idp, ground, { uri: idp.jwksUri }) })
  client = createAuthorizerClient({ target: `unix://${sidecar.unix}`, deadlineMs: 5_000 })
})
afterAll(async () => {
  client.close()
  await sidecar.kill()
  await idp.kill()
  ground[Symbol.dispose]()
})

// A browser's session would have kept it; here the token itself says what was sent.
function nonceOf(idToken: string): string {
  return String((decoded(idToken).payload as { nonce?: string }).nonce)
}

const reasonOf = async (question: TokenQuestion): Promise<string> => {
  const answer = await client.verifyToken(question)
  return answer.kind === 'verified' ? 'verified' : answer.diagnostic.reason
}

describe('I2: I8: ID tokens of a real provider', () => {
  test('a login is a login: for its client, its nonce and its session', async () => {
    const { idToken, accessToken } = await idp.userTokens('alice')
    const nonce = nonceOf(idToken)
    const login = { kind: 'id_token', token: idToken, clientId: WEB_CLIENT, nonce } as const
    const answer = await client.verifyToken(login)
    expect(answer).toMatchObject({
      kind: 'verified',
      subject: 'alice',
      issuer: idp.issuer,
      clientId: WEB_CLIENT,
    })
    expect(await reasonOf({ ...login, nonce: 'of-another-session' })).toBe('nonce_mismatch')
    expect(await reasonOf({ ...login, nonce: undefined })).toBe('nonce_mismatch')
    expect(await reasonOf({ ...login, clientId: 'other' })).toBe('aud_mismatch')
    expect(await reasonOf({ kind: 'access_token', token: idToken })).toBe('typ_mismatch')
    expect(await reasonOf({ kind: 'access_token', token: accessToken })).toBe('verified')
    expect(await reasonOf({ ...login, token: accessToken })).toBe('typ_mismatch')
  })

  test('I11: the access token that came along is the one, where the provider says so', async () => {
    const { idToken, accessToken } = await idp.userTokens('bob')
    const claims = decoded(idToken).payload as { at_hash?: string }
    const login = { kind: 'id_token', token: idToken, clientId: WEB_CLIENT, nonce: nonceOf(idToken) } as const
    expect(await reasonOf({ ...login, accessToken })).toBe(claims.at_hash ? 'verified' : 'claim_missing')
    expect(await reasonOf({ ...login, accessToken: `${accessToken}x` })).not.toBe('verified')
  })

  test('I12: 001-01: the first login after a rotation', async () => {
    const before = idp.jwksFetches()
    const kid = await idp.rotate()
    const { idToken } = await idp.userTokens('alice')
    expect(decoded(idToken).header).toMatchObject({ kid })
    const login = { kind: 'id_token', token: idToken, clientId: WEB_CLIENT, nonce: nonceOf(idToken) } as const
    expect(await reasonOf(login)).toBe('verified')
    expect(idp.jwksFetches()).toBe(before + 1)
  })
})
