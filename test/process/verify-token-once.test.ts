import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AuthorizerClient, createAuthorizerClient, type TokenQuestion } from '../../contracts/client.ts'
import { jwksOf } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { CLIENT } from '../fixtures/tokens.ts'
import { CLIENT_KEY, IDP_KEY, mint } from '../fixtures/vouching.ts'
import { type Ground, openGround } from './ground.ts'

// Two sidecars with a real Redis between them: a token that is used once is used once by both together.

let ground: Ground
let redis: RedisServer
let sidecars: readonly Sidecar[]
let clients: readonly AuthorizerClient[]

beforeAll(async () => {
  ground = openGround()
  ground.publish([IDP_KEY])
  const keys = join(ground.directory, 'client.json')
  writeFileSync(keys, JSON.stringify(jwksOf([CLIENT_KEY])))
  const of = { client: true, algorithms: ['Ed25519'], tenant: { fixed: 'acme' } }
  redis = await startRedis()
  begun()
  const config = ground.config({
    issuers: [ground.issuer(), { ...of, issuer: CLIENT, jwks: { file: keys } }],
    redis: { mode: 'standalone', nodes: [`127.0.0.1:${redis.port}`] },
  })
  sidecars = await Promise.all([startSidecar({ config }), startSidecar({ config })])
  clients = sidecars.map(({ unix }) =>
    createAuthorizerClient({ target: `unix://${unix}`, deadlineMs: 5_000 }),
  )
  for (const sidecar of sidecars) await until('redis', () => connected(sidecar))
})
afterAll(async () => {
  for (const client of clients) client.close()
  await Promise.all(sidecars.map((sidecar) => sidecar.kill()))
  await redis.kill()
  ground[Symbol.dispose]()
})

async function connected(sidecar: Sidecar): Promise<boolean | undefined> {
  const { text } = await sidecar.admin('/metrics')
  return text.includes('portcullis_circuits_open{circuit="redis"} 0') || undefined
}

/** As if it had been there for longer than a token lives: a memory that has just begun may have gaps, and says so. */
function begun(): void {
  const [, history = ''] = /master_replid:([0-9a-f]{40})/.exec(redis.cli('info', 'replication')) ?? []
  for (let part = 0; part < 64; part++) redis.cli('set', `portcullis:once:{${part}}:mark`, history)
}

async function verdicts(kind: 'logout_token' | 'client_assertion', order: readonly number[]) {
  const question: TokenQuestion = { kind, clientId: CLIENT, token: mint(kind) }
  const said: string[] = []
  for (const at of order) {
    const answer = await clients[at]?.verifyToken(question)
    said.push(answer?.kind === 'deny' ? `${answer.diagnostic?.reason}` : `${answer?.kind}`)
  }
  return said
}

const KINDS = ['logout_token', 'client_assertion'] as const

test.each(KINDS)('L6: a %s that one replica has seen is used up for the other', async (kind) => {
  // To whom Redis answers too late, on a machine that is busy, only what it has seen itself is used.
  await until('answers of Redis in time', async () => {
    const [first, elsewhere, again] = await verdicts(kind, [0, 1, 0])
    expect([first, again]).toEqual(['verified', 'revoked_jti'])
    return elsewhere === 'revoked_jti' || undefined
  })
  expect(redis.cli('--scan', '--pattern', 'portcullis:once:*')).toMatch(/portcullis:once:\{\d+\}:[\w-]{43}/)
})

test.each(KINDS)(
  'L6: while Redis is gone, each replica knows what it has seen of %s by itself',
  async (kind) => {
    await redis.kill()
    expect(await verdicts(kind, [0, 0, 1])).toEqual(['verified', 'revoked_jti', 'verified'])
  },
)
