// SPIFFE Workload API and Workload Endpoint, clause by clause. Ids: E01 to E10 endpoint, A01 to A15 streams and fields, X01 to X09
// X509-SVID, J01 to J06 JWT-SVID, as listed in the standards WE, WA, X and J of the SPIFFE project.
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { connect as connectSocket } from 'node:net'
import { Client, credentials, Metadata, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  SpiffeWorkloadAPIService as Api,
  type X509SVIDResponse,
} from '../../contracts/gen/standard/spiffe/workload/workload.ts'
import { verifyX509Svid } from '../../contracts/spiffe.ts'
import { MOST_STREAMS } from '../../sidecar/identity/workload-api.ts'
import { until } from '../fixtures/process.ts'
import { bundleOf, createAuthority, createJwtSigner } from '../sidecar/identity/authority.ts'
import { issued } from '../sidecar/identity/identities.ts'
import { openWorld, POD, TRUST_DOMAIN, WORKLOAD, type World } from '../sidecar/identity/identity-world.ts'
import {
  type ApiClient,
  connect,
  type Endpoint,
  type Greeting,
  METHODS,
  openEndpoint,
} from './spiffe-endpoint.ts'

const HOUR_MS = 3_600_000
const IDS = ['b', 'a', 'c'].map((name) => `spiffe://${TRUST_DOMAIN}/ns/shop/${name}`)

interface Ground extends AsyncDisposable {
  readonly world: World
  readonly endpoint: Endpoint
  readonly client: ApiClient
}

async function open(change: (world: World) => unknown = () => undefined, ready = true): Promise<Ground> {
  const world = await openWorld()
  change(world)
  const endpoint = await openEndpoint(world)
  if (ready) await issued(world, 'workload', 1)
  const client = connect(endpoint.path)
  return {
    world,
    endpoint,
    client,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
      await endpoint[Symbol.asyncDispose]()
      await world[Symbol.asyncDispose]()
    },
  }
}

/** A DER element that is followed by others: its bytes, and the rest. */
function elements(bytes: Buffer): readonly Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    expect(bytes[at]).toBe(0x30)
    expect(bytes[at + 1]).toBe(0x82)
    const end = at + 4 + bytes.readUInt16BE(at + 2)
    found.push(bytes.subarray(at, end))
    at = end
  }
  return found
}

describe('endpoint', () => {
  let ground: Ground
  beforeAll(async () => {
    ground = await open()
  })
  afterAll(() => ground[Symbol.asyncDispose]())

  const greetings: readonly (readonly [what: string, greeting: Greeting])[] = [
    ['no header', []],
    ['True', [['workload.spiffe.io', 'True']]],
    ['1', [['workload.spiffe.io', '1']]],
    ['an empty one', [['workload.spiffe.io', '']]],
    [
      'true twice',
      [
        ['workload.spiffe.io', 'true'],
        ['workload.spiffe.io', 'true'],
      ],
    ],
    ['another name', [['workload-spiffe-io', 'true']]],
  ]
  test.each(
    METHODS.flatMap(([name, ask]) =>
      greetings.map(([what, greeting]) => [name, what, ask, greeting] as const),
    ),
  )('E04 %s with %s is INVALID_ARGUMENT', async (_name, _what, ask, greeting) => {
    await expect(ask(ground.client, greeting)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })
  test('E04 the header of one call does not count for the next on the same connection', async () => {
    await ground.client.stream(Api.fetchX509Bundles, {}).next()
    await expect(ground.client.stream(Api.fetchX509Bundles, {}, []).next()).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })
  test('E01 E03 it speaks plain HTTP/2 on a Unix socket and asks nothing of the caller', async () => {
    await expect(ground.client.stream(Api.fetchX509Svid, {}).next()).resolves.toBeDefined()
  })
  test.each([
    '/SpiffeWorkloadAPI/FetchWITSVID',
    '/SpiffeWorkloadAPI/FetchWITBundles',
    '/SpiffeWorkloadAPI/Nothing',
    '/portcullis.identity.v1.Issuer/IssueControl',
    '/portcullis.authorizer.v1.Authorizer/Check',
    '/portcullis.feed.v1.Feed/Subscribe',
  ])('E05 E07 E10 %s is UNIMPLEMENTED on this socket', async (path) => {
    const client = new Client(`unix:${ground.endpoint.path}`, credentials.createInsecure())
    const same = (bytes: Buffer) => bytes
    const metadata = new Metadata()
    metadata.set('workload.spiffe.io', 'true')
    const asked = new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), metadata, (error, answer) =>
        error ? reject(error) : resolve(answer),
      )
    }).finally(() => client.close())
    await expect(asked).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  })
  test('E10 the standard gives the paths, without a package', () => {
    expect(Object.values(Api).map(({ path }) => path)).toEqual([
      '/SpiffeWorkloadAPI/FetchX509SVID',
      '/SpiffeWorkloadAPI/FetchX509Bundles',
      '/SpiffeWorkloadAPI/FetchJWTSVID',
      '/SpiffeWorkloadAPI/FetchJWTBundles',
      '/SpiffeWorkloadAPI/ValidateJWTSVID',
    ])
  })
  test('a message beyond 64 KiB is refused, not read', async () => {
    const request = { audience: 'a', svid: 'x'.repeat(70_000) }
    await expect(ground.client.unary(Api.validateJwtsvid, request)).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    })
  })
})

describe('before and without an identity', () => {
  const unavailable = (world: World) => {
    world.script.refuse = { control: { code: status.UNAVAILABLE, details: 'starting' } }
  }
  test.each(METHODS)('E05 %s is UNAVAILABLE while there is nothing yet', async (_name, ask) => {
    await using ground = await open(unavailable, false)
    await expect(ask(ground.client, [['workload.spiffe.io', 'true']])).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    })
  })
  test('E05 A10 a workload that is entitled to nothing is PERMISSION_DENIED', async () => {
    const refuse = { workload: { code: status.PERMISSION_DENIED, details: 'no' } }
    await using ground = await open((world) => Object.assign(world.script, { refuse }), false)
    const { client, endpoint } = ground
    await until('refusal', () => (endpoint.parts.workload.state().kind === 'refused' ? true : undefined))
    const denied = { code: status.PERMISSION_DENIED }
    await expect(client.stream(Api.fetchX509Svid, {}).next()).rejects.toMatchObject(denied)
    await expect(client.unary(Api.fetchJwtsvid, { audience: ['a'], spiffeId: '' })).rejects.toMatchObject(
      denied,
    )
    // Whom to trust is no secret and no entitlement.
    await expect(client.stream(Api.fetchX509Bundles, {}).next()).resolves.toBeDefined()
  })
  test('A10 the loss of the entitlement ends an open stream with PERMISSION_DENIED', async () => {
    await using ground = await open()
    const stream = ground.client.stream(Api.fetchX509Svid, {})
    await stream.next()
    ground.world.script.refuse = { workload: { code: status.PERMISSION_DENIED, details: 'gone' } }
    await ground.world.time.advance(HOUR_MS / 2 + 1_000)
    await expect(stream.next()).rejects.toMatchObject({ code: status.PERMISSION_DENIED })
  })
  test('A15 an SVID that lapsed ends the stream with UNAVAILABLE instead of standing for ever', async () => {
    await using ground = await open()
    const stream = ground.client.stream(Api.fetchX509Svid, {})
    await stream.next()
    await ground.world.issuer.down()
    await ground.world.time.advance(HOUR_MS + 2_000)
    await expect(stream.next()).rejects.toMatchObject({ code: status.UNAVAILABLE })
  })
})

describe('X.509 profile', () => {
  let ground: Ground
  let answer: X509SVIDResponse
  beforeAll(async () => {
    ground = await open(({ script }) =>
      Object.assign(script, { workloadIds: IDS, hints: ['internal', '', ''] }),
    )
    answer = await ground.client.stream(Api.fetchX509Svid, {}).next()
  })
  afterAll(() => ground[Symbol.asyncDispose]())

  test('A02 the first response comes at once', async () => {
    const at = performance.now()
    await ground.client.stream(Api.fetchX509Svid, {}).next()
    // The clock of the world stands still, so nothing but the answer itself can have taken this time; this machine is shared.
    expect(performance.now() - at).toBeLessThan(20_000)
  })
  test('A05 every member but the hint is there', () => {
    expect(answer.svids.length).toBe(3)
    for (const svid of answer.svids) {
      const { spiffeId, x509Svid, x509SvidKey, bundle } = svid
      expect(
        [spiffeId.length, x509Svid.length, x509SvidKey.length, bundle.length].every((one) => one > 0),
      ).toBe(true)
    }
  })
  test('A06 the chain is DER with the leaf first, the key unencrypted PKCS#8, the bundle DER', () => {
    for (const { x509Svid, x509SvidKey, bundle } of answer.svids) {
      const leaf = new X509Certificate(elements(x509Svid)[0] ?? '')
      const key = createPrivateKey({ key: x509SvidKey, format: 'der', type: 'pkcs8' })
      expect(leaf.publicKey.equals(createPublicKey(key))).toBe(true)
      expect(elements(bundle)).toEqual([ground.world.authority.root])
    }
  })
  test('A07 hints are unique or empty', () => {
    expect(answer.svids.map(({ hint }) => hint)).toEqual(['internal', '', ''])
  })
  test('A08 the order is the operator’s and stays', async () => {
    expect(answer.svids.map(({ spiffeId }) => spiffeId)).toEqual(IDS)
    const again: X509SVIDResponse = await ground.client.stream(Api.fetchX509Svid, {}).next()
    expect(again.svids.map(({ spiffeId }) => spiffeId)).toEqual(IDS)
  })
  test('X01 to X06, X08 every leaf verifies under the bundle that came with it, as a workload', () => {
    for (const { spiffeId, x509Svid, bundle } of answer.svids) {
      const trust = { trustDomain: TRUST_DOMAIN, roots: elements(bundle) }
      expect(verifyX509Svid(elements(x509Svid), trust, ground.world.time.now())).toMatchObject({
        ok: true,
        id: { uri: spiffeId },
      })
    }
  })
  test('A09 bundles are keyed by the SPIFFE ID of the trust domain', async () => {
    const bundles = await ground.client.stream(Api.fetchX509Bundles, {}).next()
    expect(Object.keys(bundles.bundles)).toEqual([`spiffe://${TRUST_DOMAIN}`])
    expect(elements(bundles.bundles[`spiffe://${TRUST_DOMAIN}`] ?? Buffer.alloc(0))).toEqual([
      ground.world.authority.root,
    ])
    expect(answer.federatedBundles).toEqual({})
  })
  test('the control identity, its key and the pod’s token are in no answer of this socket', async () => {
    const { client, endpoint, world } = ground
    const control = endpoint.parts.control.current()
    const secrets = [
      control?.privateKey.export({ type: 'pkcs8', format: 'der' }),
      control?.chain[0],
      Buffer.from(`portcullis/pod/${POD.uid}`),
      Buffer.from(world.issuer.asked[0]?.token ?? '?'),
    ]
    const bundles = await client.stream(Api.fetchX509Bundles, {}).next()
    const answers = Buffer.concat([
      Api.fetchX509Svid.responseSerialize(answer),
      Api.fetchX509Bundles.responseSerialize(bundles),
    ])
    for (const secret of secrets) {
      expect(secret?.length).toBeGreaterThan(10)
      expect(answers.includes(Buffer.from(secret ?? ''))).toBe(false)
    }
  })
})

describe('changes', () => {
  test('A01 A03 a renewal is pushed to every stream as the full state, with a new key', async () => {
    await using ground = await open()
    const { client, world } = ground
    const streams = [client.stream(Api.fetchX509Svid, {}), client.stream(Api.fetchX509Svid, {})]
    const first = await Promise.all(streams.map((one) => one.next()))
    await world.time.advance(HOUR_MS / 2 + 1_000)
    const second = await Promise.all(streams.map((one) => one.next()))
    for (const [index, answer] of second.entries()) {
      expect(answer.svids.map(({ spiffeId }) => spiffeId)).toEqual([WORKLOAD])
      expect(answer.svids[0]?.x509SvidKey).not.toEqual(first[index]?.svids[0]?.x509SvidKey)
      expect(answer.svids[0]?.bundle.length).toBeGreaterThan(0)
    }
  })
  test('A03 a root that is added is pushed, and one that was revoked is gone at once, without splay', async () => {
    await using ground = await open()
    const { client, endpoint, world } = ground
    const x509 = client.stream(Api.fetchX509Bundles, {})
    const jwt = client.stream(Api.fetchJwtBundles, {})
    await Promise.all([x509.next(), jwt.next()])
    const next = await createAuthority(TRUST_DOMAIN)
    const parts = { trustDomain: TRUST_DOMAIN, signers: [world.signer] }
    endpoint.parts.trust.offer(bundleOf({ ...parts, sequence: 2, authorities: [world.authority, next] }))
    const both = await x509.next()
    expect(elements(both.bundles[`spiffe://${TRUST_DOMAIN}`] ?? Buffer.alloc(0))).toHaveLength(2)
    // The clock of the world stands still: there is no splay to wait for.
    endpoint.parts.trust.offer(bundleOf({ ...parts, sequence: 3, authorities: [next] }))
    const one = await x509.next()
    expect(elements(one.bundles[`spiffe://${TRUST_DOMAIN}`] ?? Buffer.alloc(0))).toEqual([next.root])
    expect(jwt.waiting(), 'JWT keys have not changed').toBe(0)
    const keys = [createJwtSigner('jwt-2')]
    endpoint.parts.trust.offer(bundleOf({ ...parts, sequence: 4, authorities: [next], signers: keys }))
    const bundles = await jwt.next()
    expect(JSON.parse(String(bundles.bundles[`spiffe://${TRUST_DOMAIN}`])).keys).toHaveLength(1)
  })
  test('E05 streams beyond the cap are UNAVAILABLE, and there is room again when some have ended', async () => {
    await using ground = await open()
    const clients = Array.from({ length: 8 }, () => connect(ground.endpoint.path))
    const streams = Array.from({ length: MOST_STREAMS }, (_, index) =>
      clients[index % 8]?.stream(Api.fetchX509Bundles, {}),
    )
    await Promise.all(streams.map((one) => one?.next()))
    await expect(ground.client.stream(Api.fetchX509Bundles, {}).next()).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    })
    for (const one of streams) one?.cancel()
    await until('room', async () => {
      const stream = ground.client.stream(Api.fetchX509Bundles, {})
      return stream.next().then(
        () => true,
        () => undefined,
      )
    })
    for (const client of clients) client[Symbol.dispose]()
  })
  test('a drain ends streams with UNAVAILABLE, and the socket is gone afterwards', async () => {
    await using ground = await open()
    const stream = ground.client.stream(Api.fetchX509Svid, {})
    await stream.next()
    ground.endpoint.drain()
    await expect(stream.next()).rejects.toMatchObject({ code: status.UNAVAILABLE })
    await ground.endpoint.server[Symbol.asyncDispose]()
    const refused = new Promise((resolve) => connectSocket(ground.endpoint.path).once('error', resolve))
    expect(await refused).toMatchObject({ code: expect.stringMatching(/ECONNREFUSED|ENOENT/) })
  })
})
