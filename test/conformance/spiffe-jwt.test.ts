// JWT profile of the SPIFFE Workload API, clause by clause: A04, A11 to A14 of WA, J01 to J06 of the JWT-SVID standard.
import { generateKeyPairSync, sign } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SpiffeWorkloadAPIService as Api } from '../../contracts/gen/standard/spiffe/workload/workload.ts'
import { createJwtSigner, type JwtSigner } from '../sidecar/identity/authority.ts'
import { issued } from '../sidecar/identity/identities.ts'
import { openWorld, TRUST_DOMAIN, WORKLOAD, type World } from '../sidecar/identity/identity-world.ts'
import { type ApiClient, connect, type Endpoint, openEndpoint } from './spiffe-endpoint.ts'

const SECOND = `spiffe://${TRUST_DOMAIN}/ns/shop/second`
let world: World
let endpoint: Endpoint
let client: ApiClient
let signer: JwtSigner

beforeAll(async () => {
  world = await openWorld()
  Object.assign(world.script, { workloadIds: [WORKLOAD, SECOND] })
  signer = world.signer
  endpoint = await openEndpoint(world)
  await issued(world, 'workload', 1)
  client = connect(endpoint.path)
})
afterAll(async () => {
  client[Symbol.dispose]()
  await endpoint[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const fetch = (audience: readonly string[], spiffeId = '') =>
  client.unary(Api.fetchJwtsvid, { audience: [...audience], spiffeId })
const validate = (svid: string, audience = 'api') => client.unary(Api.validateJwtsvid, { svid, audience })
const now = () => Math.floor(world.time.now() / 1000)
const claims = (change: object = {}) => ({
  sub: WORKLOAD,
  aud: ['api'],
  exp: now() + 60,
  iat: now(),
  ...change,
})

describe('FetchJWTSVID', () => {
  test.each<readonly [what: string, audience: readonly string[]]>([
    ['no audience', []],
    ['an empty audience', ['']],
    ['an empty one among others', ['a', '']],
    ['nine audiences', Array.from({ length: 9 }, (_, index) => `a${index}`)],
    ['an audience of 513 characters', ['a'.repeat(513)]],
  ])('A04 %s is INVALID_ARGUMENT', async (_what, audience) => {
    await expect(fetch(audience)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })
  test('A11 without an ID all entitled identities come', async () => {
    const { svids } = await fetch(['api'])
    expect(svids.map(({ spiffeId }) => spiffeId)).toEqual([WORKLOAD, SECOND])
  })
  test('A11 with an ID only that one', async () => {
    const { svids } = await fetch(['api'], SECOND)
    expect(svids.map(({ spiffeId }) => spiffeId)).toEqual([SECOND])
  })
  test.each([
    ['of somebody else', `spiffe://${TRUST_DOMAIN}/ns/shop/third`, status.PERMISSION_DENIED],
    ['of the control identity', `spiffe://${TRUST_DOMAIN}/portcullis/pod/b1d0-uid`, status.PERMISSION_DENIED],
    ['of another trust domain', 'spiffe://other.example/ns/shop/sa/web', status.PERMISSION_DENIED],
    ['in capitals', WORKLOAD.toUpperCase(), status.INVALID_ARGUMENT],
    ['with a trailing slash', `${WORKLOAD}/`, status.INVALID_ARGUMENT],
  ])('A11 an ID %s is refused and not even asked for', async (_what, id, code) => {
    const before = world.issuer.asked.length
    await expect(fetch(['api'], id)).rejects.toMatchObject({ code })
    expect(world.issuer.asked).toHaveLength(before)
  })
  test('A12 J03 the audiences that were asked for are in the token, which a common JOSE library accepts', async () => {
    const { svids } = await fetch(['api', 'other'], WORKLOAD)
    const { bundles } = await client.stream(Api.fetchJwtBundles, {}).next()
    const set = createLocalJWKSet(JSON.parse(String(bundles[`spiffe://${TRUST_DOMAIN}`])))
    const options = { audience: 'other', subject: WORKLOAD, currentDate: new Date(world.time.now()) }
    const { payload } = await jwtVerify(svids[0]?.svid ?? '', set, options)
    expect(payload.aud).toEqual(['api', 'other'])
  })
})

test('A13 J05 a JWT bundle is a JWK Set by the SPIFFE ID of the trust domain, of public keys with kid and without use', async () => {
  const { bundles } = await client.stream(Api.fetchJwtBundles, {}).next()
  expect(Object.keys(bundles)).toEqual([`spiffe://${TRUST_DOMAIN}`])
  const { keys } = JSON.parse(String(bundles[`spiffe://${TRUST_DOMAIN}`]))
  expect(keys).toEqual([expect.objectContaining({ kid: 'jwt-1', kty: 'EC', crv: 'P-256' })])
  expect(Object.keys(keys[0])).not.toContain('use')
  expect(Object.keys(keys[0])).not.toContain('d')
})

describe('ValidateJWTSVID', () => {
  test('A14 a genuine token gives its ID and its claims', async () => {
    const answer = await validate(signer.sign(claims({ extra: { deep: [1, 'x', null, true] } })))
    expect(answer.spiffeId).toBe(WORKLOAD)
    expect(answer.claims).toMatchObject({
      sub: WORKLOAD,
      aud: ['api'],
      extra: { deep: [1, 'x', null, true] },
    })
  })
  test('A14 what this endpoint gave out is genuine here', async () => {
    const { svids } = await fetch(['api'])
    await expect(validate(svids[0]?.svid ?? '')).resolves.toMatchObject({ spiffeId: WORKLOAD })
  })
  test.each([
    ['', 'x.y.z'],
    ['api', ''],
    ['', ''],
  ])('A04 audience %j with token %j is INVALID_ARGUMENT', async (audience, svid) => {
    await expect(client.unary(Api.validateJwtsvid, { audience, svid })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'audience and svid are required',
    })
  })

  const header = (change: object) => ({ alg: 'ES256', kid: 'jwt-1', typ: 'JWT', ...change })
  const stranger = createJwtSigner('jwt-1')
  test.each<readonly [clause: string, what: string, token: () => string, why: RegExp]>([
    ['J01', 'JSON serialization', () => JSON.stringify({ payload: 'x' }), /compact/],
    ['J01', 'five parts', () => `${signer.sign(claims())}.a.b`, /compact/],
    ['J01', 'no signature', () => signer.sign(claims()).replace(/[^.]*$/, ''), /compact/],
    ['J01', 'alg none', () => signer.sign(claims(), header({ alg: 'none' })), /algorithm/],
    ['J01', 'alg HS256', () => signer.sign(claims(), header({ alg: 'HS256' })), /algorithm/],
    ['J01', 'alg EdDSA', () => signer.sign(claims(), header({ alg: 'EdDSA' })), /algorithm/],
    ['J01', 'no alg', () => signer.sign(claims(), { kid: 'jwt-1' }), /algorithm/],
    ['J01', 'another alg than the key has', () => signer.sign(claims(), header({ alg: 'ES384' })), /its key/],
    ['J01', 'jku', () => signer.sign(claims(), header({ jku: 'https://x' })), /besides/],
    ['J01', 'jwk', () => signer.sign(claims(), header({ jwk: signer.jwk })), /besides/],
    ['J01', 'crit', () => signer.sign(claims(), header({ crit: ['b64'] })), /besides/],
    ['J01', 'typ at+jwt', () => signer.sign(claims(), header({ typ: 'at+jwt' })), /typ/],
    ['J01', 'typ wit+jwt', () => signer.sign(claims(), header({ typ: 'wit+jwt' })), /typ/],
    ['J01', 'typ jwt', () => signer.sign(claims(), header({ typ: 'jwt' })), /typ/],
    ['J02', 'no kid', () => signer.sign(claims(), { alg: 'ES256' }), /kid/],
    ['J02', 'a kid that is not in the bundle', () => signer.sign(claims(), header({ kid: 'x' })), /its key/],
    ['J03', 'no sub', () => signer.sign(claims({ sub: undefined })), /subject/],
    ['J03', 'a sub that is no SPIFFE ID', () => signer.sign(claims({ sub: 'web' })), /subject/],
    ['J03', 'a sub without path', () => signer.sign(claims({ sub: `spiffe://${TRUST_DOMAIN}` })), /subject/],
    ['J03', 'no aud', () => signer.sign(claims({ aud: undefined })), /audience/],
    ['J03', 'an empty aud', () => signer.sign(claims({ aud: [] })), /audience/],
    ['J03', 'an aud that is not text', () => signer.sign(claims({ aud: [7, 'api'] })), /audience/],
    ['J03', 'another aud', () => signer.sign(claims({ aud: ['api2'] })), /another audience/],
    ['J03', 'no exp', () => signer.sign(claims({ exp: undefined })), /exp/],
    ['J03', 'an exp that is text', () => signer.sign(claims({ exp: '9999999999' })), /exp/],
    ['J03', 'an exp that is now', () => signer.sign(claims({ exp: now() })), /expired/],
    ['J03', 'an nbf two minutes ahead', () => signer.sign(claims({ nbf: now() + 120 })), /not valid yet/],
    ['J03', 'an nbf that is text', () => signer.sign(claims({ nbf: '1' })), /nbf/],
    [
      'A14',
      'another trust domain',
      () => signer.sign(claims({ sub: 'spiffe://other.example/ns/shop/sa/web' })),
      /trust domain is not known/,
    ],
    ['A14', 'the signature of a stranger', () => stranger.sign(claims()), /signature/],
    [
      'A14',
      'a signature over other claims',
      () => signer.sign(claims()).replace(/\.[^.]+\./, `.${part(claims({ sub: SECOND }))}.`),
      /signature/,
    ],
    ['A14', 'a signature in DER', () => derSigned(claims()), /signature/],
    ['A14', 'a claim twice', () => raw('{"sub":"a","sub":"b"}'), /strict JSON/],
    ['A14', 'padding', () => `${signer.sign(claims())}=`, /base64url/],
    ['A14', 'nine kilobytes', () => signer.sign(claims({ fill: 'x'.repeat(9_000) })), /larger/],
  ])('%s a token with %s is INVALID_ARGUMENT', async (_clause, _what, token, why) => {
    const refused = await validate(token()).then(
      () => undefined,
      (cause: unknown) => cause,
    )
    expect(refused).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringMatching(why) })
  })
  test.each<readonly [what: string, token: () => string]>([
    ['typ JOSE', () => signer.sign(claims(), header({ typ: 'JOSE' }))],
    ['no typ', () => signer.sign(claims(), { alg: 'ES256', kid: 'jwt-1' })],
    ['aud as text', () => signer.sign(claims({ aud: 'api' }))],
    ['several audiences', () => signer.sign(claims({ aud: ['x', 'api'] }))],
    ['an nbf half a minute ahead', () => signer.sign(claims({ nbf: now() + 30 }))],
    ['a second to live', () => signer.sign(claims({ exp: now() + 1 }))],
  ])('a token with %s is fine', async (_what, token) => {
    await expect(validate(token())).resolves.toMatchObject({ spiffeId: WORKLOAD })
  })
})

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function raw(claimsText: string): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signed = [part({ alg: 'ES256', kid: 'jwt-1' }), Buffer.from(claimsText).toString('base64url')].join(
    '.',
  )
  const value = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${value.toString('base64url')}`
}

function derSigned(value: object): string {
  const signed = `${part({ alg: 'ES256', kid: 'jwt-1' })}.${part(value)}`
  return `${signed}.${sign('sha256', Buffer.from(signed), signer.privateKey).toString('base64url')}`
}
