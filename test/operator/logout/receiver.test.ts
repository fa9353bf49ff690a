// OpenID Connect Back-Channel Logout 1.0 over real HTTP: what ends a session, what is refused, and what the sender is told to send again.
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
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
beforeEach(async () => {
  appended = []
  outcome = AppendOutcome.APPEND_OUTCOME_STORED
  key = undefined
  why = []
  clock = 0
  running = await openLogout(
    { host: '127.0.0.1', port: 0 },
    {
      now: () => AT,
      monotonic: () => clock,
      random: () => 0,
      sleep: (ms, signal) => delay(ms, undefined, { signal }),
      issuer: (namespace, name) => (`${namespace}/${name}` === 'shop/idp' ? ISSUER : undefined),
      key: async (_source, kid) =>
        key ?? (parsed.ok ? parsed.keys.find((one) => one.kid === kid) : undefined) ?? 'gone',
      append: async (request) => {
        appended.push(request)
        return { outcome, why: '' }
      },
      observe: (_status, rule) => why.push(rule),
    },
  )
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
  test('when one issuer sends more than is checked in a second', async () => {
    const statuses: number[] = []
    for (let time = 0; time < 205; time++) statuses.push((await send('x')).status)
    expect(statuses.filter((status) => status === 503)).toHaveLength(5)
    clock += 1_000
    expect((await send(logoutToken())).status).toBe(200)
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
