import { status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { append, EMPTY_LOG, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { accessPolicy, bundle, keys, put, shop, tokenIssuer, uidOf } from '../state/objects.ts'
import { eventually, NOTHING, openStage, podId, TRUST_DOMAIN, trustBundle, worldOf } from './stage.ts'

const UID = uidOf('shop/a')
const hello = { $case: 'hello', hello: { held: NOTHING, version: '0' } } as const

function denying(...ids: readonly string[]): RevocationLog {
  const entry = (id: string): Revocation => ({
    id,
    issuer: 'https://idp.example',
    subject: { $case: 'jti', jti: id },
    issuedBeforeMs: 0,
    expiresAtMs: 9_000_000_000_000,
    source: 'shop/idp',
  })
  const result = append(
    EMPTY_LOG,
    ids.map((id) => ({ op: 'add', entry: entry(id), recalled: false })),
  )
  if (!result.ok) throw new Error(result.why)
  return result.log
}

describe('who is let in', () => {
  test.each([
    ['nobody', '', status.UNAUTHENTICATED],
    ['the workload itself', `spiffe://${TRUST_DOMAIN}/ns/shop/sa/default`, status.UNAUTHENTICATED],
    ['another trust domain', `spiffe://other.example/portcullis/pod/${UID}`, status.UNAUTHENTICATED],
    ['the operator', `spiffe://${TRUST_DOMAIN}/portcullis/operator/control/${UID}`, status.UNAUTHENTICATED],
    ['more than a pod', `${podId(UID)}/x`, status.UNAUTHENTICATED],
    ['a UID in another spelling', podId(UID.toUpperCase()), status.UNAUTHENTICATED],
    ['a pod that is not there', podId(uidOf('shop/x')), status.PERMISSION_DENIED],
  ])('%s is refused', async (_, id, code) => {
    await using stage = await openStage()
    stage.publisher.update(worldOf({ cluster: shop(['a']) }))
    const client = stage.subscribe(id)
    client.send(hello)
    expect((await client.ended).code).toBe(code)
    expect(client.received).toEqual([])
    expect(stage.publisher.states()).toEqual([])
  })

  test('nobody, before the cluster is known', async () => {
    await using stage = await openStage()
    expect((await stage.subscribe(podId(UID)).ended).code).toBe(status.UNAVAILABLE)
  })

  test('no more streams than there is room for, and the newest of a pod counts', async () => {
    await using stage = await openStage({ config: { streams: 2 } })
    stage.publisher.update(worldOf({ cluster: shop(['a', 'b', 'c']) }))
    const a = stage.sidecar('a')
    await a.until('snapshot')
    await stage.sidecar('b').until('snapshot')
    expect((await stage.sidecar('c').ended).code).toBe(status.RESOURCE_EXHAUSTED)
    const again = stage.sidecar('a')
    expect((await a.ended).code).toBe(status.ABORTED)
    await again.until('snapshot')
    expect(stage.publisher.status().streams).toBe(2)
  })

  test('a pod that is no more is sent away, and what it acknowledged is forgotten', async () => {
    await using stage = await openStage()
    stage.publisher.update(worldOf({ cluster: shop(['a', 'b']) }))
    const a = stage.sidecar('a')
    await a.until('snapshot')
    stage.publisher.update(worldOf({ cluster: shop(['b']) }))
    expect((await a.ended).code).toBe(status.PERMISSION_DENIED)
    expect(stage.publisher.states()).toEqual([])
  })
})

describe('what may be said', () => {
  const sha256 = Buffer.alloc(32, 7)
  test.each([
    [
      'an acknowledgement before the hello',
      [{ $case: 'ack', ack: { nonce: '1', held: NOTHING } }],
      status.INVALID_ARGUMENT,
    ],
    ['two hellos', [hello, hello], status.INVALID_ARGUMENT],
    [
      'a file that no snapshot of this stream references',
      [hello, { $case: 'want', want: { sha256 } }],
      status.FAILED_PRECONDITION,
    ],
    [
      'a position far beyond any that was given out',
      [{ $case: 'hello', hello: { held: { ...NOTHING, revocationHead: 2_000_000 }, version: '0' } }],
      status.FAILED_PRECONDITION,
    ],
    [
      'a generation far beyond any that was given out',
      [{ $case: 'hello', hello: { held: { ...NOTHING, generation: 2_000_000 }, version: '0' } }],
      status.FAILED_PRECONDITION,
    ],
  ] as const)('%s ends the stream', async (_, requests, code) => {
    await using stage = await openStage()
    stage.publisher.update(worldOf({ cluster: shop(['a']) }))
    const client = stage.subscribe(podId(UID))
    for (const request of requests) client.send(request)
    expect((await client.ended).code).toBe(code)
  })

  test('a flood of requests ends the stream', async () => {
    await using stage = await openStage()
    stage.publisher.update(worldOf({ cluster: shop(['a']) }))
    const client = stage.subscribe(podId(UID))
    client.send(hello)
    for (let index = 0; index < 5_000; index++) client.send({ $case: 'held', held: NOTHING })
    expect((await client.ended).code).toBe(status.RESOURCE_EXHAUSTED)
  })

  test('an acknowledgement counts for the pod of the certificate and no other, a made-up nonce for none', async () => {
    await using stage = await openStage()
    stage.publisher.update(worldOf({ cluster: shop(['a', 'b']) }))
    const client = stage.subscribe(podId(UID))
    client.send(hello)
    const { nonce } = await client.until('snapshot')
    const held = { ...NOTHING, generation: 1 }
    client.send({ $case: 'ack', ack: { nonce: `${nonce}0`, held } })
    client.send({ $case: 'held', held: { ...NOTHING, trustSequence: 1 } })
    await eventually(() => stage.publisher.states()[0]?.trustSequence === 1, 'what it holds is heard')
    expect(stage.publisher.states()).toMatchObject([{ podUid: UID, pod: 'a', generation: 0 }])
    client.send({ $case: 'ack', ack: { nonce, held } })
    await eventually(() => stage.publisher.states()[0]?.generation === 1, 'the acknowledgement is heard')
    expect(stage.publisher.states().map(({ podUid }) => podUid)).toEqual([UID])
  })
})

describe('what is sent', () => {
  test('trust, revocations and a snapshot, in this order; then heartbeats with the head', async () => {
    await using stage = await openStage({ config: { heartbeatMs: 50 } })
    stage.publisher.update(worldOf({ cluster: shop(['a']), log: denying('x') }))
    const a = stage.sidecar('a')
    await a.until('heartbeat', ({ heartbeat }) => heartbeat.revocationHead === 1)
    const order = a.received.map(({ response }) => response.$case).filter((kind) => kind !== 'heartbeat')
    expect(order).toEqual(['trustBundle', 'revocations', 'snapshot'])
    expect(a.held()).toMatchObject({ generation: 1, revocationHead: 1, trustSequence: 1 })
    await eventually(() => stage.publisher.states()[0]?.generation === 1, 'it acknowledged')
  })

  test('a pod without AccessPolicy is told why everything is denied', async () => {
    await using stage = await openStage()
    stage.publisher.update(worldOf({ cluster: shop(['a'], put('accessPolicies', 'shop/front', undefined)) }))
    const { response } = await stage.sidecar('a').until('snapshot')
    expect(response.snapshot.withheld).toMatch(/^no AccessPolicy selects this pod/)
  })

  test('a sidecar that comes back with everything is sent nothing again but the terms of its keys', async () => {
    await using stage = await openStage({ config: { heartbeatMs: 50 } })
    stage.publisher.update(worldOf({ cluster: shop(['a']), log: denying('x') }))
    const before = stage.sidecar('a')
    await before.until('snapshot')
    const again = stage.sidecar('a', before.held())
    await again.until('heartbeat')
    expect(again.received.map(({ response }) => response.$case)).toEqual(['keyFreshness', 'heartbeat'])
  })

  test('004-30: a change is told as a difference to whoever holds what it builds on, and whole to others', async () => {
    await using stage = await openStage()
    const first = worldOf({
      cluster: shop(['a', 'b'], put('keySets', 'shop/idp', keys(`{"keys":[${' '.repeat(2_000)}]}`))),
    })
    stage.publisher.update(first)
    const a = stage.sidecar('a')
    await eventually(() => a.held().generation === 1, 'the first one is in effect')
    const issuers = [{ name: 'idp' }, { name: 'new' }]
    const cluster = shop(
      ['a', 'b'],
      put('keySets', 'shop/idp', keys(`{"keys":[${' '.repeat(2_000)}]}`)),
      put('tokenIssuers', 'shop/new', tokenIssuer('shop', 'new')),
      put('accessPolicies', 'shop/front', accessPolicy('shop', 'front', { issuers })),
    )
    stage.publisher.update(worldOf({ cluster, table: first.table }))
    const { response } = await a.until('delta')
    expect(response.delta).toMatchObject({
      baseGeneration: 1,
      generation: 2,
      profile: undefined,
      policy: undefined,
    })
    expect(response.delta.issuers.map(({ issuer }) => issuer)).toEqual(['https://new.example'])
    // Terms of the issuers that did not change come with it.
    await a.until('keyFreshness', ({ keyFreshness }) => keyFreshness.terms.length === 2)
    const b = await stage.sidecar('b').until('snapshot')
    expect(b.response.snapshot.issuers).toHaveLength(2)
  })

  test('a refused difference is followed by the whole, a refused whole by nothing until it changes; both show', async () => {
    await using stage = await openStage()
    const first = worldOf({
      cluster: shop(['a'], put('keySets', 'shop/idp', keys(`{"keys":[${' '.repeat(2_000)}]}`))),
    })
    stage.publisher.update(first)
    const client = stage.subscribe(podId(UID))
    let held = NOTHING
    let refusing = false
    client.on(({ nonce, response }) => {
      const isPolicy = response.$case === 'snapshot' || response.$case === 'delta'
      if (response.$case === 'snapshot' && !refusing)
        held = { ...held, generation: response.snapshot.generation }
      if (response.$case === 'trustBundle') held = { ...held, trustSequence: response.trustBundle.sequence }
      if (!nonce) return
      if (isPolicy && refusing)
        client.send({ $case: 'nack', nack: { nonce, held, problems: ['policy: selftest 3 failed'] } })
      else client.send({ $case: 'ack', ack: { nonce, held } })
    })
    client.send(hello)
    await client.until('snapshot')
    await eventually(() => stage.publisher.states()[0]?.generation === 1, 'it acknowledged')
    refusing = true
    const rules = put('bundles', 'shop/rules', bundle('r2'))
    const cluster = shop(['a'], put('keySets', 'shop/idp', keys(`{"keys":[${' '.repeat(2_000)}]}`)), rules)
    const second = worldOf({ cluster, table: first.table })
    stage.publisher.update(second)
    await client.until('delta')
    await client.until('snapshot', ({ snapshot }) => snapshot.generation === 2)
    await eventually(() => stage.publisher.states()[0]?.problems.length === 1, 'the refusal is heard')
    expect(stage.publisher.states()).toMatchObject([
      { generation: 1, problems: ['policy: selftest 3 failed'] },
    ])
    const count = client.received.length
    stage.publisher.update({ ...second, trustBundle: trustBundle(2) })
    await client.until('trustBundle', ({ trustBundle: bundleNow }) => bundleNow.sequence === 2)
    expect(client.received.slice(count).filter(({ response }) => response.$case === 'snapshot')).toEqual([])
    // Another kind of acknowledgement does not hide it.
    await eventually(
      () => stage.publisher.states()[0]?.trustSequence === 2,
      'the trust bundle is acknowledged',
    )
    expect(stage.publisher.states()[0]?.problems).toHaveLength(1)
    refusing = false
    stage.publisher.update(
      worldOf({
        cluster: shop(['a'], put('bundles', 'shop/rules', bundle('r3'))),
        table: second.table,
        trust: trustBundle(2),
      }),
    )
    await client.until('snapshot', ({ snapshot }) => snapshot.generation === 3)
    await eventually(() => stage.publisher.states()[0]?.problems.length === 0, 'nothing is refused any more')
  })

  test('many changes in a row become few snapshots, the last of them the newest', async () => {
    await using stage = await openStage()
    let world = worldOf({ cluster: shop(['a']) })
    stage.publisher.update(world)
    const a = stage.sidecar('a')
    await a.until('snapshot')
    for (let index = 0; index < 50; index++) {
      world = worldOf({
        cluster: shop(['a'], put('bundles', 'shop/rules', bundle(`n${index}`))),
        table: world.table,
      })
      stage.publisher.update(world)
    }
    await eventually(() => a.held().generation === 51, 'the newest is in effect')
    const changes = a.received.filter(
      ({ response }) => response.$case === 'delta' || response.$case === 'snapshot',
    )
    expect(changes.length).toBeLessThanOrEqual(4)
  })

  test('terms of keys that move are told without a new generation', async () => {
    await using stage = await openStage()
    const first = worldOf({ cluster: shop(['a']) })
    stage.publisher.update(first)
    const a = stage.sidecar('a')
    await a.until('snapshot')
    const later = put('keySets', 'shop/idp', keys('{"keys":[]}', 1_900_000_900_000))
    stage.publisher.update(worldOf({ cluster: shop(['a'], later), table: first.table }))
    const { response } = await a.until('keyFreshness')
    expect(response.keyFreshness.terms).toEqual([
      { issuer: 'https://idp.example', notAfterMs: 1_900_000_900_000 },
    ])
    expect(a.held().generation).toBe(1)
  })
})

describe('generations', () => {
  test('a restarted operator serves the same numbers, and two replicas number alike', async () => {
    const stored = worldOf({ cluster: shop(['a']) }).table
    for (const _ of [1, 2]) {
      await using stage = await openStage()
      stage.publisher.update(worldOf({ cluster: shop(['a']), table: stored }))
      const { response } = await stage.sidecar('a').until('snapshot')
      expect(response.snapshot.generation).toBe(1)
    }
  })

  test('a replica whose objects are not those of the table serves nothing new', async () => {
    await using stage = await openStage({ config: { heartbeatMs: 50 } })
    const leader = worldOf({ cluster: shop(['a'], put('bundles', 'shop/rules', bundle('r2'))) })
    stage.publisher.update({ ...worldOf({ cluster: shop(['a']) }), table: leader.table })
    const a = stage.sidecar('a')
    await a.until('heartbeat')
    expect(a.received.map(({ response }) => response.$case)).not.toContain('snapshot')
    stage.publisher.update(leader)
    await a.until('snapshot')
  })

  test('a replica that lacks the files of a policy offers the one before, and the new one once they are there', async () => {
    await using stage = await openStage()
    const first = worldOf({ cluster: shop(['a']) })
    stage.publisher.update(first)
    const a = stage.sidecar('a')
    await a.until('snapshot')
    const next = worldOf({
      cluster: shop(['a'], put('bundles', 'shop/rules', bundle('r2'))),
      table: first.table,
    })
    stage.publisher.update({ ...next, blob: () => undefined })
    await eventually(() => stage.publisher.status().unserved.length === 1, 'it says so')
    expect(stage.publisher.status().unserved).toEqual(['shop/front'])
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(a.held().generation).toBe(1)
    stage.publisher.update(next)
    await eventually(() => a.held().generation === 2, 'it has the new one')
    expect(stage.publisher.status().unserved).toEqual([])
  })

  test('a world older than the present one is not taken', async () => {
    await using stage = await openStage()
    const old = worldOf({ cluster: shop(['a']), log: denying('x') })
    const now = worldOf({ cluster: shop(['a']), log: denying('x', 'y') })
    expect(stage.publisher.update(now)).toBe(true)
    expect(stage.publisher.update(old)).toBe(false)
    expect(stage.publisher.update({ ...now, table: { counter: 0, projections: new Map() } })).toBe(false)
    await stage.sidecar('a').until('revocations', ({ revocations }) => revocations.head === 2)
  })
})
