// What a file asks of tokens, on the real program: each requirement refuses, and the challenge says what would do.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge, type Members } from '../fixtures/tokens.ts'
import { type Asker, openAsker } from './asker.ts'
import { type Ground, openGround } from './ground.ts'

let ground: Ground
let sidecar: Sidecar
let asker: Asker

beforeAll(async () => {
  ground = openGround()
  const route = (action: string, requirements: object) => ({ actions: [action], requirements })
  sidecar = await startSidecar({
    config: ground.config({
      issuers: [ground.issuer({ firstPartyClients: ['console'] })],
      tokens: { firstPartyScopes: ['admin:*'], requirements: { maxTokenAgeSeconds: 600 } },
      routes: [
        route('invoice:edit', { acrValues: ['gold', 'platinum'], maxAuthAgeSeconds: 300 }),
        route('invoice:delete', { senderConstraints: ['DPoP', 'MTLS'] }),
        route('invoice:refund', { clientKind: 'Machine' }),
      ],
    }),
  })
  asker = openAsker(sidecar.unix)
})
afterAll(async () => {
  asker[Symbol.dispose]()
  await sidecar.kill()
  ground[Symbol.dispose]()
})

function ask(action: string, claims: Members = {}): Promise<CheckResponse> {
  return asker.ask(question({ action, token: forge({ claims }) }))
}
const nowS = () => Math.floor(Date.now() / 1000)
const challengeOf = ({ outcome }: CheckResponse) =>
  outcome?.$case === 'deny'
    ? outcome.deny.client?.headers.map(({ name, value }) => `${name}: ${value.toString()}`)
    : undefined

describe('A6: a route that wants a stronger user', () => {
  test('tells how strong, and takes the token that is', async () => {
    const refused = await ask('invoice:edit')
    expect(verdictOf(refused)).toBe('step_up_required')
    expect(challengeOf(refused)).toEqual([
      'www-authenticate: Bearer error="insufficient_user_authentication", acr_values="gold platinum", max_age="300"',
    ])
    expect(verdictOf(await ask('invoice:edit', { acr: 'gold', auth_time: nowS() - 10 }))).toBe('allow')
    expect(verdictOf(await ask('invoice:edit', { acr: 'gold', auth_time: nowS() - 400 }))).toBe(
      'step_up_required',
    )
  })
})

test('003-01: a bearer token is refused where bound ones are wanted', async () => {
  const refused = await ask('invoice:delete')
  expect(verdictOf(refused)).toBe('cnf_required')
  expect(challengeOf(refused)).toEqual(['www-authenticate: Bearer error="invalid_token"'])
})

test('000-15: a user’s token is refused where machines work', async () => {
  expect(verdictOf(await ask('invoice:refund'))).toBe('policy_denied')
})

test('000-16: an old token is refused although it has not expired', async () => {
  const issued = (agoS: number) => ({ iat: nowS() - agoS, exp: nowS() + 600 })
  expect(verdictOf(await ask('invoice:read', issued(300)))).toBe('allow')
  expect(verdictOf(await ask('invoice:read', issued(900)))).toBe('expired')
})

test('002-11: a scope of first parties is refused from third ones', async () => {
  const scope = 'invoice:read admin:users'
  expect(verdictOf(await ask('invoice:read', { scope }))).toBe('policy_denied')
  expect(verdictOf(await ask('invoice:read', { scope, client_id: 'console' }))).toBe('allow')
})
