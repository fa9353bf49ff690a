import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AuthorizerService,
  type CheckRequest,
  type CheckResponse,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw, type RawClient } from '../fixtures/raw.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { AUDIENCE, type Forge, forge } from '../fixtures/tokens.ts'
import { type Ground, openGround, replaceFile } from './ground.ts'

// A mark in every place that a caller controls. It may come back to the caller in the principal of an allowance and
// nowhere else: not in the decision log, the operational log, the metrics, readiness, or any gRPC error or denial.

const MARK = 'cAnArY'
let serial = 0
// Base64url text of its own, so that it survives in a token, a name, a method or a kid.
const mark = () => `${MARK}${(++serial).toString(36)}x`

const planted: string[] = []
const answers: string[] = []

let ground: Ground
let sidecar: Sidecar
let raw: RawClient

function plant(): string {
  const one = mark()
  planted.push(one)
  return one
}

function token(wish: Forge = {}): string {
  const text = forge(wish)
  const [header = '', payload = '', signature = ''] = text.split('.')
  planted.push(payload, signature)
  // The header of a plain token is the same for all and no secret; a wished one is not.
  if (wish.header) planted.push(header)
  return text
}

async function ask(request: CheckRequest): Promise<CheckResponse> {
  const reply = await raw.check(request)
  if (!('response' in reply)) throw new Error(`status ${reply.status.code}`)
  const { outcome } = reply.response
  if (outcome?.$case === 'deny') answers.push(JSON.stringify(outcome, asText))
  return reply.response
}

function asText(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('type' in value) || !('data' in value)) return value
  return Array.isArray(value.data) ? Buffer.from(value.data).toString('latin1') : value
}

const verdict = async (request: CheckRequest) => verdictOf(await ask(request))

beforeAll(async () => {
  ground = openGround()
  sidecar = await startSidecar({ config: ground.config() })
  raw = openRaw(sidecar.unix)
})

afterAll(async () => {
  raw.close()
  await sidecar.kill()
  ground[Symbol.dispose]()
})

describe('planted by a caller', () => {
  test('in claims that nobody asked for, of a token that is allowed', async () => {
    const claims = {
      email: plant(),
      name: plant(),
      [plant()]: plant(),
      nested: { deep: [plant()] },
      roles: ['billing', plant()],
      scope: `invoice:read ${plant()}`,
      aud: [AUDIENCE, plant()],
      acr: plant(),
      sid: plant(),
      nonce: plant(),
    }
    expect(await verdict(question({ token: token({ claims }) }))).toBe('allow')
  })

  test.each([
    'sub',
    'client_id',
    'jti',
    'tenant',
    'iss',
    'aud',
    'scope',
    'roles',
    'exp',
    'iat',
    'nbf',
    'cnf',
  ])('in the claim %s of a token whose signature is wrong', async (claim) => {
    const claims = { [claim]: plant() }
    const forged = token({ claims, sign: () => Buffer.alloc(256, 7) })
    expect(await verdict(question({ token: forged }))).not.toBe('allow')
  })

  test.each(['iss', 'aud', 'exp', 'iat', 'nbf', 'tenant', 'cnf'])(
    'in the claim %s of a token that is refused for it',
    async (claim) => {
      expect(await verdict(question({ token: token({ claims: { [claim]: plant() } }) }))).not.toBe('allow')
    },
  )

  test.each(['kid', 'alg', 'typ', 'jku', 'x5u', 'crit', 'cty'])('in the header member %s', async (member) => {
    const header = { [member]: member === 'crit' ? [plant()] : plant() }
    expect(await verdict(question({ token: token({ header }) }))).not.toBe('allow')
  })

  test('in a header member that means nothing, of a token that is allowed', async () => {
    expect(await verdict(question({ token: token({ header: { note: plant() } }) }))).toBe('allow')
  })

  test('in schemes, header names and header values', async () => {
    const odd = [
      `${plant()} ${plant()}`,
      `Bearer ${plant()}`,
      `Bearer ${plant()}.${plant()}.${plant()}`,
      `Basic ${plant()}`,
      `DPoP ${token()}`,
      plant(),
      `Bearer ${token()}, Bearer ${plant()}`,
      `Bearer  ${token()}`,
    ]
    for (const line of odd) expect(await verdict(question({ authorization: [line] }))).not.toBe('allow')
    const asked = question({ token: token() })
    const more = ['cookie', 'x-api-key', 'dpop', 'proxy-authorization', plant()].map((name) => ({
      name,
      value: Buffer.from(plant()),
    }))
    await ask({ ...asked, headers: [...asked.headers, ...more] })
    await ask({
      ...asked,
      headers: [...asked.headers, { name: `authorization_${plant()}`, value: Buffer.from(plant()) }],
    })
  })

  test('in the URL, the method, the facts and the certificate', async () => {
    const asked = question({ token: token() })
    await ask({ ...asked, url: `/invoices/${plant()}?access_token=${plant()}&q=${plant()}#${plant()}` })
    await ask({ ...asked, url: `https://user:${plant()}@host.example/${plant()}` })
    await ask({ ...asked, method: plant() })
    await ask({ ...asked, method: `BAD METHOD ${plant()}` })
    await ask({ ...asked, action: `not an action ${plant()}` })
    await ask({ ...asked, peerCertificate: Buffer.from(plant()) })
    await ask(question({ token: token(), stored: { owner: plant(), tenant: 'acme' } }))
    await ask(question({ token: token(), stored: { tenant: plant() } }))
    await ask(question({ token: token(), stored: { attributes: { note: plant(), [plant()]: plant() } } }))
    await ask(question({ token: token(), request: { amount: plant(), [plant()]: [plant()] } }))
    await ask(question({ token: token(), request: { deep: nested(plant()) } }))
    await ask(
      question({ token: token(), request: { many: Array.from({ length: 600 }, () => 'x'), mark: plant() } }),
    )
  })

  test('in gRPC metadata, messages that do not parse, and calls that do not exist', async () => {
    const metadata = { authorization: `Bearer ${plant()}`, [plant().toLowerCase()]: plant() }
    await raw.check(question({ token: token() }), { metadata })
    const odd = [
      await raw.checkBytes(Buffer.from(`\u000f${plant()}`)),
      await raw.checkBytes(Buffer.alloc(70_000, plant())),
      await raw.callBytes('/portcullis.authorizer.v1.Authorizer/Nothing', Buffer.from(plant())),
      await raw.callBytes('/grpc.health.v1.Health/Check', Buffer.from(plant())),
    ]
    answers.push(...odd.map((reply) => JSON.stringify(reply, asText)))
    const stream = raw.stream()
    stream.send({ id: 1, check: question({ token: plant() }) })
    answers.push(JSON.stringify(await stream.next(), asText))
    stream.cancel()
  })
})

describe('planted in what it reads', () => {
  test('a private member of a published key is neither used nor told', async () => {
    const secret = plant()
    const { jwk } = signingKey('RS256', 'leaky')
    const keys = [
      ...jwksOf([signingKey()]).keys,
      { ...jwk, d: secret },
      { kty: 'oct', kid: 'shared', k: plant() },
    ]
    replaceFile(ground.jwksFile, JSON.stringify({ keys }))
    sidecar.reload()
    const refused = await sidecar.event('jwks_refresh_failed')
    expect(refused['problem']).toContain('private key')
    expect(await verdict(question({ token: token({ key: signingKey('RS256', 'leaky') }) }))).not.toBe('allow')
    // Nothing of a provider that publishes secrets is believed, until it publishes a sound set again.
    expect(await verdict(question({ token: token() }))).toBe('jwks_unavailable')
    ground.publish([signingKey()])
    sidecar.reload()
    const again = async () => ((await verdict(question({ token: token() }))) === 'allow' ? true : undefined)
    await until('the keys again', again)
  })

  test('a key file that is no key file', async () => {
    const failures = () => sidecar.events.filter(({ event }) => event === 'jwks_refresh_failed').length
    const before = failures()
    replaceFile(ground.jwksFile, `{"keys": ${plant()}`)
    sidecar.reload()
    await until('the failure', () => failures() > before || undefined)
    expect(await verdict(question({ token: token() }))).toBe('allow')
  })

  test('a password in the URL of the keys', async () => {
    const password = plant()
    const uri = `https://operator:${password}@idp.test.example/jwks`
    const issuer = ground.issuer({ jwks: { uri } })
    for (const args of [[], ['--check']]) {
      const config = ground.config({ issuers: [issuer] })
      await using other = await startSidecar({ config, args, wait: 'nothing' })
      const settled = () => other.events.find(({ event }) => event === 'jwks_refresh_failed')
      const said = until('the failure', settled, { withinMs: 10_000 }).catch(() => undefined)
      await Promise.race([said, other.exited])
      const text = JSON.stringify([other.events, other.noise, other.decisions])
      expect(text).not.toContain(password)
      if (other.adminAddress) expect((await other.admin('/readyz')).text).not.toContain(password)
    }
  })
})

describe('afterwards', () => {
  test('002-19: each decision has its line, and no mark is in any of them', async () => {
    const last = await ask(question())
    await until('the last line', () =>
      sidecar.decisions.find((line) => line['decision_id'] === last.decisionId),
    )
    expect(sidecar.decisions.length).toBeGreaterThan(50)
    clean('decision log', JSON.stringify(sidecar.decisions))
  })

  test('002-19: no mark is in the operational log, the metrics or readiness', async () => {
    clean('operational log', JSON.stringify(sidecar.events))
    clean('metrics', (await sidecar.admin('/metrics')).text)
    clean('readyz', (await sidecar.admin('/readyz')).text)
    expect(sidecar.noise).toEqual([])
  })

  test('no mark came back in a denial or a gRPC error', () => {
    expect(answers.length).toBeGreaterThan(40)
    clean('answers', answers.join('\n'))
  })

  test('the kernel shows none of it either: arguments and environment of the process', () => {
    clean('cmdline', readFileSync(`/proc/${sidecar.pid}/cmdline`, 'latin1'))
    clean('environ', readFileSync(`/proc/${sidecar.pid}/environ`, 'latin1'))
  })

  test('every series has labels from a closed list: dozens of decisions made no new one', async () => {
    const names = async () =>
      (await sidecar.admin('/metrics')).text
        .split('\n')
        .filter((line) => line && !line.startsWith('#'))
        .map((line) => line.slice(0, line.lastIndexOf(' ')))
    await using fresh = await startSidecar({ config: ground.config(), wait: 'listening' })
    const before = (await fresh.admin('/metrics')).text.split('\n').length
    expect((await names()).length).toBeLessThan(before + 20)
    expect(AuthorizerService.check.path).not.toContain(MARK)
  })
})

// As it was planted, and in every spelling that a careless log could give it.
function clean(where: string, text: string): void {
  const lower = text.toLowerCase()
  expect(lower.includes(MARK.toLowerCase()), `${where}: a mark`).toBe(false)
  for (const one of planted) {
    expect(text.includes(one), `${where}: ${one.slice(0, 24)}`).toBe(false)
    expect(text.includes(Buffer.from(one).toString('base64url').slice(0, -2)), `${where}: in base64`).toBe(
      false,
    )
    expect(text.includes(Buffer.from(one).toString('hex')), `${where}: in hex`).toBe(false)
  }
}

function nested(leaf: string): unknown {
  let value: unknown = leaf
  for (let depth = 0; depth < 30; depth++) value = { value }
  return value
}
