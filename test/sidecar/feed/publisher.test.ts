// The sidecar's feed and the operator's publisher, the real ones, on a real connection.
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { FeedService, type Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { append, EMPTY_LOG, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { createOperatorFeed } from '../../../sidecar/feed/operator.ts'
import { jwksOf, type SigningKey, signingKey } from '../../fixtures/keys.ts'
import { eventually, openStage, podId, sleep, trustBundle, worldOf } from '../../operator/publish/stage.ts'
import { keys, put, shop, uidOf } from '../../operator/state/objects.ts'
import { INVOICES, policyMessage } from '../trust/beliefs.ts'
import { openFed, SIGNER } from '../trust/fed-world.ts'

const KEY = signingKey('RS256', 'k1')
const NEXT = signingKey('RS256', 'k2')
const { revision, files, signature } = SIGNER.sign(policyMessage(INVOICES))
const bundle = put('bundles', 'shop/rules', { revision, files, signature })
const blobs = new Map(
  [...INVOICES].map(([path, content]) => {
    const file = files.find((one) => one.path === path)
    return [file?.sha256.toString('hex') ?? '', Buffer.from(content)] as const
  }),
)
const trust = { ...trustBundle(1), bundleKeys: [SIGNER.key] }

function cluster(published: readonly SigningKey[], ...more: Parameters<typeof shop>[1][]) {
  return shop(['a'], bundle, put('keySets', 'shop/idp', keys(JSON.stringify(jwksOf(published)))), ...more)
}

function denying(...subjects: readonly string[]): RevocationLog {
  const entry = (sub: string): Revocation => ({
    id: `r-${sub}`,
    issuer: 'https://idp.example',
    subject: { $case: 'sub', sub },
    issuedBeforeMs: 0,
    expiresAtMs: Date.now() + 3_600_000,
    source: 'shop/idp',
  })
  const appended = append(
    EMPTY_LOG,
    subjects.map((sub) => ({ op: 'add', entry: entry(sub), recalled: false })),
  )
  if (!appended.ok) throw new Error(appended.why)
  return appended.log
}

function openSidecar(port: () => number) {
  const fed = openFed()
  const life = new AbortController()
  const events: unknown[] = []
  const feed = createOperatorFeed({
    believe: fed.believe,
    signers: fed.signers,
    trust: () => ({ ok: true }),
    async open() {
      const client = new Client(`127.0.0.1:${port()}`, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      })
      const metadata = new Metadata()
      metadata.set('id', podId(uidOf('shop/a')))
      const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
      const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
      stream.on('status', () => client.close())
      return stream
    },
    version: '0',
    now: () => performance.now(),
    sleep,
    random: () => 0.5,
    report: (event, facts) => events.push({ event, facts }),
  })
  const running = feed.run(life.signal).catch(() => undefined)
  return {
    ...fed,
    feed,
    events,
    kids: () =>
      [...(fed.store.installed()?.issuers.values() ?? [])].flatMap(({ keys: set }) => [...set.byKid.keys()]),
    async [Symbol.asyncDispose]() {
      life.abort(new Error('stopped'))
      await running
    },
  }
}

test('from an empty sidecar to keys, policy, revocations and a lease; then every change', async () => {
  await using stage = await openStage()
  const update = (...args: readonly [Parameters<typeof worldOf>[0]]) =>
    stage.publisher.update(worldOf({ blobs, trust, ...args[0] }))
  update({ cluster: cluster([KEY]) })
  await using sidecar = openSidecar(() => stage.port)
  await eventually(
    () => sidecar.store.installed() !== undefined,
    `a snapshot ${JSON.stringify(sidecar.events)}`,
  )
  expect(sidecar.kids()).toEqual(['k1'])
  await eventually(() => sidecar.feed.stream.connected(), 'a heartbeat')
  expect(sidecar.believe.silenceMs()).toBeLessThan(5_000)
  await eventually(() => stage.publisher.states().length === 1, 'an acknowledgement')

  update({ cluster: cluster([KEY]), log: denying('alice') })
  await eventually(() => sidecar.revocations.size === 1, 'a revocation')

  const { generation } = sidecar.believe.held()
  const first = worldOf({ cluster: cluster([KEY]), blobs, trust, log: denying('alice') })
  stage.publisher.update(
    worldOf({ cluster: cluster([KEY, NEXT]), blobs, trust, log: denying('alice'), table: first.table }),
  )
  await eventually(() => sidecar.kids().length === 2, 'new keys')
  expect(sidecar.believe.held().generation).toBeGreaterThan(generation)
  expect(sidecar.feed.stream.counts).toMatchObject({ streams: 1, nacks: 0 })
})

test('a pod that no AccessPolicy selects any more is withheld everything, and told why', async () => {
  await using stage = await openStage()
  const first = worldOf({ cluster: cluster([KEY]), blobs, trust })
  stage.publisher.update(first)
  await using sidecar = openSidecar(() => stage.port)
  await eventually(() => sidecar.store.installed() !== undefined, 'a snapshot')
  const gone = cluster([KEY], put('accessPolicies', 'shop/front', undefined))
  stage.publisher.update(worldOf({ cluster: gone, blobs, trust, table: first.table }))
  await eventually(() => sidecar.store.withheld() !== '', 'a withheld snapshot')
  expect(sidecar.store.installed()).toBeUndefined()
  expect(sidecar.store.withheld()).toMatch(/no AccessPolicy selects this pod/)
})

test('another replica of the same mind tells nothing twice; one that has forgotten is told, and takes nothing away', async () => {
  const log = denying('alice', 'bob')
  const told = worldOf({ cluster: cluster([KEY]), blobs, trust, log })
  const recollections: unknown[] = []
  await using first = await openStage()
  await using second = await openStage()
  await using restored = await openStage({
    ports: {
      async recalled({ entries, revocationHead, generation }) {
        recollections.push({ ids: entries.map(({ id }) => id).toSorted(), revocationHead, generation })
        restored.publisher.update(told)
        return undefined
      },
    },
  })
  for (const { publisher } of [first, second]) publisher.update(told)
  restored.publisher.update(worldOf({ cluster: cluster([KEY]), blobs, trust, log: EMPTY_LOG }))

  let port = first.port
  await using sidecar = openSidecar(() => port)
  const settled = (streams: number) =>
    eventually(
      () => sidecar.feed.stream.counts.streams === streams && sidecar.feed.stream.connected(),
      `stream ${streams}: ${JSON.stringify(sidecar.events)}`,
    )
  await settled(1)
  await eventually(() => sidecar.store.installed() !== undefined, 'a snapshot')
  const before = sidecar.store.installed()
  const { generation, revocationHead } = sidecar.believe.held()

  port = second.port
  first.stop()
  await settled(2)
  expect(sidecar.store.installed()).toBe(before)

  port = restored.port
  second.stop()
  await settled(3)
  expect(recollections).toEqual([{ ids: ['r-alice', 'r-bob'], revocationHead, generation }])
  expect(sidecar.revocations.size).toBe(2)
  expect(sidecar.believe.held()).toMatchObject({ generation, revocationHead })
  expect(sidecar.feed.stream.counts.nacks).toBe(0)
})
