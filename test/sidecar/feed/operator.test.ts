// The stream to the operator: what is said when, what takes effect when, and what a broken or lying stream cannot do.
import { setImmediate } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { bundleDigest } from '../../../contracts/bundle-digest.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import { lapsed } from '../../../sidecar/trust/lease.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { INVOICES, issuerMessage, policyMessage, preparePolicy } from '../trust/beliefs.ts'
import { bundleSigner, fedSnapshot, SIGNER, withheldSnapshot } from '../trust/fed-world.ts'
import { entry, message } from '../trust/revocation-world.ts'
import type { Conversation, Response } from './operator-stub.ts'
import {
  blobs,
  type FeedWorld,
  heartbeat,
  offer,
  openFeedWorld,
  revoke,
  sendBlob,
  serveBlobs,
  trustBundle,
  WALL,
} from './operator-world.ts'

const EDITED = await readBundle(POLICY.edited)
const KEY = signingKey('RS256', 'k1')
const NEXT = signingKey('RS256', 'k2')
const DIGEST = bundleDigest(policyMessage(INVOICES).files)
const alice = entry('alice', { $case: 'sub', sub: 'alice' }, { expiresAtMs: WALL + 3_600_000 })
const edited = (generation: number) =>
  fedSnapshot(generation, [{ keys: [KEY] }], { policy: SIGNER.sign(policyMessage(EDITED)) })
const differing = blobs(EDITED).filter(
  ({ sha256 }) => !blobs(INVOICES).some((one) => one.sha256.equals(sha256)),
)

const kids = ({ fed }: FeedWorld) => [
  ...(fed.store.installed()?.issuers.get(ISSUER)?.keys.byKid.keys() ?? []),
]

describe('a stream', () => {
  test('begins with what is held: nothing at first, then what is in effect', async () => {
    await using world = await openFeedWorld()
    const first = await world.operator.accept()
    const { hello } = await first.hear('hello')
    expect(hello).toEqual({
      version: '1.2.3',
      held: { generation: 0, revocationHead: 0, trustSequence: 0, policyDigest: Buffer.alloc(0) },
    })
    first.end()
    const second = await world.ready([{ keys: [KEY] }])
    second.end()
    const pump = world.until(() => world.feed.stream.counts.streams === 3)
    const third = await world.operator.accept()
    await pump
    expect((await third.hear('hello')).hello.held).toEqual({
      generation: 5,
      revocationHead: 10,
      trustSequence: 1,
      policyDigest: DIGEST,
    })
  })

  test('everything is acknowledged once it is in effect, with what is then held', async () => {
    await using world = await openFeedWorld()
    const talk = await world.greeted()
    const bundle = talk.say({ $case: 'trustBundle', trustBundle: trustBundle(3) })
    expect((await talk.hear('ack')).ack).toMatchObject({ nonce: bundle, held: { trustSequence: 3 } })
    const list = revoke(talk, 0, 7, [alice])
    expect((await talk.hear('ack')).ack).toMatchObject({ nonce: list, held: { revocationHead: 7 } })
    const snapshot = offer(talk, fedSnapshot(5, [{ keys: [KEY], notAfterMs: WALL }]))
    await serveBlobs(talk, INVOICES.size)
    expect((await talk.hear('ack')).ack).toMatchObject({
      nonce: snapshot,
      held: { generation: 5, policyDigest: DIGEST },
    })
    expect(kids(world)).toEqual(['k1'])
    const freshness = talk.say({
      $case: 'keyFreshness',
      keyFreshness: { terms: [{ issuer: ISSUER, notAfterMs: WALL + 5 }] },
    })
    expect((await talk.hear('ack')).ack.nonce).toBe(freshness)
    expect(world.fed.store.installed()?.issuers.get(ISSUER)?.keys.notAfter).toBe(WALL + 5)
    const delta = talk.say({
      $case: 'delta',
      delta: {
        baseGeneration: 5,
        generation: 6,
        issuers: [issuerMessage({ keys: [NEXT] })],
        removedIssuers: [],
        profile: undefined,
        policy: undefined,
      },
    })
    expect((await talk.hear('ack')).ack).toMatchObject({ nonce: delta, held: { generation: 6 } })
    expect(kids(world)).toEqual(['k2'])
    expect(world.bundles.map(({ sequence }) => sequence)).toEqual([3])
    expect(talk.heard()).toEqual([])
  })

  test('says every ten seconds what is held', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    for (let second = 0; second < 20; second++) {
      await world.time.advance(1_000)
      heartbeat(talk, 10, world.time)
      await world.until(() => world.fed.believe.silenceMs() === 0)
    }
    const held = { held: { generation: 5, revocationHead: 10, trustSequence: 1 } }
    expect(await talk.hear('held')).toMatchObject(held)
    expect(await talk.hear('held')).toMatchObject(held)
    expect(talk.heard()).toEqual([])
  })

  test('is given up after ten seconds without a heartbeat, and another is opened', async () => {
    await using world = await openFeedWorld()
    await world.ready()
    await world.time.advance(9_900)
    expect(world.feed.stream.connected()).toBe(true)
    await world.time.advance(1_200)
    await world.until(() => world.feed.stream.counts.streams === 2)
    expect(world.feed.stream.connected()).toBe(false)
    expect(world.feed.stream.problem()).toMatch(/no heartbeat for 10 s/)
  })

  test('on which heartbeats name a head that we do not have is given up as well', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    for (let second = 0; second < 12; second++) {
      await world.time.advance(1_000)
      heartbeat(talk, 11, world.time)
    }
    await world.until(() => world.feed.stream.counts.streams === 2)
  })

  test('that stops leaves nothing behind', async () => {
    await using world = await openFeedWorld()
    await world.ready()
    world.stop()
    await world.until(() => world.time.sleeping() === 0 && !world.feed.stream.connected())
  })
})

describe('waiting before the next stream', () => {
  test('grows from 0.2 s to 10 s, times chance; what is believed stays', async () => {
    await using world = await openFeedWorld({ random: () => 0.5 })
    const waits = () =>
      world.events.filter(({ event }) => event === 'feed_ended').map(({ facts }) => facts?.['retryMs'])
    for (let stream = 1; stream <= 9; stream++) {
      const talk = await world.operator.accept()
      talk.fail(status.UNAVAILABLE, 'not now')
      await world.until(() => waits().length === stream)
      await world.time.advance(10_000)
    }
    expect(waits()).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000])
    expect(world.events.at(-1)?.facts?.['problem']).toMatch(/not now/)
  })

  test('begins anew after a stream that lasted', async () => {
    await using world = await openFeedWorld({ random: () => 0.5 })
    const ends = () => world.events.filter(({ event }) => event === 'feed_ended')
    for (let i = 1; i <= 3; i++) {
      ;(await world.operator.accept()).end()
      await world.until(() => ends().length === i)
      await world.time.advance(400)
    }
    const talk = await world.operator.accept()
    await talk.hear('hello')
    for (let second = 0; second < 11; second++) {
      heartbeat(talk, 0, world.time)
      await world.until(() => world.fed.believe.silenceMs() < 1_000)
      await world.time.advance(1_000)
    }
    talk.end()
    await world.until(() => ends().length === 4)
    expect(ends().map(({ facts }) => facts?.['retryMs'])).toEqual([100, 200, 400, 100])
  })
})

describe('what is refused changes nothing', () => {
  test('a snapshot with problems: all are told, the one before goes on, the next is taken', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready([{ keys: [KEY] }])
    const before = world.fed.store.installed()
    const bad = offer(talk, fedSnapshot(6, [{ algorithms: ['HS256'] }, {}, {}]))
    const { nack } = await talk.hear('nack')
    expect(nack).toMatchObject({ nonce: bad, held: { generation: 5 } })
    expect(nack.problems).toEqual([
      'issuers[0].algorithms: must name known asymmetric algorithms',
      'issuers[2].issuer: given twice',
    ])
    expect(world.fed.store.installed()).toBe(before)
    expect(world.feed.bundleProblem()).toMatch(/issuers\[0\]/)
    const good = offer(talk, fedSnapshot(6, [{ keys: [NEXT] }]))
    expect((await talk.hear('ack')).ack.nonce).toBe(good)
    expect(world.feed.bundleProblem()).toBe('')
    expect(world.feed.stream.counts.nacks).toBe(1)
  })

  test('at most eight problems of at most 512 bytes are told', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const issuers = Array.from({ length: 32 }, (_, i) => ({ issuer: `i${i}`, algorithms: ['HS256'] }))
    offer(talk, fedSnapshot(6, issuers))
    const { nack } = await talk.hear('nack')
    expect(nack.problems).toHaveLength(8)
    offer(talk, fedSnapshot(6, [{}], { policy: { ...policyMessage(EDITED), signature: undefined } }))
    await serveBlobs(talk, differing.length, blobs(EDITED))
    expect((await talk.hear('nack')).nack.problems.every((text) => Buffer.byteLength(text) <= 512)).toBe(true)
  })

  test.each([4, 5])('a snapshot of generation %i after 5', async (generation) => {
    await using world = await openFeedWorld()
    const talk = await world.ready([{ keys: [KEY] }])
    const nonce = offer(talk, edited(generation))
    expect((await talk.hear('nack')).nack).toMatchObject({ nonce, held: { generation: 5 } })
    expect(talk.heard()).toEqual([])
    expect(world.fed.store.generation()).toBe(5)
  })

  test('the same snapshot on a new stream is acknowledged', async () => {
    await using world = await openFeedWorld()
    const first = await world.ready([{ keys: [KEY] }])
    first.end()
    const talk = await world.greeted()
    const nonce = offer(talk, fedSnapshot(5, [{ keys: [KEY] }]))
    expect((await talk.hear('ack')).ack.nonce).toBe(nonce)
    expect(talk.heard()).toEqual([])
  })

  test('a delta for another base', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const delta = { issuers: [], removedIssuers: [], profile: undefined, policy: undefined }
    talk.say({ $case: 'delta', delta: { ...delta, baseGeneration: 4, generation: 6 } })
    expect((await talk.hear('nack')).nack.problems.join()).toMatch(/base_generation/)
  })

  test('revocations with a gap: refused, and a new stream asks for all of them', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const nonce = revoke(talk, 12, 13, [alice])
    expect((await talk.hear('nack')).nack).toMatchObject({ nonce, held: { revocationHead: 10 } })
    const next = await world.greeted()
    revoke(next, 0, 13, [alice])
    expect((await next.hear('ack')).ack.held?.revocationHead).toBe(13)
  })

  test('a trust bundle that the identity refuses, or whose bundle keys are none', async () => {
    const problem = 'two different trust bundles with sequence 2'
    await using world = await openFeedWorld({
      trust: ({ sequence }) => (sequence === 2 ? { ok: false, problem } : { ok: true }),
    })
    const talk = await world.ready()
    const stranger = bundleSigner()
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(2, { bundleKeys: [stranger.key] }) })
    expect((await talk.hear('nack')).nack).toMatchObject({ problems: [problem], held: { trustSequence: 1 } })
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(3, { bundleKeys: [] }) })
    expect((await talk.hear('nack')).nack.problems.join()).toMatch(/bundle_keys: must be 1 to 8/)
    expect(world.bundles).toHaveLength(1)
    offer(talk, fedSnapshot(6, [{}], { policy: stranger.sign(policyMessage(EDITED)) }))
    await serveBlobs(talk, differing.length, blobs(EDITED))
    expect((await talk.hear('nack')).nack.problems.join()).toMatch(/is not in the trust bundle/)
  })

  test('a trust bundle that is older than ours', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(9) })
    await talk.hear('ack')
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(2, { bundleKeys: [bundleSigner().key] }) })
    expect((await talk.hear('ack')).ack.held?.trustSequence).toBe(9)
    offer(talk, edited(6))
    await serveBlobs(talk, differing.length, blobs(EDITED))
    expect((await talk.hear('ack')).ack.held?.generation).toBe(6)
  })

  test('a message of the future', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const nonce = talk.say(undefined)
    expect((await talk.hear('nack')).nack.nonce).toBe(nonce)
    expect(world.feed.stream.connected()).toBe(true)
  })

  test.each<readonly [what: string, say: (talk: Conversation) => void]>([
    ['a nonce that was used before', (talk) => talk.say(snapshot(7), offer(talk, fedSnapshot(6, [{}])))],
    ['no nonce', (talk) => talk.say(snapshot(6), '')],
    ['a nonce of 129', (talk) => talk.say(snapshot(6), 'x'.repeat(129))],
    ['bytes that are no message', (talk) => talk.raw(Buffer.from([0x12, 0xff, 0xff, 0xff, 0xff, 0x7f]))],
    ['a wrong type', (talk) => talk.raw(Buffer.from([0x0a, 0x02, 0xff, 0xfe, 0x12, 0x02, 0x08]))],
    ['a number past 2^53', (talk) => talk.raw(Buffer.from([0x32, 0x0a, 0x08, ...Array(9).fill(0xff), 1]))],
  ])('%s ends the stream', async (_what, say) => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    say(talk)
    await world.greeted()
    expect(world.fed.store.generation()).toBeLessThanOrEqual(6)
    expect(world.fed.store.installed()).toBeDefined()
    expect(world.feed.stream.counts.streams).toBe(2)
  })

  test('a message that is too large ends the stream, and no more', async () => {
    await using world = await openFeedWorld({ receiveBytes: 300 * 1024 })
    const talk = await world.ready([{ keys: [KEY] }])
    offer(talk, fedSnapshot(6, [{ document: Buffer.alloc(301 * 1024, 0x20) }]))
    await world.greeted()
    expect(world.events.at(-1)?.facts?.['problem'] ?? '').toMatch(/larger than max/)
    expect(kids(world)).toEqual(['k1'])
  })
})

function snapshot(generation: number): Response {
  return { $case: 'snapshot', snapshot: fedSnapshot(generation, [{ keys: [NEXT] }]) }
}

describe('files of a policy', () => {
  test('are asked for when they are not at hand, and never twice', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    offer(talk, edited(6))
    const wanted = await serveBlobs(talk, differing.length, blobs(EDITED))
    expect(wanted.toSorted()).toEqual(differing.map(({ sha256 }) => sha256.toString('hex')).sort())
    await talk.hear('ack')
    // Back to the policy before: it was kept.
    offer(talk, fedSnapshot(7, [{ keys: [KEY] }]))
    expect((await talk.hear('ack')).ack.held).toMatchObject({ generation: 7, policyDigest: DIGEST })
    offer(talk, edited(8))
    await talk.hear('ack')
    expect(talk.heard()).toEqual([])
    expect(world.feed.activations).toEqual({ ok: 4, refused: 0 })
  })

  const [first] = differing
  if (!first) throw new Error('the edited bundle does not differ')
  const { sha256, content } = first
  const size = content.length
  const part = (change: object) => ({
    $case: 'chunk' as const,
    chunk: { sha256, offset: 0, size, content: content.subarray(0, 64 * 1024), ...change },
  })
  test.each<readonly [what: string, lie: (talk: Conversation) => void, problem: RegExp]>([
    [
      'other content',
      (talk) => sendBlob(talk, { sha256, content: Buffer.alloc(size, 7) }),
      /is not what its digest says/,
    ],
    [
      'another size',
      (talk) => talk.say(part({ size: size + 1 }), ''),
      /has \d+ bytes, the snapshot says \d+/,
    ],
    ['a gap', (talk) => talk.say(part({ offset: 1 }), ''), /a part begins at 1, not at 0/],
    ['nothing', (talk) => talk.say(part({ content: Buffer.alloc(0) }), ''), /a part has 0 bytes/],
    [
      'too much at once',
      (talk) => talk.say(part({ content: Buffer.alloc(64 * 1024 + 1) }), ''),
      /a part has 65537 bytes/,
    ],
  ])('that come with %s: refused, and the policy before goes on', async (_what, lie, problem) => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const nonce = offer(talk, edited(6))
    for (const blob of differing) if (blob !== first) sendBlob(talk, blob)
    for (let i = 0; i < differing.length; i++) await talk.hear('want')
    lie(talk)
    for (const blob of differing) if (blob !== first) sendBlob(talk, blob)
    const { nack } = await talk.hear('nack')
    expect(nack.nonce).toBe(nonce)
    expect(nack.problems.join()).toMatch(problem)
    expect(world.fed.believe.held().policyDigest).toEqual(DIGEST)
    offer(talk, edited(7))
    await serveBlobs(talk, 1, blobs(EDITED))
    expect((await talk.hear('ack')).ack.held?.generation).toBe(7)
  })

  test('that never come are given up after thirty seconds', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    offer(talk, edited(6))
    await talk.hear('want')
    for (let second = 0; second < 31; second++) {
      heartbeat(talk, 10, world.time)
      await world.until(() => world.fed.believe.silenceMs() < 1_000)
      await world.time.advance(1_000)
    }
    const { nack } = await talk.hear('nack')
    expect(nack.problems).toHaveLength(differing.length)
    expect(nack.problems.join()).toMatch(/did not come within 30 s/)
  })

  test('of which a stream broke in the middle: what had come whole is not asked for again', async () => {
    await using world = await openFeedWorld()
    const talk = await world.greeted()
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(1) })
    offer(talk, fedSnapshot(5, [{ keys: [KEY] }]))
    const all = blobs(INVOICES).toSorted((one, other) => other.content.length - one.content.length)
    const [largest, ...others] = all
    if (!largest) throw new Error('no blob')
    for (let i = 0; i < all.length; i++) await talk.hear('want')
    for (const blob of others) sendBlob(talk, blob)
    sendBlob(talk, largest, 64 * 1024)
    heartbeat(talk, 0, world.time)
    await world.until(() => world.feed.stream.connected())
    world.operator.cut()
    const next = await world.greeted()
    offer(next, fedSnapshot(5, [{ keys: [KEY] }]))
    expect((await next.hear('want')).want.sha256).toEqual(largest.sha256)
    sendBlob(next, largest)
    expect((await next.hear('ack')).ack.held?.generation).toBe(5)
    expect(next.heard()).toEqual([])
  })

  test('that nobody asked for are not kept', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    for (const blob of differing) sendBlob(talk, blob)
    offer(talk, edited(6))
    expect(await serveBlobs(talk, differing.length, blobs(EDITED))).toHaveLength(differing.length)
    await talk.hear('ack')
  })

  test.each<readonly [what: string, size: number, count: number, problem: RegExp]>([
    ['more than 64', 1, 65, /more than 64/],
    ['one of more than 8 MiB', 8 * 1024 * 1024 + 1, 1, /must have 1 to 8388608 bytes/],
    ['more than 24 MiB together', 8 * 1024 * 1024, 4, /more than 25165824 bytes together/],
    ['one of nothing', 0, 1, /must have 1 to/],
  ])('%s: nothing is asked for', async (_what, bytes, count, problem) => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const files = Array.from({ length: count }, (_, i) => ({
      path: `f${i}`,
      sha256: Buffer.alloc(32, i),
      size: bytes,
    }))
    offer(talk, fedSnapshot(6, [{}], { policy: SIGNER.sign({ revision: 'x', files, signature: undefined }) }))
    expect((await talk.hear('nack')).nack.problems.join()).toMatch(problem)
    expect(talk.heard()).toEqual([])
  })
})

describe('what denies does not wait for what could allow', () => {
  function gate() {
    const { promise, resolve } = Promise.withResolvers<void>()
    return {
      prepare: async (files: ReadonlyMap<string, Uint8Array>) => promise.then(() => preparePolicy(files)),
      open: resolve,
    }
  }

  test('a revocation takes effect while a policy compiles, and is acknowledged before it', async () => {
    const { prepare, open } = gate()
    await using world = await openFeedWorld({ prepare })
    const talk = await world.greeted()
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(1) })
    await talk.hear('ack')
    const slow = offer(talk, fedSnapshot(5, [{ keys: [KEY] }]))
    await serveBlobs(talk, INVOICES.size)
    const fast = revoke(talk, 0, 1, [alice])
    expect((await talk.hear('ack')).ack).toMatchObject({
      nonce: fast,
      held: { revocationHead: 1, generation: 0 },
    })
    expect(world.fed.revocations.size).toBe(1)
    open()
    expect((await talk.hear('ack')).ack.nonce).toBe(slow)
  })

  test('a trust bundle that takes a key away overtakes the snapshot that it had signed', async () => {
    const stranger = bundleSigner()
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const old = offer(talk, edited(6))
    await talk.hear('want')
    const bundle = talk.say({
      $case: 'trustBundle',
      trustBundle: trustBundle(2, { bundleKeys: [stranger.key] }),
    })
    expect((await talk.hear('ack')).ack).toMatchObject({ nonce: bundle, held: { trustSequence: 2 } })
    for (const blob of differing) sendBlob(talk, blob)
    const { nack } = await talk.hear('nack')
    expect(nack).toMatchObject({ nonce: old, held: { generation: 5 } })
    expect(nack.problems.join()).toMatch(/is not in the trust bundle/)
  })

  test('and what comes after a trust bundle is verified by it, however long its taking takes', async () => {
    const stranger = bundleSigner()
    const { promise, resolve } = Promise.withResolvers<void>()
    await using world = await openFeedWorld({
      trust: ({ sequence }) => (sequence === 2 ? promise.then(() => ({ ok: true })) : { ok: true }),
    })
    const talk = await world.ready()
    const news = [stranger.key, SIGNER.key]
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(2, { bundleKeys: news }) })
    const policy = stranger.sign(policyMessage(EDITED))
    const nonce = offer(talk, fedSnapshot(6, [{ keys: [KEY] }], { policy }))
    heartbeat(talk, 10, world.time)
    await world.until(() => world.fed.believe.silenceMs() === 0)
    resolve()
    await serveBlobs(talk, differing.length, blobs(EDITED))
    await talk.hear('ack')
    expect((await talk.hear('ack')).ack).toMatchObject({ nonce, held: { generation: 6, trustSequence: 2 } })
  })

  test('a snapshot that withholds everything overtakes one that waits for its files', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const slow = offer(talk, edited(6))
    await talk.hear('want')
    const fast = offer(talk, withheldSnapshot(7, 'two AccessPolicies select this pod: a, b'))
    expect((await talk.hear('ack')).ack).toMatchObject({ nonce: fast, held: { generation: 7 } })
    expect(world.fed.store.installed()).toBeUndefined()
    for (const blob of differing) sendBlob(talk, blob)
    expect((await talk.hear('nack')).nack.nonce).toBe(slow)
    expect(world.fed.store.withheld()).toMatch(/two AccessPolicies/)
  })

  test('a newer snapshot ends the wait for the files of an older one', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready([{ keys: [KEY] }])
    const old = offer(talk, edited(6))
    await talk.hear('want')
    const newer = offer(talk, fedSnapshot(7, [{ keys: [NEXT] }]))
    expect((await talk.hear('nack')).nack).toMatchObject({
      nonce: old,
      problems: differing.map(() => expect.stringMatching(/overtaken by generation 7/)),
    })
    expect((await talk.hear('ack')).ack.nonce).toBe(newer)
    expect(kids(world)).toEqual(['k2'])
  })

  test('more than 64 messages that wait end the stream', async () => {
    const { prepare, open } = gate()
    await using world = await openFeedWorld({ prepare })
    const talk = await world.greeted()
    talk.say({ $case: 'trustBundle', trustBundle: trustBundle(1) })
    offer(talk, fedSnapshot(5, [{ keys: [KEY] }]))
    await serveBlobs(talk, INVOICES.size)
    for (let i = 0; i < 70; i++) talk.say({ $case: 'keyFreshness', keyFreshness: { terms: [] } })
    await world.greeted()
    open()
    expect(world.feed.stream.counts.streams).toBe(2)
  })
})

describe('the lease', () => {
  const denied = ({ fed, time }: FeedWorld, action: string) => {
    const trust = fed.store.current(WALL + time.now())
    return 'reason' in trust ? trust.reason : lapsed(trust, action, WALL + time.now())
  }

  test('lapses by tier when heartbeats stop, whatever else goes on, and comes back with them', async () => {
    await using world = await openFeedWorld()
    await world.ready()
    const tiers = () =>
      ['invoice:refund', 'invoice:edit', 'invoice:read'].map((action) => denied(world, action))
    expect(tiers()).toEqual([false, false, false])
    const seen: (readonly [number, readonly (string | boolean)[]])[] = []
    for (const at of [4_999, 5_000, 59_999, 60_000, 899_999, 900_000]) {
      await world.time.advance(at - (seen.at(-1)?.[0] ?? 0))
      seen.push([at, tiers()])
    }
    expect(seen).toEqual([
      [4_999, [false, false, false]],
      [5_000, [true, false, false]],
      [59_999, [true, false, false]],
      [60_000, [true, true, false]],
      [899_999, [true, true, false]],
      [900_000, [true, true, true]],
    ])
    const talk = await lastStream(world)
    heartbeat(talk, 10, world.time)
    await world.until(() => world.feed.stream.connected())
    await setImmediate()
    expect(tiers()).toEqual([false, false, false])
  })

  test('is not renewed by heartbeats for a head that we do not have', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    for (let second = 0; second < 6; second++) {
      await world.time.advance(1_000)
      heartbeat(talk, 11, world.time)
    }
    expect(denied(world, 'invoice:refund')).toBe(true)
    revoke(talk, 10, 11, [alice])
    await talk.hear('ack')
    heartbeat(talk, 11, world.time)
    await world.until(() => denied(world, 'invoice:refund') === false)
  })
})

/** The stream that is open now: of those before nobody hears any more. */
async function lastStream(world: FeedWorld): Promise<Conversation> {
  let talk = await world.operator.accept()
  await world.until(() => world.time.sleeping() >= 2)
  for (let left = world.feed.stream.counts.streams - 2; left > 0; left--) talk = await world.operator.accept()
  return talk
}

describe('an operator that has forgotten', () => {
  test('is told everything when it asks', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    revoke(talk, 10, 12, [alice, entry('k', { $case: 'kid', kid: 'k9' })])
    await talk.hear('ack')
    talk.say({ $case: 'recall', recall: {} }, '')
    const { recalled } = await talk.hear('recalled')
    expect(recalled.held).toMatchObject({ generation: 5, revocationHead: 12, trustSequence: 1 })
    expect(recalled.revocations).toEqual(message(0, 12, [alice, entry('k', { $case: 'kid', kid: 'k9' })]))
  })

  test('takes nothing away: older revocations and snapshots lower neither head nor generation', async () => {
    await using world = await openFeedWorld()
    const first = await world.ready()
    revoke(first, 10, 12, [alice])
    await first.hear('ack')
    first.end()
    const talk = await world.greeted()
    revoke(talk, 0, 3, [])
    expect((await talk.hear('ack')).ack.held?.revocationHead).toBe(12)
    offer(talk, fedSnapshot(2, [{}]))
    expect((await talk.hear('nack')).nack.held?.generation).toBe(5)
    expect(world.fed.revocations.size).toBe(1)
  })
})

describe('a kid that nobody knows', () => {
  const never = new AbortController().signal
  const ask = (world: FeedWorld, kid = 'k2') => world.feed.refreshKeys(ISSUER, never, kid)

  test('is asked about, and the answer comes after what the fetch brought', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready([{ keys: [KEY] }])
    const fetched = ask(world)
    const { kidUnknown } = await talk.hear('kidUnknown')
    expect(kidUnknown).toMatchObject({ issuer: ISSUER, kid: 'k2' })
    offer(talk, fedSnapshot(6, [{ keys: [KEY, NEXT] }]))
    talk.say({ $case: 'keysChecked', keysChecked: { question: kidUnknown.question, fetched: true } }, '')
    expect(await fetched).toBe(true)
    expect(kids(world)).toEqual(['k1', 'k2'])
    expect(world.feed.stream.counts.refreshes).toEqual({ ok: 1, failed: 0 })
  })

  test('each question has its own answer', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const answers = [ask(world, 'a'), ask(world, 'b')]
    const [one, other] = [await talk.hear('kidUnknown'), await talk.hear('kidUnknown')]
    const check = (question: number, fetched: boolean) =>
      talk.say({ $case: 'keysChecked', keysChecked: { question, fetched } }, '')
    check(999, true)
    check(other.kidUnknown.question, true)
    check(one.kidUnknown.question, false)
    expect(await Promise.all(answers)).toEqual([false, true])
  })

  test('stays unknown when no stream is open, when it ends, when no answer comes, and when too many ask', async () => {
    await using world = await openFeedWorld()
    const talk = await world.ready()
    const asked = Array.from({ length: 65 }, (_, i) => ask(world, `k${i}`))
    expect(await asked[64]).toBe(false)
    for (let second = 0; second < 10; second++) {
      heartbeat(talk, 10, world.time)
      await world.until(() => world.fed.believe.silenceMs() < 1_000)
      await world.time.advance(1_000)
    }
    expect(new Set(await Promise.all(asked))).toEqual(new Set([false]))
    const last = ask(world)
    await world.until(() => talk.heard().length >= 65)
    talk.end()
    expect(await last).toBe(false)
    world.stop()
    await world.until(() => world.time.sleeping() === 0)
    expect(await ask(world)).toBe(false)
  })
})
