import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import { forget, tempDirectory } from '../fixtures/process.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw, type Reply } from '../fixtures/raw.ts'
import { startSidecar } from '../fixtures/sidecar.ts'
import { AUDIENCE, ISSUER } from '../fixtures/tokens.ts'
import { tokenOf } from './arena.ts'

const directory = tempDirectory('attack')
mkdirSync(directory, { recursive: true })
const jwks = join(directory, 'jwks.json')
writeFileSync(jwks, JSON.stringify(jwksOf([signingKey()])))
const sidecar = await startSidecar({
  config: {
    audience: AUDIENCE,
    issuers: [{ issuer: ISSUER, jwks: { file: jwks }, algorithms: ['RS256'], tenant: { fixed: 'acme' } }],
    policy: { path: POLICY.invoices },
  },
})
afterAll(async () => {
  await sidecar.kill()
  forget(directory)
})
const token = tokenOf({})
const told = (reply: Reply) =>
  'response' in reply ? verdictOf(reply.response) : `status ${reply.status.code}`

describe('a credential of the call itself', () => {
  test.each(['unix', 'tcp'] as const)(
    "authorization in the metadata of a call over %s is nobody's credential",
    async (way) => {
      using client = openRaw(sidecar[way])
      const metadata = { authorization: `Bearer ${token}`, 'x-forwarded-authorization': `Bearer ${token}` }
      expect(told(await client.check(question(), { metadata }))).toBe('token_missing')
      expect(told(await client.check(question({ token: 'garbage' }), { metadata }))).toBe('token_format')
      expect(told(await client.check(question({ token }), { metadata: { authorization: 'Bearer x' } }))).toBe(
        'allow',
      )
    },
  )

  test('no token, claim or header ever reaches a log line', async () => {
    using client = openRaw(sidecar.unix)
    const canary = tokenOf({ claims: { secret_claim: 'canary-claim', sub: 'alice' } })
    expect(told(await client.check(question({ token: canary })))).toBe('allow')
    expect(told(await client.check(question({ authorization: ['Bearer canary-header'] })))).toBe(
      'token_format',
    )
    await sidecar.stop()
    const logged = JSON.stringify([...sidecar.decisions, ...sidecar.events, ...sidecar.noise])
    expect(sidecar.decisions.length).toBeGreaterThanOrEqual(2)
    expect(logged).not.toMatch(/canary|eyJ|invoice:refund/)
  })
})
