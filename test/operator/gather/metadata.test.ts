// What an authorization server says of itself, over real HTTP; whatever it says, advice is all that comes of it.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fetchVersion } from '../../../contracts/fetch.ts'
import { createMetadataKeeping } from '../../../operator/control/metadata.ts'
import type { FetchVersion } from '../../../operator/gather/jwks.ts'
import { readMetadata } from '../../../operator/gather/metadata.ts'
import { tokenIssuer } from '../state/objects.ts'

let server: Server
let origin: string
/** By path. */
let documents: Record<string, unknown>
let asked: string[]

beforeEach(async () => {
  documents = {}
  asked = []
  server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push(path)
    const document = documents[path]
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(typeof document === 'string' ? document : JSON.stringify(document))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(() => new Promise((done) => server.close(done)))

// The one thing the operator never allows: its fetches are https only.
const fetching: FetchVersion = (url, rules, signal) =>
  fetchVersion(url, { ...rules, insecureLoopback: true }, signal)
const signal = new AbortController().signal
const read = (path = '') =>
  readMetadata({ issuer: `${origin}${path}`, ca: undefined, privateAddresses: false }, fetching, signal)

test('the document of OpenID Connect is read, and only what advice needs of it', async () => {
  documents['/.well-known/openid-configuration'] = {
    issuer: origin,
    code_challenge_methods_supported: ['S256'],
    response_types_supported: ['code'],
    grant_types_supported: ['authorization_code'],
    id_token_signing_alg_values_supported: ['RS256'],
    request_object_signing_alg_values_supported: ['none'],
    dpop_signing_alg_values_supported: ['ES256'],
    tls_client_certificate_bound_access_tokens: true,
    pushed_authorization_request_endpoint: `${origin}/par`,
    acr_values_supported: ['gold'],
    secret: 'x',
  }
  expect(await read()).toEqual({
    facts: {
      uri: `${origin}/.well-known/openid-configuration`,
      exact: true,
      challengeMethods: ['S256'],
      responseTypes: ['code'],
      grantTypes: ['authorization_code'],
      algorithms: ['RS256', 'none'],
      proofAlgorithms: ['ES256'],
      certificateBound: true,
      pushed: true,
      acrValues: ['gold'],
    },
  })
})

test('a server without OpenID Connect is found by RFC 8414, whose path goes before that of the issuer', async () => {
  documents['/.well-known/oauth-authorization-server/realms/a'] = { issuer: `${origin}/realms/a` }
  expect(await read('/realms/a')).toMatchObject({ facts: { exact: true } })
  expect(asked).toEqual([
    '/realms/a/.well-known/openid-configuration',
    '/.well-known/oauth-authorization-server/realms/a',
  ])
})

test.each(['/', '/other', '//'])(
  'an issuer that calls itself %s is not exactly the one that was asked',
  async (path) => {
    documents['/.well-known/openid-configuration'] = { issuer: `${origin}${path}` }
    expect(await read()).toMatchObject({ facts: { exact: false } })
  },
)

test('what is left out stands for what RFC 8414 says that it stands for', async () => {
  documents['/.well-known/openid-configuration'] = { issuer: origin }
  expect(await read()).toMatchObject({
    facts: { grantTypes: ['authorization_code', 'implicit'], pushed: false },
  })
})

describe('documents that are no documents', () => {
  test.each<readonly [string, unknown]>([
    ['a list', []],
    ['no JSON', '{'],
    ['null', 'null'],
    ['more than 64 KiB', { issuer: 'x'.repeat(70_000) }],
  ])('%s', async (_what, document) => {
    documents['/.well-known/openid-configuration'] = document
    expect(await read()).toMatchObject({ facts: undefined, problem: expect.stringContaining(origin) })
  })

  test('members of another type are as if they were not there', async () => {
    documents['/.well-known/openid-configuration'] = {
      issuer: origin,
      code_challenge_methods_supported: 'S256',
      dpop_signing_alg_values_supported: [1, null, 'ES256', 'x'.repeat(300)],
      tls_client_certificate_bound_access_tokens: 'true',
    }
    expect(await read()).toMatchObject({
      facts: { challengeMethods: [], proofAlgorithms: ['ES256'], certificateBound: false },
    })
  })

  test('an issuer that is nowhere', async () => {
    expect(await read()).toMatchObject({ facts: undefined, problem: expect.stringContaining('404') })
  })
})

describe('keeping', () => {
  const keeping = (answers: FetchVersion) => {
    const waits: number[] = []
    const changed: string[] = []
    let wake: () => void = () => undefined
    const term = new AbortController()
    const kept = createMetadataKeeping({
      fetch: answers,
      random: () => 0.5,
      sleep: (ms) => {
        waits.push(ms)
        return new Promise((done) => {
          wake = done
        })
      },
      term: term.signal,
      changed: (key) => void changed.push(key),
    })
    const settled = async (rounds: number) => {
      while (waits.length < rounds) await new Promise((done) => setImmediate(done))
    }
    return { kept, waits, changed, settled, wake: () => wake() }
  }
  const found =
    (issuer: string): FetchVersion =>
    async () => ({
      changed: true,
      body: Buffer.from(JSON.stringify({ issuer })),
      etag: undefined,
    })

  test('asks once in ten minutes, a minute after a failure, and tells only what changed', async () => {
    let issuer = 'https://other.example'
    const world = keeping((...question) => found(issuer)(...question))
    world.kept.want([tokenIssuer('shop', 'idp')])
    await world.settled(1)
    expect(world.kept.seen('shop/idp')).toMatchObject({ facts: { exact: false } })
    world.wake()
    await world.settled(2)
    expect(world.changed).toEqual(['shop/idp'])
    issuer = 'https://idp.example'
    world.wake()
    await world.settled(3)
    expect(world.kept.seen('shop/idp')).toMatchObject({ facts: { exact: true } })
    expect(world.changed).toEqual(['shop/idp', 'shop/idp'])
    expect(world.waits).toEqual([600_000, 600_000, 600_000])
  })

  test('a failure is told, and tried again sooner', async () => {
    const world = keeping(() => Promise.reject(new Error('nobody there')))
    world.kept.want([tokenIssuer('shop', 'idp')])
    await world.settled(1)
    expect(world.kept.seen('shop/idp')).toEqual({ facts: undefined, problem: 'nobody there' })
    expect(world.waits).toEqual([60_000])
  })

  test('an issuer whose keys are written down, and a client, are not asked', async () => {
    let count = 0
    const world = keeping((...question) => {
      count++
      return found('https://idp.example')(...question)
    })
    world.kept.want([
      tokenIssuer('shop', 'inline', { jwks: { inline: '{"keys":[]}' } }),
      tokenIssuer('shop', 'client', { signs: 'Assertions' }),
    ])
    await new Promise((done) => setImmediate(done))
    expect(count).toBe(0)
    expect(world.kept.seen('shop/inline')).toBeUndefined()
  })

  test('an issuer that is gone is forgotten', async () => {
    const world = keeping(found('https://idp.example'))
    world.kept.want([tokenIssuer('shop', 'idp')])
    await world.settled(1)
    world.kept.want([])
    expect(world.kept.seen('shop/idp')).toBeUndefined()
  })
})
