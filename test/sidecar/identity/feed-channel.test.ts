// The way to the feed: as the pod's control identity, to nobody but the operator, and through every rotation on a new connection.
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import {
  FeedService,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createFeedChannel, type FeedStream } from '../../../sidecar/identity/feed-channel.ts'
import { until } from '../../fixtures/process.ts'
import { bundleOf, createAuthority, type KeyAndChain, serverCredential } from './authority.ts'
import { identitiesIn, issued } from './identities.ts'
import { openWorld, POD, TRUST_DOMAIN, type World } from './identity-world.ts'
import { openTlsServer, type TlsServer } from './tls-server.ts'

const HOUR_MS = 3_600_000
const CONTROL = `spiffe://${TRUST_DOMAIN}/portcullis/pod/${POD.uid}`
const OPERATOR = `spiffe://${TRUST_DOMAIN}/portcullis/operator/control/c-1`

type Call = ServerDuplexStream<SubscribeRequest, SubscribeResponse>

interface FeedServer extends TlsServer {
  /** Who subscribed, in order. */
  readonly peers: readonly (string | undefined)[]
}

/** A feed that beats once on each stream and ends it when the other side does. */
async function openFeed(credential: KeyAndChain): Promise<FeedServer> {
  const peers: (string | undefined)[] = []
  const server = await openTlsServer(credential, (grpc, peerOf) => {
    grpc.addService(FeedService, {
      subscribe(call: Call) {
        peers.push(peerOf(call.getPeer()))
        call.write({ nonce: '', response: { $case: 'heartbeat', heartbeat: { revocationHead: 0, atMs: 0 } } })
        call.on('data', () => undefined)
        call.on('error', () => undefined)
        call.on('end', () => call.end())
      },
    })
  })
  return { ...server, peers }
}

async function channelIn(world: World, feedPort: number) {
  const settings = { ...world.settings, feed: { host: '127.0.0.1', port: feedPort } }
  const parts = identitiesIn(world)
  const channel = createFeedChannel(settings, { ...world.ports, ...parts })
  void channel.run(world.lifetime)
  return { ...parts, channel }
}

interface Followed {
  readonly beats: () => number
  readonly ended: () => string | undefined
}

function follow(stream: FeedStream): Followed {
  let beats = 0
  let ended: string | undefined
  stream.on('data', () => beats++)
  stream.on('end', () => {
    ended ??= 'end'
  })
  stream.on('error', (error: Error) => {
    ended ??= error.message
  })
  return { beats: () => beats, ended: () => ended }
}

test('a stream waits for the control identity and then shows it', async () => {
  await using world = await openWorld()
  await using feed = await openFeed(await serverCredential(world.authority, OPERATOR))
  const { channel } = await channelIn(world, feed.port)
  const followed = follow(await channel.open(world.lifetime))
  await until('a beat', () => followed.beats() || undefined)
  expect(feed.peers).toEqual([CONTROL])
})

test('open gives up when it is told to, without an identity', async () => {
  await using world = await openWorld()
  await world.issuer.down()
  const { channel } = await channelIn(world, 1)
  const stop = new AbortController()
  const opening = channel.open(stop.signal)
  stop.abort(new Error('enough'))
  await expect(opening).rejects.toThrow('enough')
})

test('after a rotation the old stream ends only when a connection with the new credential stands', async () => {
  await using world = await openWorld()
  await using feed = await openFeed(await serverCredential(world.authority, OPERATOR))
  const { channel } = await channelIn(world, feed.port)
  await issued(world, 'workload', 1)
  const old = follow(await channel.open(world.lifetime))
  await until('a beat', () => old.beats() || undefined)

  await feed.down()
  await until('the end', () => old.ended())
  await feed.up()
  const second = follow(await channel.open(world.lifetime))
  await until('a beat', () => second.beats() || undefined)

  await world.time.advance(HOUR_MS / 2 + 1_000)
  await issued(world, 'control', 2)
  await until('the end of the old one', () => second.ended())
  expect(second.ended(), 'ended by us, in order').toBe('end')
  expect(feed.connections(), 'the next one stands already').toBeGreaterThan(0)
  const next = follow(await channel.open(world.lifetime))
  await until('a beat', () => next.beats() || undefined)
  expect(feed.peers).toEqual([CONTROL, CONTROL, CONTROL])
})

test('while no new connection can be had the old stream goes on', async () => {
  await using world = await openWorld()
  const stranger = await createAuthority(TRUST_DOMAIN)
  await using feed = await openFeed(await serverCredential(world.authority, OPERATOR))
  const { channel } = await channelIn(world, feed.port)
  await issued(world, 'workload', 1)
  const stream = follow(await channel.open(world.lifetime))
  await until('a beat', () => stream.beats() || undefined)
  feed.show(await serverCredential(stranger, OPERATOR))
  await world.time.advance(HOUR_MS / 2 + 1_000)
  await issued(world, 'control', 2)
  await world.time.advance(10_000)
  await until('a failure', () => world.reports.find(({ event }) => event === 'feed_reconnect_failed'))
  expect(stream.ended()).toBeUndefined()
})

test('a server whose root was revoked is left, although the own credential is as it was', async () => {
  const next = await createAuthority(TRUST_DOMAIN)
  await using world = await openWorld({ serverAuthority: next })
  const { authority, signer, script } = world
  const parts = { trustDomain: TRUST_DOMAIN, signers: [signer] }
  const anchored = { ...world, settings: { ...world.settings, anchors: [authority.root, next.root] } }
  // Our own SVIDs are of the root that stays; the feed's certificate is of the one that goes.
  script.authority = next
  script.bundle = bundleOf({ ...parts, sequence: 1, authorities: [authority, next] })
  await using feed = await openFeed(await serverCredential(authority, OPERATOR))
  const { channel, trust, control } = await channelIn(anchored, feed.port)
  await issued(world, 'workload', 1)
  const stream = follow(await channel.open(world.lifetime))
  await until('a beat', () => stream.beats() || undefined)
  const own = control.current()
  feed.show(await serverCredential(next, OPERATOR))
  trust.offer(bundleOf({ ...parts, sequence: 2, authorities: [next] }))
  await until('the end', () => stream.ended())
  expect(control.current()).toBe(own)
  const again = follow(await channel.open(world.lifetime))
  await until('a beat', () => again.beats() || undefined)
})

test.each([
  ['the issuer', `spiffe://${TRUST_DOMAIN}/portcullis/operator/issuer/i-1`],
  ['a pod', `spiffe://${TRUST_DOMAIN}/portcullis/pod/p`],
  ['a workload', `spiffe://${TRUST_DOMAIN}/ns/portcullis-system/sa/portcullis-control`],
])('%s cannot stand for the feed', async (_what, id) => {
  await using world = await openWorld()
  await using feed = await openFeed(await serverCredential(world.authority, id))
  const { channel } = await channelIn(world, feed.port)
  const stream = follow(await channel.open(world.lifetime))
  await until('the end', () => stream.ended(), { withinMs: 10_000 })
  expect(stream.ended()).toMatch(/the server is spiffe/)
  expect(feed.peers).toEqual([])
})

test('an aborted signal cancels the stream', async () => {
  await using world = await openWorld()
  await using feed = await openFeed(await serverCredential(world.authority, OPERATOR))
  const { channel } = await channelIn(world, feed.port)
  const stop = new AbortController()
  const stream = follow(await channel.open(stop.signal))
  await until('a beat', () => stream.beats() || undefined)
  stop.abort()
  await until('the end', () => stream.ended())
  await until('no connection', () => (feed.connections() === 0 ? true : undefined))
})
