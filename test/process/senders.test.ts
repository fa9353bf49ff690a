import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { selfSigned } from '../contracts/self-signed.ts'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { BOUND_ROBOT, showCertificate } from '../fixtures/idp-provider.ts'
import { signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { BASE_URL, forgeProof } from '../fixtures/proofs.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { type Sidecar, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { type Asker, openAsker } from './asker.ts'
import { type Ground, openGround, providerConfig } from './ground.ts'

// Bound tokens of a real OpenID provider, real sidecar processes, a real Redis between them.

const nowS = () => Math.floor(Date.now() / 1000)
const thief = signingKey('ES256', 'thief')
const client = selfSigned()
const other = selfSigned()

let idp: Idp
let ground: Ground
let token: string
let certified: string

beforeAll(async () => {
  ground = openGround()
  idp = await startIdp()
  const dpop = forgeProof({
    method: 'POST',
    url: `${idp.issuer}/token`,
    at: nowS(),
    claims: { ath: undefined },
  })
  token = await idp.boundToken('acme-robot', { dpop })
  certified = await idp.boundToken(`acme${BOUND_ROBOT}`, showCertificate(client.der))
})
afterAll(async () => {
  await idp.kill()
  ground[Symbol.dispose]()
})

const start = (more: Tree = {}): Promise<Sidecar> =>
  startSidecar({
    config: {
      ...providerConfig(idp, ground, { uri: idp.jwksUri }),
      tokens: { externalBaseURL: BASE_URL },
      ...more,
    },
  })

const invoice = { id: 'inv-1', tenant: 'acme', owner: `acme-robot` }
function asked(scheme: string, bearer: string, proof?: string, peer?: Buffer) {
  const message = question({ authorization: [`${scheme} ${bearer}`], stored: invoice })
  const headers = proof === undefined ? [] : [{ name: 'dpop', value: Buffer.from(proof) }]
  return { ...message, headers: [...message.headers, ...headers], peerCertificate: peer ?? Buffer.alloc(0) }
}
const proofFor = (wish: Parameters<typeof forgeProof>[0] = {}) => forgeProof({ token, at: nowS(), ...wish })

function nonceIn({ outcome }: CheckResponse): string | undefined {
  const lines =
    outcome?.$case === 'deny' ? (outcome.deny.client?.headers ?? []) : (outcome?.allow.headers ?? [])
  const [line, second] = lines.filter(({ name }) => name === 'dpop-nonce')
  expect(second).toBeUndefined()
  return line && Buffer.from(line.value).toString()
}

/** A client as RFC 9449 section 9 wants it: asked for a nonce, it comes again with it. Returns what it sent last, too. */
async function call(asker: Asker, wish: Parameters<typeof forgeProof>[0] = {}) {
  const first = asked('DPoP', token, proofFor(wish))
  const answer = await asker.ask(first)
  const nonce = nonceIn(answer)
  if (verdictOf(answer) !== 'dpop_nonce_required' || nonce === undefined)
    return { verdict: verdictOf(answer), sent: first }
  const sent = asked('DPoP', token, proofFor({ ...wish, claims: { nonce } }))
  return { verdict: verdictOf(await asker.ask(sent)), sent }
}

describe('a token that the provider bound to a key', () => {
  let sidecar: Sidecar
  let asker: Asker
  beforeAll(async () => {
    sidecar = await start()
    asker = openAsker(sidecar.unix)
  })
  afterAll(async () => {
    asker[Symbol.dispose]()
    await sidecar.kill()
  })

  test('003-04, D12: is good with a proof by that key', async () => {
    expect((await call(asker)).verdict).toBe('allow')
  })

  test('003-13: stolen, it is good for nothing', async () => {
    expect(verdictOf(await asker.ask(asked('Bearer', token)))).toBe('cnf_scheme_mismatch')
    expect(verdictOf(await asker.ask(asked('DPoP', token)))).toBe('dpop_missing')
    expect((await call(asker, { key: thief })).verdict).toBe('dpop_jkt')
  })

  test('003-20, attack 54: stolen together with a proof, it was good once', async () => {
    const { verdict, sent } = await call(asker)
    expect([verdict, verdictOf(await asker.ask(sent))]).toEqual(['allow', 'dpop_replay'])
  })

  test('attack 54: a proof from before a restart needs a nonce after it', async () => {
    const old = asked('DPoP', token, proofFor())
    await asker.ask(old)
    await using fresh = await start()
    using again = openAsker(fresh.unix)
    expect(verdictOf(await again.ask(old))).toBe('dpop_nonce_required')
    expect((await call(again)).verdict).toBe('allow')
  })
})

describe('a token that the provider bound to a certificate', () => {
  let sidecar: Sidecar
  let asker: Asker
  beforeAll(async () => {
    sidecar = await start()
    asker = openAsker(sidecar.unix)
  })
  afterAll(async () => {
    asker[Symbol.dispose]()
    await sidecar.kill()
  })

  test.each([
    ['M1: with that certificate', () => client.der, 'allow'],
    ['003-14: stolen, with another certificate', () => other.der, 'mtls_mismatch'],
    ['003-14: stolen, without one', () => undefined, 'mtls_missing'],
  ])('%s: %s', async (_, peer, want) => {
    const message = asked('Bearer', certified, undefined, peer())
    const stored = {
      type: 'invoice',
      attributes: undefined,
      id: 'inv-1',
      tenant: 'acme',
      owner: `acme${BOUND_ROBOT}`,
    }
    expect(verdictOf(await asker.ask({ ...message, resource: { stored, request: {} } }))).toBe(want)
  })
})

describe('two replicas with a Redis between them', () => {
  let redis: RedisServer
  let replicas: readonly Sidecar[]
  let one: Asker
  let second: Asker
  beforeAll(async () => {
    redis = await startRedis()
    begun(redis)
    const shared = { redis: { mode: 'standalone', nodes: [`127.0.0.1:${redis.port}`] } }
    replicas = await Promise.all([start(shared), start(shared)])
    const [a, b] = replicas.map((sidecar) => openAsker(sidecar.unix))
    if (!a || !b) throw new Error('two replicas were started')
    one = a
    second = b
    for (const sidecar of replicas) await until('redis', () => connected(sidecar))
  })
  afterAll(async () => {
    one[Symbol.dispose]()
    second[Symbol.dispose]()
    await Promise.all(replicas.map((sidecar) => sidecar.kill()))
    await redis.kill()
  })

  test('attack 54: a proof that one has seen is refused by the other', async () => {
    // Whom Redis answers too late, on a machine that is busy, asks for a nonce instead; never is a proof good twice.
    await until('answers of Redis in time', async () => {
      const { verdict, sent } = await call(one)
      const again = [verdictOf(await second.ask(sent)), verdictOf(await one.ask(sent))]
      expect([verdict, ...again].filter((said) => said === 'allow')).toEqual(['allow'])
      return again.every((said) => said === 'dpop_replay') || undefined
    })
  })

  test('attack 54: a hundred copies to both at once have no two winners', async () => {
    const sent = asked('DPoP', token, proofFor())
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => (index % 2 ? one : second).ask(sent)),
    )
    const verdicts = Map.groupBy(answers, verdictOf)
    // On a machine that is busy Redis may answer too late; that is a refusal, too.
    expect(verdicts.get('allow')?.length ?? 0).toBeLessThanOrEqual(1)
    expect(
      [...verdicts.keys()].filter(
        (one) => !/^(?:allow|dpop_replay|dpop_nonce_required|deadline|overloaded)$/.test(one),
      ),
    ).toEqual([])
  })

  test('attack 54, E2: when Redis is killed, honest callers go on with a nonce, and a replay is refused everywhere', async () => {
    const before = await call(one)
    expect(before.verdict).toBe('allow')
    await redis.kill()
    const during = await call(one)
    expect(during.verdict).toBe('allow')
    expect(nonceOf(during.sent)).toMatch(/^v1\./)
    expect(verdictOf(await one.ask(during.sent))).toBe('dpop_replay')
    expect(verdictOf(await second.ask(during.sent))).toBe('dpop_nonce_invalid')
    for (const replica of [one, second]) expect(verdictOf(await replica.ask(before.sent))).not.toBe('allow')
  })
})

function nonceOf(message: ReturnType<typeof asked>): unknown {
  const line = message.headers.find(({ name }) => name === 'dpop')?.value.toString() ?? ''
  const claims: { nonce?: unknown } = JSON.parse(
    Buffer.from(line.split('.')[1] ?? '', 'base64url').toString(),
  )
  return claims.nonce
}

async function connected(sidecar: Sidecar): Promise<boolean | undefined> {
  const { text } = await sidecar.admin('/metrics')
  return text.includes('portcullis_circuits_open{circuit="redis"} 0') || undefined
}

/** As if it had been there for longer than a proof lives: a memory that has just begun may have gaps, and says so. */
function begun(redis: RedisServer): void {
  const [, history = ''] = /master_replid:([0-9a-f]{40})/.exec(redis.cli('info', 'replication')) ?? []
  for (let part = 0; part < 64; part++) redis.cli('set', `portcullis:rp:{${part}}:mark`, history)
}
