import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { type Asker, openAsker, seen, WAYS } from './asker.ts'
import { BUNDLES, type Ground, openGround, providerConfig, revisionOf } from './ground.ts'
import { ALLOWED, type Cast, CREDENTIALS, RULES } from './provider-rows.ts'

// Tokens of a real OpenID provider, a real sidecar process, both listeners, both ways to ask.

let idp: Idp
let ground: Ground
let sidecar: Sidecar
let cast: Cast

beforeAll(async () => {
  ground = openGround()
  idp = await startIdp()
  sidecar = await startSidecar({ config: providerConfig(idp, ground, { uri: idp.jwksUri }) })
  const { accessToken: alice, idToken: aliceId } = await idp.userTokens('alice')
  cast = {
    idp,
    alice,
    aliceId,
    aliceReadsOnly: (await idp.userTokens('alice', 'invoice:read')).accessToken,
    bob: (await idp.userTokens('bob')).accessToken,
    mallory: (await idp.userTokens('mallory')).accessToken,
    robot: await idp.machineToken('acme-robot'),
  }
})

afterAll(async () => {
  await sidecar.kill()
  await idp.kill()
  ground[Symbol.dispose]()
})

const LISTENERS = ['unix', 'tcp'] as const

describe.each(LISTENERS.flatMap((listener) => WAYS.map((way) => ({ listener, way }))))(
  'over $listener, $way',
  ({ listener, way }) => {
    let asker: Asker
    beforeAll(() => {
      asker = openAsker(sidecar[listener], way)
    })
    afterAll(() => asker[Symbol.dispose]())

    test.each([...ALLOWED, ...CREDENTIALS, ...RULES])('$verdict, $status: $claim', async (row) => {
      const response = await asker.ask(await row.ask(cast))
      const { verdict, status, challenge = '' } = row
      expect(seen(response)).toEqual({ verdict, status, challenge })
      expect(response.decisionId).not.toBe('')
    })
  },
)

describe('of one decision', () => {
  test('an allowance carries the principal that the token proves, the rules, the revision and the generation', async () => {
    using asker = openAsker(sidecar.unix)
    const { outcome, policyRevision, trustGeneration } = await asker.ask(question({ token: cast.alice }))
    expect(policyRevision).toBe(revisionOf(BUNDLES.invoices))
    expect(trustGeneration).toBeGreaterThan(0)
    expect(outcome).toMatchObject({
      $case: 'allow',
      allow: {
        ruleIds: expect.arrayContaining(['invoice.read.owner']),
        principal: {
          issuer: idp.issuer,
          subject: 'alice',
          clientId: 'demo-web',
          tenant: 'acme',
          roles: ['billing'],
          scopes: expect.arrayContaining(['invoice:read']),
        },
      },
    })
  })

  test('the log has exactly one line under its id, which says the same', async () => {
    using asker = openAsker(sidecar.unix)
    const { decisionId } = await asker.ask(question({ token: cast.bob }))
    const lines = () => sidecar.decisions.filter((line) => line['decision_id'] === decisionId)
    await until('line of the decision', () => lines()[0])
    expect(lines()).toEqual([
      expect.objectContaining({
        outcome: 'deny',
        reason: 'not_owner',
        status: 404,
        subject: 'bob',
        tenant: 'acme',
        action: 'invoice:read',
      }),
    ])
  })

  test('a denial by policy tells the caller no more than its status does', async () => {
    using asker = openAsker(sidecar.unix)
    const hidden = await asker.ask(question({ token: cast.bob }))
    const foreign = await asker.ask(question({ token: cast.mallory }))
    const clientPart = (response: typeof hidden) =>
      response.outcome?.$case === 'deny' ? response.outcome.deny.client : undefined
    expect(clientPart(hidden)).toBeDefined()
    expect(clientPart(hidden)).toEqual(clientPart(foreign))
  })
})

describe('where keys come from', () => {
  const allowsAlice = async (one: Sidecar) => {
    using asker = openAsker(one.unix)
    expect(seen(await asker.ask(question({ token: cast.alice }))).verdict).toBe('allow')
  }

  test('the discovery document of the issuer', async () => {
    await using other = await startSidecar({ config: providerConfig(idp, ground, { discovery: true }) })
    await allowsAlice(other)
    expect(idp.discoveryFetches()).toBeGreaterThan(0)
  })

  test('a discovery document elsewhere, as long as it is about this issuer', async () => {
    const uri = `${idp.issuer}/.well-known/openid-configuration`
    await using other = await startSidecar({ config: providerConfig(idp, ground, { discovery: uri }) })
    await allowsAlice(other)
  })

  test('a file, with the provider out of reach', async () => {
    const file = join(ground.directory, 'provider.json')
    writeFileSync(file, JSON.stringify(idp.jwks()))
    const before = idp.jwksFetches()
    await using other = await startSidecar({ config: providerConfig(idp, ground, { file }) })
    await allowsAlice(other)
    expect(idp.jwksFetches()).toBe(before)
    expect(readFileSync(file, 'utf8')).toContain(idp.kid())
  })
})
