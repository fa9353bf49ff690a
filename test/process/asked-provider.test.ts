import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openFamiliesClient } from '../fixtures/credentials.ts'
import { type AskedIdp, startAskedIdp } from '../fixtures/idp-asked.ts'
import { NEXT_HOP } from '../fixtures/idp-asked-provider.ts'
import { forget, tempDirectory } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { type Sidecar, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { type Asker, openAsker, seen } from './asker.ts'
import {
  type Authority,
  clientOf,
  introspectionTree,
  issuePair,
  makePair,
  openAuthority,
  pairIn,
  SENSITIVE,
  WORKLOAD,
} from './asking-ground.ts'
import { exchangeAt, type Outcome, outcomeOf } from './exchange-client.ts'
import { type Ground, openGround, replaceFile } from './ground.ts'

// A real OpenID provider over TLS, a real sidecar: opaque tokens, tokens that were ended, and tokens that are exchanged.

const directory = tempDirectory('asked')
let ground: Ground
let idp: AskedIdp
let authority: Authority
const [SIGNED, ISSUED] = ['signing-workload', 'issued-workload']

beforeAll(async () => {
  ground = openGround()
  authority = openAuthority()
  const { pem: client } = makePair(directory, 'workload', `URI:${WORKLOAD}`)
  issuePair(directory, 'issued', WORKLOAD, authority)
  issuePair(directory, 'neighbour', `${WORKLOAD}-too`, authority)
  const server = makePair(directory, 'server', 'IP:127.0.0.1')
  const clients = { client, clientId: WORKLOAD, signedClientId: SIGNED, issuedClientId: ISSUED }
  idp = await startAskedIdp({ ...clients, server, authority: authority.root.pem, issuedUri: WORKLOAD })
  replaceFile(ground.jwksFile, JSON.stringify(idp.jwks))
})
afterAll(async () => {
  await idp[Symbol.asyncDispose]()
  ground[Symbol.dispose]()
  forget(directory)
})

// RFC 8705 section 2.2, RFC 7523 section 2.2, RFC 8705 section 2.1; and the pair of files that is shown.
const WAYS: readonly (readonly [string, Tree, string])[] = [
  ['its certificate, known by its SPIFFE ID', { authentication: 'MTLS' }, 'workload'],
  ['its signature', { authentication: 'PrivateKeyJWT', clientId: SIGNED }, 'workload'],
  [
    'the SPIFFE ID that a trusted authority certified',
    { authentication: 'MTLS', clientId: ISSUED },
    'issued',
  ],
]
// For an issuer that answers soundly from a machine that is busy.
const PATIENT = { timeoutMs: 10_000, deadlineMs: 20_000 }
const pairOf = (name: string) => clientOf(pairIn(directory, name))

function config(way: Tree, over: Tree = {}, cacheSeconds = 0): Tree {
  const ca = readFileSync(join(directory, 'server.crt'), 'utf8')
  const introspection = introspectionTree(`${idp.issuer}/token/introspection`, {
    ...way,
    ca,
    timeoutMs: PATIENT.timeoutMs,
    cacheSeconds,
  })
  const exchange = {
    endpoint: `${idp.issuer}/token`,
    ...way,
    ca,
    timeoutMs: PATIENT.timeoutMs,
    allowInsecureLoopback: true,
  }
  const issuer = ground.issuer({ issuer: idp.issuer, algorithms: ['RS256'], introspection, exchange })
  return ground.config({
    audience: 'https://api.demo.example',
    issuers: [issuer],
    client: pairOf('workload'),
    limits: { deadlineMs: PATIENT.deadlineMs },
    ...over,
  })
}

describe.each(WAYS)('who the workload is, is shown by %s', (_name, way, pair) => {
  let sidecar: Sidecar
  let asker: Asker
  beforeAll(async () => {
    sidecar = await startSidecar({ config: config(way, { client: pairOf(pair) }) })
    asker = openAsker(sidecar.unix)
  })
  afterAll(async () => {
    asker[Symbol.dispose]()
    await sidecar.kill()
  })
  const list = (token: string) =>
    asker.ask(question({ token, action: 'invoice:read', stored: { owner: 'acme-robot' } }))

  test('T1: 002-14: an opaque token that its issuer knows is allowed; one that it does not know is not', async () => {
    expect(seen(await list(await idp.opaqueToken()))).toMatchObject({ verdict: 'allow' })
    expect(seen(await list('no-such-token'))).toMatchObject({
      verdict: 'introspection_inactive',
      status: 401,
    })
  })

  test('T5: 002-15: a token that was ended at its issuer is refused by the next question', async () => {
    const token = await idp.opaqueToken()
    expect(seen(await list(token))).toMatchObject({ verdict: 'allow' })
    await idp.end(token)
    expect(seen(await list(token))).toMatchObject({ verdict: 'introspection_inactive' })
  })
})

test.each([
  ['its SPIFFE ID is that of a neighbour', 'neighbour'],
  ['its authority is nobody whom the issuer trusts', 'workload'],
])('RFC 8705 section 2.1: a certificate is not enough when %s', async (_name, pair) => {
  const way = { authentication: 'MTLS', clientId: ISSUED }
  await using sidecar = await startSidecar({ config: config(way, { client: pairOf(pair) }) })
  using asker = openAsker(sidecar.unix)
  const answer = await asker.ask(question({ token: await idp.opaqueToken() }))
  expect(seen(answer)).toMatchObject({ verdict: 'introspection_unavailable', status: 503 })
})

test('002-15: 002-17: T5: a JWT whose grant is revoked at the issuer is refused by the next write; reads hear of it by the log', async () => {
  const credentials = join(directory, 'told', 'credentials.sock')
  const listen = { unix: join(directory, 'asked', 'check.sock'), tcp: '127.0.0.1:0', credentials }
  // An answer that is half a minute old would do for a read.
  const over = { listen, routes: SENSITIVE }
  await using sidecar = await startSidecar({ config: config({ authentication: 'MTLS' }, over, 30) })
  using asker = openAsker(sidecar.unix)
  const { accessToken: token, refreshToken = '' } = await idp.userTokens('alice')
  const other = await idp.userTokens('alice')
  const read = async () => seen(await asker.ask(question({ token })))
  const write = async (with_ = token) =>
    seen(
      await asker.ask(
        question({
          token: with_,
          action: 'invoice:delete',
          method: 'DELETE',
          stored: { attributes: { status: 'draft' } },
        }),
      ),
    )
  expect(await write()).toMatchObject({ verdict: 'allow' })
  expect(await read()).toMatchObject({ verdict: 'allow' })
  await idp.end(refreshToken)
  expect(await write()).toMatchObject({ verdict: 'introspection_inactive', status: 401 })
  expect(await write(other.accessToken)).toMatchObject({ verdict: 'allow' })
  const asked = idp.count('/token/introspection')
  expect(await read()).toMatchObject({ verdict: 'allow' })
  expect(idp.count('/token/introspection')).toBe(asked)

  using families = openFamiliesClient(credentials)
  const subject = { issuer: idp.issuer, subject: 'alice', sessionId: '', clientId: 'demo-web' }
  await families.revoke({ family: 'grant', accessTokens: { $case: 'subject', subject } })
  expect(await read()).toMatchObject({ verdict: 'revoked_sub', status: 401 })
})

test('a workload that its issuer does not know is refused as one that nobody can answer for', async () => {
  const stranger = { authentication: 'PrivateKeyJWT', clientId: 'stranger' }
  await using sidecar = await startSidecar({ config: config(stranger) })
  using asker = openAsker(sidecar.unix)
  const answer = await asker.ask(question({ token: await idp.opaqueToken() }))
  expect(seen(answer)).toMatchObject({ verdict: 'introspection_unavailable', status: 503 })
})

describe('token exchange', () => {
  let sidecar: Sidecar
  let ask: (over?: Tree) => Promise<Outcome>
  let close: () => void
  let subject = ''
  beforeAll(async () => {
    const listen = { unix: 'run/check.sock', tcp: '127.0.0.1:0', credentials: 'handout/credentials.sock' }
    sidecar = await startSidecar({ config: config({ authentication: 'MTLS' }, { listen }) })
    subject = await idp.jwt()
    const client = exchangeAt(`${sidecar.directory}/handout/credentials.sock`)
    close = () => client[Symbol.dispose]()
    ask = async (over = {}) => outcomeOf(await client.exchange({ subjectToken: subject, ...over }))
  })
  afterAll(async () => {
    close()
    await sidecar.kill()
  })

  test('000-07: E1: E2: E6: a narrower token for the next hop, kept until shortly before it ends', async () => {
    const before = idp.count('/token')
    const first = await ask()
    expect(first).toMatchObject({ kind: 'token', aud: NEXT_HOP, scopes: ['invoice:read'], sub: 'alice' })
    expect(await ask()).toEqual(first)
    expect(idp.count('/token') - before).toBe(1)
  })

  test('000-07: one question for many that wait, and another for another scope', async () => {
    subject = await idp.jwt()
    const before = idp.count('/token')
    await Promise.all(Array.from({ length: 20 }, () => ask()))
    await ask({ scopes: ['invoice:edit'] })
    expect(idp.count('/token') - before).toBe(2)
  })

  test.each([
    ['more than the caller may do', { scopes: ['invoice:refund'] }, 'scope'],
    ['an audience that the issuer does not give', { audience: 'https://other.example' }, 'target'],
  ] as const)('E1: %s is refused', async (_name, over, reason) => {
    expect(await ask(over)).toMatchObject({ kind: 'refused', reason })
  })

  test('what this workload would not accept is sent to nobody', async () => {
    const before = idp.count('/token')
    const foreign = await idp.jwt({ aud: 'https://other.example' })
    expect(await ask({ subjectToken: foreign })).toMatchObject({
      reason: 'subject_token',
      because: 'aud_mismatch',
    })
    const forged = `${subject.slice(0, -6)}AAAAAA`
    expect(await ask({ subjectToken: forged })).toMatchObject({
      reason: 'subject_token',
      because: 'sig_invalid',
    })
    expect(idp.count('/token')).toBe(before)
  })

  test.each([
    ['E2: another kind of token', { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    ['E2: no kind', { issued_token_type: undefined }],
    ['E6: a longer life', { expires_in: 3_600 }],
    ['E1: a wider scope', { scope: 'invoice:read invoice:refund' }],
    ['a token that is bound to a key', { token_type: 'DPoP' }],
    ['no token', { access_token: '' }],
  ])('an answer with %s is given to nobody', async (_name, lie) => {
    subject = await idp.jwt()
    idp.lie(lie)
    expect(await ask()).toMatchObject({ kind: 'refused', reason: 'answer' })
    idp.lie(undefined)
    expect(await ask()).toMatchObject({ kind: 'token' })
  })

  test.each([
    ['for another audience', { aud: 'https://other.example' }],
    ['for more than one audience', { aud: [NEXT_HOP, 'https://other.example'] }],
    ['of another issuer', { iss: 'https://evil.example', aud: NEXT_HOP }],
    ['about another subject (T9)', { sub: 'bob', aud: NEXT_HOP }],
    ['E6: that outlives the subject token', { exp: Math.floor(Date.now() / 1000) + 3_000, aud: NEXT_HOP }],
    ['good for more', { scope: 'invoice:read invoice:refund', aud: NEXT_HOP }],
    ['E3: with nine actors', { act: chain(9), aud: NEXT_HOP }],
  ])('a JWT %s is given to nobody', async (_name, claims) => {
    subject = await idp.jwt()
    idp.lie({ access_token: await idp.jwt({ scope: 'invoice:read', ...claims }) })
    expect(await ask()).toMatchObject({ kind: 'refused', reason: 'answer' })
    idp.lie(undefined)
  })

  test('E4: E5: the current actor is told; a token without one is the subject itself', async () => {
    subject = await idp.jwt()
    idp.lie({
      access_token: await idp.jwt({
        scope: 'invoice:read',
        aud: NEXT_HOP,
        exp: endOf(subject),
        act: { sub: 'gateway' },
      }),
    })
    expect(await ask()).toMatchObject({ kind: 'token', actor: 'gateway' })
    idp.lie(undefined)
    expect(await ask({ scopes: ['invoice:edit'] })).toMatchObject({ kind: 'token', actor: '' })
  })

  test('it is on the socket for credentials and nowhere else', async () => {
    for (const address of [sidecar.unix, sidecar.tcp]) {
      using client = exchangeAt(address)
      await expect(client.exchange({ subjectToken: subject })).rejects.toThrow('12 UNIMPLEMENTED')
    }
  })

  test('a workload that is given no token of its own cannot be named', async () => {
    expect(await ask({ nameWorkloadAsActor: true })).toMatchObject({ reason: 'not_configured' })
  })

  test('what breaks the contract is named, and never repeated', async () => {
    for (const [field, over] of [
      ['subject_token', { subjectToken: '' }],
      ['audience', { audience: '' }],
      ['resource', { resource: '/relative' }],
      ['resource', { resource: 'https://x.example/#fragment' }],
      ['scopes', { scopes: [] }],
      ['scopes', { scopes: ['two words'] }],
    ] as const)
      await expect(ask(over)).rejects.toThrow(`${field}: missing, or outside its limits`)
  })
})

function chain(length: number): object {
  return length === 1 ? { sub: 'a' } : { sub: 'a', act: chain(length - 1) }
}

function endOf(token: string): number {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).exp
}
