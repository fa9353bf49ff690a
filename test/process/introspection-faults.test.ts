import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { forget, tempDirectory, until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import {
  drip,
  json,
  type ScriptedIssuer,
  silence,
  startScriptedIssuer,
  text,
} from '../fixtures/scripted-issuer.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge, goodClaims } from '../fixtures/tokens.ts'
import { type Asker, openAsker, type Seen, seen } from './asker.ts'
import { askingConfig, introspectionTree, makePair } from './asking-ground.ts'
import { type Ground, openGround } from './ground.ts'
import { counterAt } from './scrape.ts'

// A real sidecar whose issuer is slow, broken, silent or lying (reliability.md C12 to C17). The oracle of each: never an allow.

const directory = tempDirectory('asking')
let ground: Ground
let issuer: ScriptedIssuer
let sidecar: Sidecar
let asker: Asker

beforeAll(async () => {
  ground = openGround()
  issuer = await startScriptedIssuer()
})
// A breaker that one fault opened is no help against the next.
beforeEach(() => startAnew(SOUND_MS))
afterAll(async () => {
  asker[Symbol.dispose]()
  await sidecar.kill()
  await issuer[Symbol.asyncDispose]()
  ground[Symbol.dispose]()
  forget(directory)
})

// How long an issuer is waited for: one that answers soundly from a machine that is busy, and one that is silent.
const [SOUND_MS, SILENT_MS] = [10_000, 2_000]
async function startAnew(timeoutMs: number): Promise<void> {
  asker?.[Symbol.dispose]()
  await sidecar?.kill()
  const pair = makePair(directory, 'workload', 'URI:spiffe://test.example/ns/shop/sa/invoices')
  const introspection = introspectionTree(issuer.url, { timeoutMs })
  const limits = { deadlineMs: 20_000 }
  sidecar = await startSidecar({ config: askingConfig(ground, pair, introspection, { limits }) })
  asker = openAsker(sidecar.unix)
}
const nowS = () => Math.floor(Date.now() / 1000)
const DRAFT = { attributes: { status: 'draft' } }
const remove = (token: string) =>
  asker.ask(question({ token, action: 'invoice:delete', method: 'DELETE', stored: DRAFT }))
const read = (token: string) => asker.ask(question({ token }))
let serial = 0
const opaque = () => `opaque-${++serial}`

const FAULTS = [
  ['slow', silence],
  ['dripping', drip],
  ['status 500', json({ error: 'server_error' }, 500)],
  ['status 503', json({}, 503)],
  ['status 429', json({}, 429)],
  ['status 401: it does not know us', json({ error: 'invalid_client' }, 401)],
  ['a closed connection', (_form: unknown, response: { destroy(): void }) => response.destroy()],
] as const

describe('C12: the issuer cannot be asked', () => {
  test('C12: T6: every kind of silence denies with 503, for opaque tokens and for sensitive routes; the rest goes on', async () => {
    await startAnew(SILENT_MS)
    for (const [fault, reply] of FAULTS) {
      issuer.reply(reply)
      for (const answer of [await read(opaque()), await remove(forge())])
        expect({ fault, ...seen(answer) }).toMatchObject({
          verdict: 'introspection_unavailable',
          status: 503,
        })
      expect(seen(await read(forge()))).toMatchObject({ verdict: 'allow' })
    }
  })

  test('C12: an issuer that is gone denies with 503 and is left alone; it is asked again when it is back', async () => {
    issuer.reply(json({}, 500))
    for (let at = 0; at < 5; at++) await read(opaque())
    // It is tried again after a second, two, four: on a machine that is busy one of these may fall just here.
    await until('an answer for which nobody was asked', async () => {
      const before = issuer.asked.length
      expect(seen(await read(opaque()))).toMatchObject({ verdict: 'introspection_unavailable', status: 503 })
      return issuer.asked.length === before || undefined
    })
    expect(await counterAt(sidecar, 'portcullis_circuits_open', 'circuit="introspection"')).toBe(1)
    issuer.say({ active: true, ...goodClaims(nowS()) })
    const back = async () => (seen(await read(opaque())).verdict === 'allow' ? true : undefined)
    expect(await until('answer of the issuer that is back', back, { withinMs: 60_000, everyMs: 50 })).toBe(
      true,
    )
    expect(await counterAt(sidecar, 'portcullis_circuits_open', 'circuit="introspection"')).toBe(0)
  })

  test("C12: the caller's own deadline ends the wait", async () => {
    await startAnew(SILENT_MS)
    issuer.reply(silence)
    const answers: Seen[] = []
    const note = async (timeoutMs = 0) => {
      const asked = question({ token: opaque(), timeoutMs })
      answers.push(seen(await asker.ask(asked)))
    }
    await Promise.all([note(50), note()])
    expect(answers).toMatchObject([
      { verdict: 'deadline', status: 503 },
      { verdict: 'introspection_unavailable', status: 503 },
    ])
  })
})

test('C13: 002-17: local verification and the issuer must both say yes', async () => {
  const good = goodClaims(nowS())
  issuer.say({ active: true, ...good })
  expect(seen(await remove(forge({ claims: good })))).toMatchObject({ verdict: 'allow' })
  const asked = issuer.asked.length
  // Expired by itself: nobody needs to be asked.
  expect(seen(await remove(forge({ claims: { exp: nowS() - 61, iat: nowS() - 300 } })))).toMatchObject({
    verdict: 'expired',
  })
  expect(issuer.asked.length).toBe(asked)
  issuer.say({ active: false })
  expect(seen(await remove(forge()))).toMatchObject({ verdict: 'introspection_inactive', status: 401 })
})

test('C14: an answer is asked for anew on a sensitive route, whatever is remembered', async () => {
  const token = opaque()
  issuer.say({ active: true, ...goodClaims(nowS()) })
  expect(seen(await read(token))).toMatchObject({ verdict: 'allow' })
  expect(seen(await remove(token))).toMatchObject({ verdict: 'allow' })
  issuer.say({ active: false })
  expect(seen(await read(token))).toMatchObject({ verdict: 'allow' })
  expect(seen(await remove(token))).toMatchObject({ verdict: 'introspection_inactive' })
  // And what was learned there counts for every route.
  expect(seen(await read(token))).toMatchObject({ verdict: 'introspection_inactive' })
})

describe('C15: the issuer answers about something else', () => {
  test.each([
    ['another token', { active: true, ...goodClaims(0, { jti: 'another', sub: 'bob' }) }],
    ['no "active"', goodClaims(0)],
    ['"active":"true"', { active: 'true', ...goodClaims(0) }],
  ])('C15: T2: T9: %s', async (_name, answer) => {
    const at = { iat: nowS(), exp: nowS() + 300 }
    issuer.say({ ...answer, ...at })
    const claims = { ...goodClaims(nowS(), { jti: 'mine' }), ...at }
    expect(seen(await remove(forge({ claims })))).toMatchObject({
      verdict: 'introspection_invalid',
      status: 503,
    })
  })

  test('C15: T7: more than 64 KiB, and what is no JSON', async () => {
    issuer.reply(text(`{"active":true,"pad":"${'x'.repeat(70_000)}"}`, 'application/json'))
    expect(seen(await read(opaque()))).toMatchObject({ verdict: 'introspection_invalid', status: 503 })
    issuer.reply(text('<html>', 'text/html'))
    expect(seen(await read(opaque()))).toMatchObject({ verdict: 'introspection_invalid', status: 503 })
  })
})

describe('bound tokens of which only the issuer knows', () => {
  test('C16: P13: an opaque token bound to a key is refused as a bearer token', async () => {
    const claims = goodClaims(nowS(), { cnf: { jkt: 'A'.repeat(43) }, token_type: 'DPoP' })
    issuer.say({ active: true, ...claims })
    expect(seen(await read(opaque()))).toMatchObject({ verdict: 'cnf_scheme_mismatch', status: 401 })
  })

  test('C17: M4: an opaque token bound to a certificate is refused without one', async () => {
    issuer.say({ active: true, ...goodClaims(nowS(), { cnf: { 'x5t#S256': 'A'.repeat(43) } }) })
    expect(seen(await read(opaque()))).toMatchObject({ verdict: 'mtls_missing', status: 401 })
  })
})

test('T1: the question says who asks, by a signature that is used once; connections are kept; the token is nowhere in the log', async () => {
  issuer.say({ active: true, ...goodClaims(nowS()) })
  const connections = issuer.connections()
  const tokens = Array.from({ length: 20 }, opaque)
  for (const token of tokens) await read(token)
  const forms = issuer.asked.slice(-20)
  expect(new Set(forms.map((form) => form['client_assertion'])).size).toBe(20)
  expect(forms[0]).toMatchObject({
    client_id: 'spiffe://test.example/ns/shop/sa/invoices',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    token_type_hint: 'access_token',
  })
  expect(issuer.connections() - connections).toBeLessThanOrEqual(2)
  const said = JSON.stringify([sidecar.decisions, sidecar.events, sidecar.noise])
  for (const secret of [tokens[0], forms[0]?.['client_assertion']]) expect(said).not.toContain(secret)
})

test('000-19: 002-13: how long issuers take is a histogram of its own', async () => {
  issuer.say({ active: true, ...goodClaims(nowS()) })
  await read(opaque())
  const count = 'token_introspection_latency_seconds_count'
  expect(await counterAt(sidecar, count, 'outcome="active"')).toBe(1)
  await startAnew(SILENT_MS)
  issuer.reply(silence)
  await read(opaque())
  expect(await counterAt(sidecar, count, 'outcome="unavailable"')).toBe(1)
  expect(
    await counterAt(sidecar, 'token_introspection_latency_seconds_bucket', 'le="0.2",outcome="unavailable"'),
  ).toBe(0)
})

test('one question a token, however many wait for its answer', async () => {
  issuer.reply((form, response, request) =>
    setTimeout(() => json({ active: true, ...goodClaims(nowS()) })(form, response, request), 100),
  )
  const before = issuer.asked.length
  const token = opaque()
  const answers = await Promise.all(Array.from({ length: 50 }, () => read(token)))
  expect(answers.map((one) => seen(one).verdict)).toEqual(Array(50).fill('allow'))
  expect(issuer.asked.length - before).toBe(1)
})
