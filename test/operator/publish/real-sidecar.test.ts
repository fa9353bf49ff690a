import { createHash } from 'node:crypto'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { bundleDigest } from '../../../contracts/bundle-digest.ts'
import {
  FeedService,
  type Revocation,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { AppendOutcome } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { TrustBundle } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { PublisherPorts } from '../../../operator/publish/settings.ts'
import type { Cluster, StoredBundle } from '../../../operator/state/cluster.ts'
import { EMPTY_TABLE, raise } from '../../../operator/state/generations.ts'
import { append, EMPTY_LOG, merge, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { changesFor } from '../../../operator/state/revocation-made.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import { createOperatorFeed } from '../../../sidecar/feed/operator.ts'
import { denyFirst } from '../../../sidecar/trust/local-revocations.ts'
import { createRevocations } from '../../../sidecar/trust/revocations.ts'
import { jwksOf, type SigningKey, signingKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { INVOICES, policyMessage } from '../../sidecar/trust/beliefs.ts'
import { openFed, SIGNER } from '../../sidecar/trust/fed-world.ts'
import { caller } from '../../sidecar/trust/revocation-world.ts'
import { keys, put, shop, tokenIssuer, uidOf } from '../state/objects.ts'
import { eventually, openStage, podId, sleep, trustBundle, worldOf } from './stage.ts'

// The operator's publisher and the sidecar's feed, both real, over a real stream; only TLS and the API server are left out.

const EDITED = await readBundle(POLICY.edited)
const BROKEN = new Map([...INVOICES, ['policy.wasm', Buffer.from('no module')]])
const [KEY, NEXT] = [signingKey('RS256', 'k1'), signingKey('RS256', 'k2')]
const TRUST: TrustBundle = { ...trustBundle(1), bundleKeys: [SIGNER.key] }

type Files = ReadonlyMap<string, Uint8Array>

const blobs = new Map(
  [INVOICES, EDITED, BROKEN].flatMap((files) =>
    [...files.values()].map((content) => [
      createHash('sha256').update(content).digest('hex'),
      Buffer.from(content),
    ]),
  ),
)

function stored(files: Files): StoredBundle {
  const policy = SIGNER.sign(policyMessage(files))
  if (!policy.signature) throw new Error('not signed')
  return { revision: policy.revision, files: policy.files, signature: policy.signature }
}

function clusterOf(files: Files, signers: readonly SigningKey[]): Cluster {
  return shop(
    ['a'],
    put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp', { issuer: ISSUER })),
    put('keySets', 'shop/idp', keys(JSON.stringify(jwksOf(signers)), Date.now() + 900_000)),
    put('bundles', 'shop/rules', stored(files)),
  )
}

const digestOf = (files: Files): string => bundleDigest(policyMessage(files).files).toString('hex')

const entry = (id: string): Revocation => ({
  id,
  issuer: ISSUER,
  subject: { $case: 'sub', sub: id },
  issuedBeforeMs: 0,
  expiresAtMs: Date.now() + 3_600_000,
  source: 'shop/idp',
})

function log(...ids: readonly string[]): RevocationLog {
  const result = append(
    EMPTY_LOG,
    ids.map((id) => ({ op: 'add', entry: entry(id), recalled: false })),
  )
  if (!result.ok) throw new Error(result.why)
  return result.log
}

async function openBoth(ports: Partial<PublisherPorts> = {}) {
  const stage = await openStage({ config: { heartbeatMs: 100 }, ports })
  const fed = openFed()
  const life = new AbortController()
  let client = new Client(`127.0.0.1:${stage.port}`, credentials.createInsecure())
  const feed = createOperatorFeed({
    believe: fed.believe,
    signers: fed.signers,
    open: async () => {
      const metadata = new Metadata()
      metadata.set('id', podId(uidOf('shop/a')))
      const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
      return client.makeBidiStreamRequest<SubscribeRequest, SubscribeResponse>(
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
      )
    },
    trust: () => ({ ok: true }),
    version: '1',
    now: () => performance.now(),
    sleep,
    random: () => 0.1,
    report: () => undefined,
  })
  const running = feed.run(life.signal).catch(() => undefined)
  return {
    stage,
    fed,
    feed,
    signal: life.signal,
    /** The next stream goes to another operator. */
    redirect(port: number) {
      client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
    },
    async [Symbol.asyncDispose]() {
      life.abort()
      await running
      client.close()
      await stage[Symbol.asyncDispose]()
    },
  }
}

const kids = (fed: ReturnType<typeof openFed>) => [
  ...(fed.store.installed()?.issuers.get(ISSUER)?.keys.byKid.keys() ?? []),
]

test('004-29: a real sidecar takes policy, keys and revocations, says so, and keeps the last good policy when one is broken', async () => {
  await using both = await openBoth()
  const { stage, fed, feed } = both
  const state = () => stage.publisher.states()[0]
  let world = worldOf({ cluster: clusterOf(INVOICES, [KEY]), trust: TRUST, blobs, log: log('alice') })
  stage.publisher.update(world)
  await eventually(() => feed.stream.connected(), 'connected')
  await eventually(() => state()?.generation === 1, 'the snapshot is acknowledged')
  expect(state()).toMatchObject({
    projection: 'shop/front',
    revocationHead: 1,
    trustSequence: 1,
    problems: [],
    policyDigest: digestOf(INVOICES),
  })
  expect(fed.store.installed()?.generation).toBe(1)

  world = { ...world, log: log('alice', 'bob') }
  stage.publisher.update(world)
  await eventually(() => state()?.revocationHead === 2, 'the revocation is acknowledged')
  expect(fed.revocations.head).toBe(2)

  const next = (cluster: Cluster) => {
    world = worldOf({ cluster, table: world.table, trust: TRUST, blobs, log: world.log })
    stage.publisher.update(world)
  }
  next(clusterOf(BROKEN, [KEY]))
  await eventually(() => (state()?.problems.length ?? 0) > 0, 'it is refused')
  expect(state()).toMatchObject({ generation: 1, policyDigest: digestOf(INVOICES) })
  expect(fed.store.installed()?.generation).toBe(1)

  next(clusterOf(EDITED, [KEY, NEXT]))
  await eventually(() => state()?.generation === 3, 'the repaired one is acknowledged')
  expect(state()).toMatchObject({ problems: [], policyDigest: digestOf(EDITED) })
  expect(kids(fed)).toEqual(['k1', 'k2'])

  next(shop(['a'], put('accessPolicies', 'shop/front', undefined)))
  await eventually(() => state()?.generation === 4, 'it is withheld')
  expect(fed.store.withheld()).toMatch(/^no AccessPolicy selects this pod/)
})

test('a key that a real sidecar does not know is there when the answer comes', async () => {
  let fetch = (): void => undefined
  const rotated = clusterOf(INVOICES, [KEY, NEXT])
  await using both = await openBoth({
    refreshKeys: async () => {
      fetch()
      return { fetched: true, sha256: rotated.keySets.get('shop/idp')?.sha256 ?? '' }
    },
  })
  const { stage, fed, feed, signal } = both
  const first = worldOf({ cluster: clusterOf(INVOICES, [KEY]), trust: TRUST, blobs })
  fetch = () => {
    stage.publisher.update(worldOf({ cluster: rotated, table: first.table, trust: TRUST, blobs }))
  }
  stage.publisher.update(first)
  await eventually(() => stage.publisher.states()[0]?.generation === 1, 'served')
  expect(await feed.refreshKeys(ISSUER, signal, 'k2')).toBe(true)
  expect(kids(fed)).toEqual(['k1', 'k2'])
})

test('an operator that forgot is taught by a real sidecar, which goes on with everything it knew', async () => {
  const cluster = clusterOf(INVOICES, [KEY])
  await using before = await openBoth()
  const high = raise(EMPTY_TABLE, 50)
  before.stage.publisher.update(
    worldOf({ cluster, trust: TRUST, blobs, log: log('alice', 'bob'), table: high }),
  )
  await eventually(() => before.feed.stream.connected(), 'connected')
  await eventually(() => (before.stage.publisher.states()[0]?.generation ?? 0) > 50, 'served')

  // Another operator, with the database of yesterday, on the stream that the sidecar opens next.
  let world = worldOf({ cluster, trust: TRUST, blobs, log: log('alice') })
  const told: string[] = []
  const after = await openStage({
    config: { heartbeatMs: 100 },
    ports: {
      recalled: async ({ revocationHead, generation, entries }) => {
        told.push(...entries.map(({ id }) => id))
        const merged = merge(world.log, [{ head: revocationHead, entries }])
        if (!merged.ok) return { why: merged.why, full: true }
        world = worldOf({
          cluster,
          trust: TRUST,
          blobs,
          log: merged.log,
          table: raise(world.table, generation),
        })
        after.publisher.update(world)
        return undefined
      },
    },
  })
  after.publisher.update(world)
  before.redirect(after.port)
  before.stage.stop()
  await eventually(
    () => (after.publisher.states()[0]?.generation ?? 0) > 50,
    'served again, under a higher number',
  )
  expect(told.sort()).toEqual(['alice', 'bob'])
  expect([...world.log.live.keys()].sort()).toEqual(['alice', 'bob'])
  await eventually(() => before.feed.stream.connected(), 'connected again')
  expect(before.fed.revocations.head).toBe(world.log.head)
  expect(before.fed.revocations.size).toBe(2)
  await after[Symbol.asyncDispose]()
})

test('000-17, 004-24: what one sidecar revokes is in the log when it is told so, and every other one denies it', async () => {
  let publish = (_entries: readonly Revocation[]): void => undefined
  await using both = await openBoth({
    append: async ({ entries, podUid }) => {
      expect(podUid).toBe(uidOf('shop/a'))
      publish(entries)
      return { outcome: AppendOutcome.APPEND_OUTCOME_STORED, why: '' }
    },
  })
  const { stage, fed, feed, signal } = both
  let world = worldOf({ cluster: clusterOf(INVOICES, [KEY]), trust: TRUST, blobs })
  publish = (entries) => {
    const appended = append(world.log, changesFor(world.log, entries))
    if (!appended.ok) throw new Error(appended.why)
    world = { ...world, log: appended.log }
    stage.publisher.update(world)
  }
  stage.publisher.update(world)
  await eventually(() => stage.publisher.states()[0]?.generation === 1, 'served')
  const deny = denyFirst(fed.local, () => fed.store.installed()?.issuers, feed.revoke)
  const session = { kind: 'sid', value: 's-1', issuedBeforeMs: 0, expiresAtMs: Date.now() + 60_000 } as const
  expect(await deny({ ...session, issuer: ISSUER }, Date.now(), signal)).toBe('stored')
  await eventually(() => fed.revocations.head === 1, 'it comes back')
  // Kept under the same id, so that it is one entry wherever it came from.
  const [told] = [...fed.believe.recall()].flatMap(({ entries }) => entries)
  expect(told?.id).toBe([...world.log.live.keys()][0])
  expect(await deny({ ...session, issuer: 'https://other.example' }, Date.now(), signal)).toBe('refused')
})

test('what was made by machines comes back after a restore, although no sidecar has kept its text', async () => {
  const cluster = clusterOf(INVOICES, [KEY])
  await using before = await openBoth()
  const session: Revocation = { ...entry('x'), id: '', subject: { $case: 'sid', sid: 's-1' } }
  const full = append(EMPTY_LOG, changesFor(EMPTY_LOG, [session]))
  if (!full.ok) throw new Error(full.why)
  before.stage.publisher.update(worldOf({ cluster, trust: TRUST, blobs, log: full.log }))
  await eventually(() => before.fed.revocations.head === 1, 'known')

  let world = worldOf({ cluster, trust: TRUST, blobs })
  await using after = await openStage({
    config: { heartbeatMs: 100 },
    ports: {
      recalled: async ({ revocationHead, generation, entries }) => {
        const merged = merge(world.log, [{ head: revocationHead, entries }])
        if (!merged.ok) return { why: merged.why, full: true }
        world = { ...world, log: merged.log, table: raise(world.table, generation) }
        after.publisher.update(world)
        return undefined
      },
    },
  })
  after.publisher.update(world)
  before.redirect(after.port)
  before.stage.stop()
  await eventually(() => world.log.live.size === 1, 'taken back')
  expect([...world.log.live.keys()]).toEqual([...full.log.live.keys()])
  // A sidecar that begins now is told by fingerprint, and denies the session by its name.
  const fresh = createRevocations()
  const entries = [...world.log.live.values()].map((one) => one.entry)
  expect(fresh.apply({ base: 0, head: 1, entries, removed: [] })).toEqual([])
  const who = caller({ issuer: ISSUER })
  expect(fresh.against(who, { source: 'shop/idp', sid: 's-1' }, Date.now())).toBe('revoked_sid')
  expect(fresh.against(who, { source: 'shop/idp', sid: 's-2' }, Date.now())).toBeUndefined()
})
