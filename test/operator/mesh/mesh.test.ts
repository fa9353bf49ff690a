import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { type Client, status } from '@grpc/grpc-js'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { callUnary } from '../../../operator/mesh/channel.ts'
import { type MeshIdentity, tlsOptions } from '../../../operator/mesh/identity.ts'
import { createLive } from '../../../operator/mesh/live.ts'
import { type Domain, never, openDomain, TD } from '../identity/domain.ts'
import { type Bench, channelTo, LIVE, metadata, openBench, WHO } from './echo.ts'

let domain: Domain
let stranger: Domain
let server: MeshIdentity
let bench: Bench
beforeAll(async () => {
  domain = await openDomain()
  stranger = await openDomain()
  server = domain.svid('/portcullis/operator/issuer/1')
})
beforeEach(async () => {
  bench = await openBench({ identity: server, trust: domain.trust() })
})
afterEach(() => bench[Symbol.asyncDispose]())

const who = (client: Client) =>
  callUnary(client, WHO, 'who', { deadlineMs: Date.now() + 3_000, signal: never })

/** One raw TLS connection; what became of it. */
async function tried(options: ConnectionOptions): Promise<'open' | 'closed'> {
  const socket = connect({ host: '127.0.0.1', port: bench.server.port, ALPNProtocols: ['h2'], ...options })
  socket.on('error', () => undefined)
  const outcome = await new Promise<'open' | 'closed'>((resolve) => {
    socket.once('close', () => resolve('closed'))
    socket.once('data', () => resolve('open'))
  })
  socket.destroy()
  return outcome
}
const secure = (identity: MeshIdentity | undefined): ConnectionOptions => ({
  ...tlsOptions(identity, domain.trust()),
  checkServerIdentity: () => undefined,
})

describe('a server that demands client certificates', () => {
  test('tells handlers who the caller is', async () => {
    using channel = channelTo(bench, domain.svid('/portcullis/pod/7'))
    expect(await who(channel.client())).toEqual({ ok: true, value: '/portcullis/pod/7' })
  })

  test.each<readonly [string, () => ConnectionOptions, RegExp]>([
    ['without a certificate', () => secure(undefined), /no client certificate/],
    [
      'with one of another authority',
      () => secure(stranger.svid('/portcullis/pod/7')),
      /not issued by a root/,
    ],
    ['with the certificate of an authority itself', () => secure(asLeaf()), /exactly one URI|path|CA/],
    ['without HTTP/2', () => ({ ...secure(domain.svid('/x')), ALPNProtocols: [] }), /no HTTP\/2/],
    [
      'with TLS 1.2',
      () => ({ ...secure(domain.svid('/x')), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }),
      /handshake/,
    ],
  ])('closes a connection %s', async (_name, options, why) => {
    expect(await tried(options())).toBe('closed')
    await expect.poll(() => bench.refused.at(-1)).toMatch(why)
    expect(bench.server.connections()).toBe(0)
  })

  test('closes a connection with an expired certificate', async () => {
    await bench[Symbol.asyncDispose]()
    const now = () => Date.now() + 2 * 3_600_000
    bench = await openBench({ identity: server, trust: domain.trust() }, { now })
    const old = domain.svid('/portcullis/pod/7')
    expect(await tried(secure(old))).toBe('closed')
    await expect.poll(() => bench.refused.at(-1)).toMatch(/expired/)
  })

  test('never believes what a caller writes into the metadata', async () => {
    using mine = channelTo(bench, domain.svid('/portcullis/pod/a'))
    using other = channelTo(bench, domain.svid('/portcullis/pod/b'))
    await who(mine.client())
    await who(other.client())
    const claims = Array.from({ length: 6 }, (_, id) => metadata({ 'portcullis-connection': `${id}` }))
    for (const claim of claims) {
      const { promise, resolve } = Promise.withResolvers<unknown>()
      other
        .client()
        .makeUnaryRequest(
          WHO.path,
          WHO.requestSerialize,
          WHO.responseDeserialize,
          'who',
          claim,
          (error, value) => resolve(error ?? value),
        )
      expect(await promise).toBe('/portcullis/pod/b')
    }
  })

  test('refuses messages beyond the limit', async () => {
    using channel = channelTo(bench, domain.svid('/x'), { requestBytes: 100_000 })
    const long = callUnary(channel.client(), WHO, 'x'.repeat(2_000), {
      deadlineMs: Date.now() + 3_000,
      signal: never,
    })
    expect(await long).toMatchObject({ ok: false, code: status.RESOURCE_EXHAUSTED })
  })

  test('drops connections that say nothing, and plain text', async () => {
    const socket = connectTcp(bench.server.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\n\r\n')
    socket.on('error', () => undefined)
    await once(socket, 'close')
    expect(bench.refused).toContain('handshake')
  })
})

describe('a server to which anybody may come', () => {
  test('knows callers with a certificate, does not know those without, and closes on those with a bad one', async () => {
    await bench[Symbol.asyncDispose]()
    bench = await openBench({ identity: server, trust: domain.trust() }, { clientCertificate: 'optional' })
    using known = channelTo(bench, domain.svid('/portcullis/pod/7'))
    using unknown = channelTo(bench, undefined)
    expect(await who(known.client())).toEqual({ ok: true, value: '/portcullis/pod/7' })
    expect(await who(unknown.client())).toEqual({ ok: true, value: 'nobody' })
    expect(await tried(secure(stranger.svid('/portcullis/pod/7')))).toBe('closed')
  })
})

describe('trust that changes', () => {
  test('closes open connections of an authority that has left the bundle, and lets no session be resumed', async () => {
    await bench[Symbol.asyncDispose]()
    // At once, not at the next search for expired certificates: that one never comes here.
    bench = await openBench({ identity: server, trust: domain.trust() }, { sleep: seldom })
    const sessions: Buffer[] = []
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: bench.server.port,
      ALPNProtocols: ['h2'],
      ...secure(domain.svid('/portcullis/pod/7')),
    })
    socket.on('session', (session) => sessions.push(session))
    socket.on('error', () => undefined)
    await once(socket, 'data')
    const closed = once(socket, 'close')
    bench.trust.set(stranger.trust())
    await closed
    expect(bench.refused.at(-1)).toMatch(/not issued by a root/)
    const again = {
      ...secure(domain.svid('/portcullis/pod/7')),
      ...(sessions[0] && { session: sessions[0] }),
    }
    expect(await tried(again)).toBe('closed')
  })

  test('closes a long stream once the certificate of its caller has expired', async () => {
    let now = Date.now()
    await bench[Symbol.asyncDispose]()
    bench = await openBench({ identity: server, trust: domain.trust() }, { now: () => now, sleep: quickly })
    using channel = channelTo(bench, domain.svid('/portcullis/pod/7', 60_000))
    const stream = streamOn(channel.client())
    expect(await stream.said('one')).toBe('one /portcullis/pod/7')
    now += 61_000
    expect(await stream.ended).toBe(status.UNAVAILABLE)
    expect(bench.refused).toContain('certificate 0 has expired')
  })
})

describe('identity that changes', () => {
  test('goes on under open connections: none is dropped, new ones see the new certificate', async () => {
    using channel = channelTo(bench, domain.svid('/portcullis/pod/7'))
    const stream = streamOn(channel.client())
    await stream.said('before')
    bench.identity.set(domain.svid('/portcullis/operator/issuer/2'))
    expect(await stream.said('after')).toBe('after /portcullis/pod/7')
    const seen: string[] = []
    using fresh = channelTo(bench, domain.svid('/portcullis/pod/8'), {
      expected: ({ path }) => seen.push(path) > 0,
    })
    expect(await who(fresh.client())).toMatchObject({ ok: true })
    expect(seen).toEqual(['/portcullis/operator/issuer/2'])
    expect(await stream.said('still')).toBe('still /portcullis/pod/7')
  })

  test('of the client is taken up by new calls, while the old stream runs to its end', async () => {
    const identity = createLive<MeshIdentity | undefined>(domain.svid('/portcullis/pod/7'))
    using channel = channelTo(bench, undefined, { identity })
    const stream = streamOn(channel.client())
    await stream.said('one')
    identity.set(domain.svid('/portcullis/pod/8'))
    expect(await who(channel.client())).toEqual({ ok: true, value: '/portcullis/pod/8' })
    expect(await stream.said('two')).toBe('two /portcullis/pod/7')
  })
})

describe('a client', () => {
  test.each<readonly [string, () => MeshIdentity, () => Domain]>([
    ['a workload that poses as the issuer', () => domain.svid('/ns/a/sa/b'), () => domain],
    ['a server of another authority', () => stranger.svid('/portcullis/operator/issuer/1'), () => domain],
  ])('does not speak to %s', async (_name, identity, believed) => {
    bench.identity.set(identity())
    using channel = channelTo(bench, domain.svid('/portcullis/pod/7'), {
      trust: createLive(believed().trust()),
    })
    const answer = await who(channel.client())
    expect(answer).toMatchObject({ ok: false, code: status.UNAVAILABLE })
    expect(answer).not.toMatchObject({ value: expect.anything() })
  })

  test('knows the server by its SPIFFE ID, whatever name it is reached by', async () => {
    using channel = channelTo(bench, domain.svid('/x'), {
      target: `localhost:${bench.server.port}`,
      expected: ({ trustDomain, path }) => trustDomain === TD && path === '/portcullis/operator/issuer/1',
    })
    expect(await who(channel.client())).toMatchObject({ ok: true })
  })
})

// A root with its own key: what an attacker who found a CA certificate lying about would show.
function asLeaf(): MeshIdentity {
  const { keys } = domain.reading()
  const [record] = keys.X509CA.ring.keys
  const material = keys.X509CA.material.get(record?.id ?? '')
  if (!material?.privateKey) throw new Error('no root')
  return { ...server, chain: [material.published], privateKey: material.privateKey }
}

// The search for expired certificates, without the wait; a handshake has its time.
function quickly(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    setTimeout(resolve, ms === 5_000 ? 20 : ms).unref()
  })
}

function seldom(_ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

function streamOn(client: Client) {
  const { path, requestSerialize, responseDeserialize } = LIVE
  const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
  const ended = new Promise<number>((resolve) => {
    call.on('error', (error: Error & { code?: number }) => resolve(error.code ?? -1))
    call.on('end', () => resolve(0))
  })
  return {
    ended,
    said: async (text: string): Promise<string> => {
      call.write(text)
      const [answer] = await once(call, 'data')
      return String(answer)
    },
  }
}
