// OpenID Connect Back-Channel Logout 1.0 over real HTTP: what ends a session, what is refused, and what the sender is told to send again.
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { AppendOutcome, type AppendRequest } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { parseJwks } from '../../../contracts/jwks.ts'
import type { LogoutIssuer } from '../../../operator/logout/logout-token.ts'
import { type LogoutNeeds, openLogout, type RunningLogout } from '../../../operator/logout/receiver.ts'

const AT = 1_790_000_000_000
const S = AT / 1000
const IDP = 'https://idp.example'
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const thief = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'k-1', alg: 'ES256', use: 'sig' }
const parsed = parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })), new Set(['ES256']))
const ISSUER: LogoutIssuer = {
  source: 'shop/idp',
  issuer: IDP,
  algorithms: new Set(['ES256']),
  skewMs: 30_000,
  clientIds: ['web', 'app'],
  lifetimeMs: 3_600_000,
}
const CLAIMS = { iss: IDP, aud: 'web', iat: S, exp: S + 120, jti: 'j-1', events: { [EVENT]: {} }, sid: 's-1' }
const HEADER = { alg: 'ES256', kid: 'k-1', typ: 'logout+jwt' }

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
function logoutToken(claims: object = {}, header: object = {}, key: KeyObject = pair.privateKey): string {
  const signed = `${b64({ ...HEADER, ...header })}.${b64({ ...CLAIMS, ...claims })}`
  return `${signed}.${sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

let running: RunningLogout
let appended: AppendRequest[]
let outcome: AppendOutcome
let key: Awaited<ReturnType<LogoutNeeds['key']>> | undefined
let why: string[]
let clock: number
let asked: number
let behindIngress: boolean
let storing: Promise<void> | undefined
const open = async () => {
  running = await openLogout(
    { host: '127.0.0.1', port: 0 },
    {
      now: () => AT,
      monotonic: () => clock,
      random: () => 0,
      sleep: (ms, signal) => delay(ms, undefined, { signal }),
      issuer: (namespace, name) => (`${namespace}/${name}` === 'shop/idp' ? ISSUER : undefined),
      key: async (_source, kid) => {
        asked++
        return key ?? (parsed.ok ? parsed.keys.find((one) => one.kid === kid) : undefined) ?? 'gone'
      },
      append: async (request) => {
        appended.push(request)
        await storing
        return { outcome, why: '' }
      },
      behindIngress,
      observe: (_status, rule) => why.push(rule),
    },
  )
}
beforeEach(() => {
  appended = []
  outcome = AppendOutcome.APPEND_OUTCOME_STORED
  key = undefined
  why = []
  clock = 0
  asked = 0
  behindIngress = false
  storing = undefined
  return open()
})
afterEach(() => running[Symbol.asyncDispose]())

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const post = (body: string, path = '/logout/shop/idp', headers: Record<string, string> = FORM) =>
  fetch(`http://127.0.0.1:${running.port}${path}`, { method: 'POST', headers, body })
const send = (token: string, path?: string) => post(`logout_token=${encodeURIComponent(token)}`, path)
const entries = (): readonly Revocation[] => appended.flatMap((request) => request.entries)

describe('what is taken', () => {
  test('L8: 200 after it is stored, and nothing may keep the answer', async () => {
    const answer = await send(logoutToken())
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(entries()).toMatchObject([
      {
        source: 'shop/idp',
        issuer: IDP,
        subject: { $case: 'sid', sid: 's-1' },
        issuedBeforeMs: 0,
        expiresAtMs: AT + 3_630_000,
      },
    ])
  })
  test('004-24: the session, and not the subject, where both are named', async () => {
    await send(logoutToken({ sub: 'alice' }))
    expect(entries()).toMatchObject([{ subject: { $case: 'sid', sid: 's-1' } }])
  })
  test('L7: a subject alone ends all its sessions, and a new login works', async () => {
    await send(logoutToken({ sid: undefined, sub: 'alice' }))
    expect(entries()).toMatchObject([{ subject: { $case: 'sub', sub: 'alice' }, issuedBeforeMs: AT }])
  })
  test.each([
    ['several audiences', { aud: ['other', 'app'] }, {}],
    ['no end, as older providers send it', { exp: undefined }, {}],
    ['no type', {}, { typ: undefined }],
    ['the long form of the type', {}, { typ: 'application/logout+jwt' }],
    ['unknown events beside ours', { events: { [EVENT]: {}, 'https://other.example': {} } }, {}],
    ['an event with members', { events: { [EVENT]: { reason: 'x' } } }, {}],
  ])('%s', async (_what, claims, header) => {
    expect((await send(logoutToken(claims, header))).status).toBe(200)
  })
  test('L6: the same token twice names the same mark, another one another', async () => {
    outcome = AppendOutcome.APPEND_OUTCOME_FULL
    await send(logoutToken())
    await send(logoutToken({ iat: S - 1 }))
    await send(logoutToken({ jti: 'j-2' }))
    const [one, again, other] = appended.map(({ once }) => once.toString('hex'))
    expect(one).toHaveLength(64)
    expect([again === one, other === one]).toEqual([true, false])
  })
})

const INVALID: readonly (readonly [what: string, claims: object, header?: object])[] = [
  ['L1: another type', {}, { typ: 'at+jwt' }],
  ['L1: JWT', {}, { typ: 'JWT' }],
  ['L2: no iss', { iss: undefined }],
  ['L2: another iss', { iss: `${IDP}/` }],
  ['L2: no aud', { aud: undefined }],
  ['L2: the aud of others', { aud: ['other'] }],
  ['L2: an aud with something else in it', { aud: ['web', 7] }],
  ['L2: no iat', { iat: undefined }],
  ['L2: iat as text', { iat: `${S}` }],
  ['L2: iat in the future, past the skew', { iat: S + 31 }],
  ['L2: iat too long ago', { iat: S - 631 }],
  ['L2: expired, past the skew', { exp: S - 30 }],
  ['L2: no jti', { jti: undefined }],
  ['L2: an empty jti', { jti: '' }],
  ['L3: no events', { events: undefined }],
  ['L3: other events', { events: { 'https://other.example': {} } }],
  ['L3: the event as text', { events: { [EVENT]: '' } }],
  ['L3: the event as a list', { events: { [EVENT]: [] } }],
  ['L3: events as a list', { events: [EVENT] }],
  ['L4: neither sub nor sid', { sid: undefined }],
  ['L4: an empty sid', { sid: '' }],
  ['L4: a sid that is no text', { sid: 7 }],
  ['L4: a good sid and a bad sub', { sub: {} }],
  ['L5: a nonce', { nonce: 'n' }],
  ['L5: a nonce of null', { nonce: null }],
  ['L9: none', {}, { alg: 'none' }],
  ['L9: HS256', {}, { alg: 'HS256' }],
  ['L9: an algorithm that this issuer does not have', {}, { alg: 'RS256' }],
  ['L9: crit', {}, { crit: ['exp'] }],
  ['L9: a key of its own', {}, { jwk }],
  ['L9: no kid', {}, { kid: undefined }],
  ['L9: an unknown kid', {}, { kid: 'k-2' }],
]

describe('what is refused, and not stored', () => {
  test.each(INVALID.map(([what, claims, header = {}]) => [what, claims, header] as const))(
    '%s',
    async (_what, claims, header) => {
      const answer = await send(logoutToken(claims, header))
      expect(answer.status).toBe(400)
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(appended).toEqual([])
    },
  )
  test('L9: the signature of somebody else', async () => {
    expect((await send(logoutToken({}, {}, thief.privateKey))).status).toBe(400)
    expect(why).toEqual(['signature_invalid'])
  })
  test('L9: changed after it was signed', async () => {
    const [header, , signature] = logoutToken().split('.')
    expect((await send(`${header}.${b64({ ...CLAIMS, sid: 's-2' })}.${signature}`)).status).toBe(400)
  })
  test.each<readonly [what: string, at: number]>([
    ['L2: iat as far in the future as clocks may differ', S + 30],
    ['L2: iat as long ago as a token may live', S - 630],
  ])('but not: %s', async (_what, iat) => {
    expect((await send(logoutToken({ iat, exp: undefined }))).status).toBe(200)
  })
})

test('whatever is wrong, the answer is the same: no namespace and no issuer can be found out', async () => {
  const answers = [
    await send(logoutToken(), '/logout/shop/none'),
    await send(logoutToken(), '/logout/none/idp'),
    await send(logoutToken(), '/elsewhere'),
    await send(logoutToken({}, {}, thief.privateKey)),
    await post('logout_token='),
    await post('token=x'),
    await post(`logout_token=${logoutToken()}&logout_token=${logoutToken()}`),
    await post(logoutToken(), undefined, { 'content-type': 'application/json' }),
  ]
  const bodies = await Promise.all(answers.map((answer) => answer.text()))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([400]))
  expect(new Set(bodies.map((body) => createHash('sha256').update(body).digest('hex'))).size).toBe(1)
  expect(appended).toEqual([])
})

describe('L8: the sender is told to come again', () => {
  test.each([AppendOutcome.APPEND_OUTCOME_FULL, AppendOutcome.APPEND_OUTCOME_UNAVAILABLE])(
    'when it cannot be stored: %s',
    async (one) => {
      outcome = one
      const answer = await send(logoutToken())
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
    },
  )
  test('when the keys cannot be had', async () => {
    key = 'unavailable'
    expect((await send(logoutToken())).status).toBe(503)
    expect(appended).toEqual([])
  })
  test('and not when it was here before', async () => {
    outcome = AppendOutcome.APPEND_OUTCOME_REPEATED
    expect((await send(logoutToken())).status).toBe(400)
  })
})

describe('who can keep whom out', () => {
  const forged = logoutToken({ jti: 'forged' }, {}, thief.privateKey)
  const from = (address: string, token: string) =>
    post(`logout_token=${encodeURIComponent(token)}`, undefined, { ...FORM, 'x-forwarded-for': address })
  let made = 0
  const genuine = () => logoutToken({ jti: `genuine-${made++}` })
  /** How many of so many were refused for each reason. */
  const tally = async (count: number, once: () => Promise<Response>): Promise<Record<string, number>> => {
    why = []
    for (let left = count; left > 0; left -= 20)
      await Promise.all(Array.from({ length: Math.min(20, left) }, once))
    return Object.fromEntries([...Map.groupBy(why, (one) => one)].map(([one, all]) => [one, all.length]))
  }
  beforeEach(async () => {
    await running[Symbol.asyncDispose]()
    behindIngress = true
    await open()
  })

  test.each([
    ['no token', 'x', 'token_format'],
    ['the aud of others', logoutToken({ aud: 'other' }, {}, thief.privateKey), 'aud'],
    ['what has expired', logoutToken({ exp: S - 60 }, {}, thief.privateKey), 'exp'],
    ['no events', logoutToken({ events: undefined }, {}, thief.privateKey), 'events'],
    ['another algorithm', logoutToken({}, { alg: 'RS256' }, thief.privateKey), 'alg_not_allowed'],
  ])('nobody, with what is refused without a key: %s', async (_what, token, rule) => {
    expect(await tally(300, () => from('192.0.2.1', token))).toEqual({ [rule]: 300 })
    expect(asked).toBe(0)
    expect((await from('192.0.2.1', genuine())).status).toBe(200)
  })
  test('who forges: itself, and only until time has passed', async () => {
    expect(await tally(205, () => from('192.0.2.1', forged))).toEqual({
      signature_invalid: 200,
      sender_rate: 5,
    })
    expect((await from('192.0.2.1', genuine())).status).toBe(503)
    expect((await from('192.0.2.2', genuine())).status).toBe(200)
    clock += 1_000
    expect((await from('192.0.2.1', genuine())).status).toBe(200)
  })
  test('many who forge: other strangers, and nobody who has brought a genuine one', async () => {
    expect((await from('192.0.2.9', genuine())).status).toBe(200)
    for (const one of ['192.0.2.1', '192.0.2.2']) await tally(200, () => from(one, forged))
    expect(await tally(1, () => from('192.0.2.3', genuine()))).toEqual({ issuer_rate: 1 })
    expect((await from('192.0.2.9', genuine())).status).toBe(200)
  })
  test('a forged token makes no sender known', async () => {
    await from('192.0.2.9', forged)
    for (const one of ['192.0.2.1', '192.0.2.2']) await tally(200, () => from(one, forged))
    expect((await from('192.0.2.9', genuine())).status).toBe(503)
  })
  test('neither does a genuine one that was not stored: whoever recorded it could send it', async () => {
    outcome = AppendOutcome.APPEND_OUTCOME_FULL
    await from('192.0.2.9', genuine())
    outcome = AppendOutcome.APPEND_OUTCOME_STORED
    for (const one of ['192.0.2.1', '192.0.2.2']) await tally(200, () => from(one, forged))
    expect(await tally(1, () => from('192.0.2.9', genuine()))).toEqual({ issuer_rate: 1 })
  })
  test('an unknown kid costs as much as a forged signature: its key is asked for', async () => {
    const unknown = logoutToken({}, { kid: 'k-2' })
    expect(await tally(201, () => from('192.0.2.1', unknown))).toEqual({ kid_unknown: 200, sender_rate: 1 })
  })
  test('genuine ones take nothing from each other’s checks, and have a limit of their own', async () => {
    expect(await tally(205, () => from('192.0.2.9', genuine()))).toEqual({ '': 200, genuine_rate: 5 })
    expect(await tally(1, () => from('192.0.2.9', forged))).toEqual({ signature_invalid: 1 })
    clock += 1_000
    expect((await from('192.0.2.9', genuine())).status).toBe(200)
  })
  test('whoever recorded one that was stored here: nobody, and nothing is checked', async () => {
    const recorded = genuine()
    await from('192.0.2.9', recorded)
    expect(await tally(300, () => from('192.0.2.1', recorded))).toEqual({ repeated: 300 })
    expect([asked, appended.length]).toEqual([1, 1])
  })
  test('whoever recorded one that was stored elsewhere: itself', async () => {
    outcome = AppendOutcome.APPEND_OUTCOME_REPEATED
    const recorded = genuine()
    expect(await tally(201, () => from('192.0.2.1', recorded))).toEqual({ repeated: 200, sender_rate: 1 })
    outcome = AppendOutcome.APPEND_OUTCOME_STORED
    expect((await from('192.0.2.9', genuine())).status).toBe(200)
  })
  test('one that could not be stored may come again', async () => {
    outcome = AppendOutcome.APPEND_OUTCOME_FULL
    const token = genuine()
    expect((await from('192.0.2.9', token)).status).toBe(503)
    outcome = AppendOutcome.APPEND_OUTCOME_STORED
    expect((await from('192.0.2.9', token)).status).toBe(200)
  })
  test.each([
    ['an address of the same /64', '2001:db8:0:7::1', '2001:db8::7:a:0:0:2', true],
    ['one of the next /64', '2001:db8:0:7::1', '2001:db8:0:8::1', false],
    ['what it claimed to have passed on', '192.0.2.1', '198.51.100.7, 192.0.2.1', true],
    ['the same, written as IPv6', '192.0.2.1', '::FFFF:192.0.2.1', true],
    ['another IPv4 address, written as IPv6', '::ffff:192.0.2.1', '::ffff:192.0.2.2', false],
    ['what is no address: the connection counts', 'unknown', 'x', true],
  ])('%s is the same sender: %#', async (_what, one, other, same) => {
    await tally(200, () => from(one, forged))
    expect(await tally(1, () => from(other, forged))).toEqual({
      [same ? 'sender_rate' : 'signature_invalid']: 1,
    })
  })
  test('X-Forwarded-For is believed behind an ingress only', async () => {
    await running[Symbol.asyncDispose]()
    behindIngress = false
    await open()
    await tally(200, () => from('192.0.2.1', forged))
    expect(await tally(1, () => from('192.0.2.2', forged))).toEqual({ sender_rate: 1 })
  })
  test('one that is slow keeps half of the places, and the other half is there for others', async () => {
    const stored = Promise.withResolvers<void>()
    storing = stored.promise
    const slow = Array.from({ length: 40 }, () => from('192.0.2.1', genuine()))
    await expect.poll(() => [appended.length, why]).toEqual([32, Array<string>(8).fill('sender_busy')])
    const other = from('192.0.2.2', genuine())
    await expect.poll(() => appended.length).toBe(33)
    stored.resolve()
    expect((await other).status).toBe(200)
    expect((await Promise.all(slow)).filter(({ status }) => status === 200)).toHaveLength(32)
    expect((await from('192.0.2.1', genuine())).status).toBe(200)
  })
  test('many that are slow keep strangers out, and nobody who has brought a genuine one', async () => {
    await from('192.0.2.9', genuine())
    const stored = Promise.withResolvers<void>()
    storing = stored.promise
    const slow = ['192.0.2.1', '192.0.2.2'].flatMap((one) =>
      Array.from({ length: 32 }, () => from(one, genuine())),
    )
    await expect.poll(() => appended.length).toBe(65)
    expect(await tally(1, () => from('192.0.2.3', genuine()))).toEqual({ busy: 1 })
    const other = from('192.0.2.9', genuine())
    await expect.poll(() => appended.length).toBe(66)
    stored.resolve()
    expect((await other).status).toBe(200)
    await Promise.all(slow)
  })
  test('one that only connects keeps half of the connections', async () => {
    const idle = Array.from({ length: 140 }, () =>
      connect({ port: running.port, host: '127.0.0.1', localAddress: '127.0.0.2' }),
    )
    let closed = 0
    for (const socket of idle) socket.once('close', () => closed++).on('error', () => undefined)
    await expect.poll(() => closed).toBe(12)
    expect((await from('192.0.2.9', genuine())).status).toBe(200)
    for (const socket of idle) socket.destroy()
  })
})

describe('what is no logout is not read to its end', () => {
  test('a body of more than 16 KiB', async () => {
    expect((await post(`logout_token=${'x'.repeat(16 * 1024)}`)).status).toBe(413)
  })
  test('a token of more than 8 KiB', async () => {
    expect((await send('x'.repeat(8 * 1024 + 1))).status).toBe(400)
    expect(why).toEqual(['token_too_large'])
  })
  test('another method', async () => {
    const answer = await fetch(`http://127.0.0.1:${running.port}/logout/shop/idp`)
    expect(answer.status).toBe(405)
  })
})
