import { createHash, randomBytes } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createLane } from '../../../operator/publish/lane.ts'
import type { Recollection } from '../../../operator/publish/settings.ts'
import { raise } from '../../../operator/state/generations.ts'
import {
  append,
  beginTerm,
  EMPTY_LOG,
  merge,
  type RevocationLog,
} from '../../../operator/state/revocation-log.ts'
import { accessPolicy, bundle, fold, keys, pod, put, shop, tokenIssuer, uidOf } from '../state/objects.ts'
import {
  eventually,
  NOTHING,
  type Obedient,
  obedient,
  openStage,
  podId,
  subscribe,
  worldOf,
} from './stage.ts'

const UID = uidOf('shop/a')

const entry = (id: string, issuer = 'https://idp.example', source = 'shop/idp'): Revocation => ({
  id,
  issuer,
  subject: { $case: 'jti', jti: id },
  issuedBeforeMs: 0,
  expiresAtMs: 9_000_000_000_000,
  source,
})

function log(from: RevocationLog, ...ids: readonly string[]): RevocationLog {
  const result = append(
    from,
    ids.map((id) => ({ op: 'add', entry: entry(id), recalled: false })),
  )
  if (!result.ok) throw new Error(result.why)
  return result.log
}

const hash = (content: Buffer): Buffer => createHash('sha256').update(content).digest()

describe('files', () => {
  const big = randomBytes(8 * 1024 * 1024)
  const blobs = new Map([big, Buffer.from('r1')].map((one) => [hash(one).toString('hex'), one]))
  const cluster = shop(['a', 'b'], put('bundles', 'shop/rules', bundle('r1', { 'data.json': big })))

  const fetched = async (sidecar: Obedient): Promise<Buffer> => {
    const parts: Buffer[] = []
    let size = 0
    sidecar.on(({ response }) => {
      if (response.$case !== 'chunk') return
      expect(response.chunk.offset).toBe(size)
      expect(response.chunk.content.length).toBeLessThanOrEqual(64 * 1024)
      parts.push(response.chunk.content)
      size += response.chunk.content.length
    })
    await eventually(() => size === big.length, 'the file is there')
    return Buffer.concat(parts)
  }

  test('come in parts and whole, and heartbeats and a revocation overtake them', async () => {
    await using stage = await openStage({ config: { heartbeatMs: 20 } })
    const world = worldOf({ cluster, blobs })
    stage.publisher.update(world)
    const a = stage.sidecar('a')
    await a.until('snapshot')
    const whole = fetched(a)
    a.send({ $case: 'want', want: { sha256: hash(big) } })
    await a.until('chunk')
    stage.publisher.update({ ...world, log: log(EMPTY_LOG, 'x') })
    await a.until('revocations', ({ revocations }) => revocations.head === 1)
    const before = a.received.filter(({ response }) => response.$case === 'chunk').length
    expect(before).toBeLessThan(big.length / (64 * 1024))
    expect((await whole).equals(big)).toBe(true)
    const kinds = a.received.map(({ response }) => response.$case)
    const [first, last] = [kinds.indexOf('chunk'), kinds.lastIndexOf('chunk')]
    expect(kinds.slice(first, last)).toContain('heartbeat')
  })

  test('a sidecar that does not read costs little memory and delays nobody', async () => {
    await using stage = await openStage({ config: { heartbeatMs: 50 } })
    const world = worldOf({ cluster, blobs })
    stage.publisher.update(world)
    const slow = stage.sidecar('a')
    await slow.until('snapshot')
    slow.send({ $case: 'want', want: { sha256: hash(big) } })
    slow.pause()
    const quick = stage.sidecar('b')
    await quick.until('snapshot')
    const growing = process.memoryUsage.rss()
    for (let index = 1; index <= 200; index++) {
      stage.publisher.update({
        ...world,
        log: log(EMPTY_LOG, ...Array.from({ length: index }, (_, n) => `${n}`)),
      })
    }
    await quick.until('revocations', ({ revocations }) => revocations.head === 200)
    expect(
      slow.received.some(({ response }) => response.$case === 'chunk' && response.chunk.offset > 1024 * 1024),
    ).toBe(false)
    expect(process.memoryUsage.rss() - growing).toBeLessThan(128 * 1024 * 1024)
    // What waited for it coalesced: it is told all of it in one message.
    slow.resume()
    await slow.until('revocations', ({ revocations }) => revocations.head === 200)
    expect(slow.received.filter(({ response }) => response.$case === 'revocations').length).toBeLessThan(5)
  })
})

test('a lane sends one frame at a time, the most urgent at that moment, and no second heartbeat into a full pipe', () => {
  const written: { readonly frame: string; readonly done: () => void }[] = []
  const queue = ['a', 'b']
  let at = 0
  const lane = createLane(
    { write: (frame, done) => written.push({ frame: frame.toString(), done }) > 0 },
    () => {
      const next = queue.shift()
      return next === undefined ? undefined : Buffer.from(next)
    },
    () => at,
  )
  lane.wake()
  lane.wake()
  queue.unshift('urgent')
  lane.beat(Buffer.from('beat'))
  lane.beat(Buffer.from('beat'))
  at = 7
  expect(written.map(({ frame }) => frame)).toEqual(['a', 'beat'])
  expect(lane.stalledMs()).toBe(7)
  written[0]?.done()
  expect(written.map(({ frame }) => frame)).toEqual(['a', 'beat', 'urgent'])
  lane.close()
  written[2]?.done()
  lane.beat(Buffer.from('beat'))
  expect(written).toHaveLength(3)
})

describe('a stream that takes too long is ended', () => {
  const opened = async (config: object = {}) => {
    let offset = 0
    const stage = await openStage({
      config: { heartbeatMs: 20, ...config },
      ports: { monotonic: () => performance.now() + offset },
    })
    stage.publisher.update(worldOf({ cluster, blobs }))
    return {
      stage,
      /** Time passes; with a sign of life, and everybody looked at before and after. */
      passes: async (ms: number, alive?: Obedient) => {
        alive?.send({ $case: 'held', held: alive.held() })
        await new Promise((resolve) => setTimeout(resolve, 100))
        offset += ms
        await new Promise((resolve) => setTimeout(resolve, 100))
      },
    }
  }
  const big = randomBytes(8 * 1024 * 1024)
  const blobs = new Map([big, Buffer.from('r1')].map((one) => [hash(one).toString('hex'), one]))
  const cluster = shop(['a', 'b'], put('bundles', 'shop/rules', bundle('r1', { 'data.json': big })))

  test('heard of nothing for half a minute', async () => {
    const { stage, passes } = await opened()
    await using _ = stage
    const [a, b] = [stage.sidecar('a'), stage.sidecar('b')]
    await Promise.all([a.until('snapshot'), b.until('snapshot')])
    await passes(20_000, b)
    await passes(0, b)
    await passes(11_000, b)
    expect((await a.ended).code).toBe(status.DEADLINE_EXCEEDED)
    expect(stage.publisher.status().streams).toBe(1)
  })

  test('at its age, so that load spreads', async () => {
    const { stage, passes } = await opened({ streamAgeMs: 10_000 })
    await using _ = stage
    const a = stage.sidecar('a')
    await a.until('snapshot')
    await passes(6_000)
    expect(stage.publisher.status().streams).toBe(1)
    await passes(5_100)
    expect((await a.ended).code).toBe(status.UNAVAILABLE)
  })

  test('that is not read, though its sidecar lives', async () => {
    const { stage, passes } = await opened()
    await using _ = stage
    const a = stage.sidecar('a')
    await a.until('snapshot')
    a.send({ $case: 'want', want: { sha256: hash(big) } })
    a.pause()
    await passes(29_000, a)
    expect(stage.publisher.status().streams).toBe(1)
    await passes(2_000, a)
    await eventually(() => stage.publisher.status().streams === 0, 'it is given up')
    a.resume()
    expect((await a.ended).code).toBe(status.RESOURCE_EXHAUSTED)
  })

  test('that answers nothing, though its sidecar lives', async () => {
    const { stage, passes } = await opened()
    await using _ = stage
    const mute = stage.subscribe(podId(UID))
    mute.send({ $case: 'hello', hello: { held: NOTHING, version: '0' } })
    await mute.until('snapshot')
    const alive = { ...mute, held: () => NOTHING }
    for (let passed = 0; passed < 60; passed += 15) await passes(15_000, alive)
    await passes(1_000, alive)
    expect(await mute.ended).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: expect.stringMatching(/not acknowledged/),
    })
  })

  test('that never says hello', async () => {
    const { stage, passes } = await opened()
    await using _ = stage
    const mute = stage.subscribe(podId(UID))
    await eventually(() => stage.publisher.status().streams === 1, 'it is there')
    await passes(11_000)
    expect((await mute.ended).code).toBe(status.DEADLINE_EXCEEDED)
  })
})

describe('heartbeats', () => {
  test('stop as soon as this replica may not vouch, and go on when it may', async () => {
    let vouching = false
    await using stage = await openStage({ config: { heartbeatMs: 20 }, ports: { mayVouch: () => vouching } })
    stage.publisher.update(worldOf({ cluster: shop(['a']) }))
    const a = stage.sidecar('a')
    await a.until('snapshot')
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(a.received.filter(({ response }) => response.$case === 'heartbeat')).toEqual([])
    vouching = true
    await a.until('heartbeat')
  })
})

describe('unknown kids', () => {
  test('a flood of questions costs few fetches, each answered, and only one at a time', async () => {
    let [fetches, atOnce, most] = [0, 0, 0]
    await using stage = await openStage({
      ports: {
        refreshKeys: async () => {
          fetches++
          most = Math.max(most, ++atOnce)
          await new Promise((resolve) => setTimeout(resolve, 50))
          atOnce--
          return { fetched: true, sha256: keys('{"keys":[]}').sha256 }
        },
      },
    })
    const names = Array.from({ length: 10 }, (_, index) => `p${index}`)
    stage.publisher.update(worldOf({ cluster: shop(names) }))
    const fleet = names.map((name) => stage.sidecar(name))
    await Promise.all(fleet.map((one) => one.until('snapshot')))
    const asked = performance.now()
    for (const one of fleet) {
      for (let question = 1; question <= 60; question++) {
        one.send({
          $case: 'kidUnknown',
          kidUnknown: { question, issuer: 'https://idp.example', kid: `junk${question}` },
        })
      }
    }
    await Promise.all(
      fleet.map((one) => one.until('keysChecked', ({ keysChecked }) => keysChecked.question === 60)),
    )
    const answers = fleet.flatMap(({ received }) =>
      received.filter(({ response }) => response.$case === 'keysChecked'),
    )
    expect(answers).toHaveLength(600)
    expect(most).toBe(1)
    expect(fetches).toBeLessThanOrEqual((performance.now() - asked) / 50 + 1)
  })

  test.each([
    ['an issuer that this sidecar is not to believe', 'https://other.example', 'k', 1],
    ['a kid longer than any', 'https://idp.example', 'k'.repeat(257), 1],
  ])('about %s are answered at once, without a fetch', async (_, issuer, kid, question) => {
    let fetches = 0
    await using stage = await openStage({
      ports: {
        refreshKeys: async () => {
          fetches++
          return { fetched: true, sha256: '' }
        },
      },
    })
    stage.publisher.update(worldOf({ cluster: shop(['a']) }))
    const a = stage.sidecar('a')
    await a.until('snapshot')
    a.send({ $case: 'kidUnknown', kidUnknown: { question, issuer, kid } })
    expect((await a.until('keysChecked')).response.keysChecked).toEqual({ question: 1, fetched: false })
    expect(fetches).toBe(0)
  })

  test('the answer comes after the keys are in effect, not before', async () => {
    const rotated = keys('{"keys":[{"kid":"new"}]}')
    const first = worldOf({ cluster: shop(['a']) })
    let change = (): void => undefined
    await using stage = await openStage({
      ports: {
        refreshKeys: async () => {
          change()
          return { fetched: true, sha256: rotated.sha256 }
        },
      },
    })
    change = () => {
      stage.publisher.update(
        worldOf({ cluster: shop(['a'], put('keySets', 'shop/idp', rotated)), table: first.table }),
      )
    }
    stage.publisher.update(first)
    const a = stage.sidecar('a')
    await a.until('snapshot')
    a.send({ $case: 'kidUnknown', kidUnknown: { question: 9, issuer: 'https://idp.example', kid: 'new' } })
    expect((await a.until('keysChecked')).response.keysChecked).toEqual({ question: 9, fetched: true })
    expect(a.held().generation).toBe(2)
  })

  test('a fetch that fails, or whose keys never arrive, is said to have failed', async () => {
    let offset = 0
    await using stage = await openStage({
      config: { heartbeatMs: 20 },
      ports: {
        monotonic: () => performance.now() + offset,
        refreshKeys: async (_, kid) => {
          if (kid === 'broken') throw new Error('no answer')
          return { fetched: true, sha256: 'f'.repeat(64) }
        },
      },
    })
    stage.publisher.update(worldOf({ cluster: shop(['a']) }))
    const a = stage.sidecar('a')
    await a.until('snapshot')
    const ask = (question: number, kid: string) =>
      a.send({ $case: 'kidUnknown', kidUnknown: { question, issuer: 'https://idp.example', kid } })
    ask(1, 'broken')
    expect((await a.until('keysChecked')).response.keysChecked).toEqual({ question: 1, fetched: false })
    ask(2, 'late')
    await new Promise((resolve) => setTimeout(resolve, 100))
    offset = 6_000
    const late = await a.until('keysChecked', ({ keysChecked }) => keysChecked.question === 2)
    expect(late.response.keysChecked.fetched).toBe(false)
  })
})

describe('a database that was restored to an older state', () => {
  const cluster = shop(
    ['a', 'b', 'c'],
    put('tokenIssuers', 'other/foreign', tokenIssuer('other', 'foreign')),
    put('bundles', 'other/rules', bundle('r1')),
    put(
      'accessPolicies',
      'other/theirs',
      accessPolicy('other', 'theirs', { issuers: [{ name: 'foreign' }] }),
    ),
  )
  const old = worldOf({ cluster, log: log(EMPTY_LOG, 'x') })
  const recalling = (client: Obedient, entries: readonly Revocation[]) =>
    client.on(({ response }) => {
      if (response.$case !== 'recall') return
      const held = client.held()
      const revocations = { base: 0, head: held.revocationHead, entries: [...entries], removed: [] }
      client.send({ $case: 'recalled', recalled: { held, revocations } })
    })

  test('is relearnt from the fleet before anything is served, and only what a sidecar may say is believed', async () => {
    const restored = { ...old, log: beginTerm(old.log, 0.5) }
    const told: Recollection[] = []
    let world = restored
    let stored = (): void => undefined
    const storing = new Promise<void>((resolve) => {
      stored = resolve
    })
    await using stage = await openStage({
      config: { heartbeatMs: 20 },
      ports: {
        recalled: async (what) => {
          told.push(what)
          await storing
          const merged = merge(world.log, [{ head: what.revocationHead, entries: what.entries }])
          if (!merged.ok) return { why: merged.why, full: true }
          world = worldOf({ cluster, log: merged.log, table: raise(world.table, what.generation) })
          stage.publisher.update(world)
          return undefined
        },
      },
    })
    stage.publisher.update(world)
    const a = stage.sidecar('a', { generation: 40, revocationHead: 3, trustSequence: 1 })
    recalling(a, [
      entry('x'),
      entry('y'),
      entry('z', 'https://foreign.example', 'other/foreign'),
      entry('v', 'https://idp.example', 'other/foreign'),
      { ...entry('w'), subject: undefined },
    ])
    await eventually(() => told.length === 1, 'it was asked')
    // Nobody is vouched for, and nobody new is served, while it is not known what was forgotten.
    const b = stage.sidecar('b')
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(b.received.map(({ response }) => response.$case)).not.toContain('snapshot')
    expect(b.received.map(({ response }) => response.$case)).not.toContain('heartbeat')
    expect(stage.publisher.status().recalling).toBe(1)
    stored()
    const full = await a.until('revocations', ({ revocations }) => revocations.head > 3)
    expect(full.response.revocations.base).toBe(0)
    expect(full.response.revocations.entries.map(({ id }) => id)).toEqual(['x', 'y'])
    await a.until('snapshot', ({ snapshot }) => snapshot.generation > 40)
    await b.until('snapshot', ({ snapshot }) => snapshot.generation > 40)
    await b.until('heartbeat')
    expect(told[0]).toMatchObject({ pod: { uid: UID }, generation: 40, revocationHead: 3 })
    expect(stage.reports).toContainEqual({
      event: 'recalled_entries_refused',
      facts: { pod: UID, refused: 3 },
    })
  })

  test('a sidecar that never answers, or claims again and again, holds nobody up', async () => {
    let offset = 0
    await using stage = await openStage({
      config: { heartbeatMs: 20 },
      ports: { monotonic: () => performance.now() + offset, recalled: async () => undefined },
    })
    stage.publisher.update(old)
    const liar = stage.sidecar('a', { revocationHead: 99 })
    await liar.until('recall')
    const b = stage.sidecar('b')
    await b.until('trustBundle')
    offset = 4_000
    expect((await liar.ended).code).toBe(status.DEADLINE_EXCEEDED)
    await b.until('snapshot')
    await b.until('heartbeat')
    expect((await stage.sidecar('a', { revocationHead: 99 }).ended).code).toBe(status.FAILED_PRECONDITION)
    expect(stage.reports.map(({ event }) => event)).toEqual(['sidecar_knows_more', 'sidecar_claim_refused'])
  })

  describe('who believes no issuer that it may speak of goes on', () => {
    const apart = fold(cluster, [
      put('keySets', 'other/foreign', keys('{"keys":[]}')),
      ...['o', 'p'].map((name) => put('pods', uidOf(`other/${name}`), pod('other', name))),
    ])
    const beats = ({ received }: Obedient) =>
      received.filter(({ response }) => response.$case === 'heartbeat').length
    const others = async (stage: Awaited<ReturnType<typeof openStage>>) => {
      stage.publisher.update(worldOf({ cluster: apart, log: old.log }))
      const [b, o] = [stage.sidecar('b'), obedient(stage.subscribe(podId(uidOf('other/o'))))]
      await Promise.all([
        b.until('heartbeat'),
        o.until('heartbeat'),
        b.until('snapshot'),
        o.until('snapshot'),
      ])
      return { b, o }
    }
    /** Heartbeats of each while so many come to the one who goes on. */
    const during = async (going: Obedient, ...clients: readonly Obedient[]) => {
      await new Promise((resolve) => setTimeout(resolve, 60))
      const before = clients.map(beats)
      const enough = beats(going) + 5
      await eventually(() => beats(going) >= enough, 'heartbeats')
      return clients.map((client, index) => beats(client) - (before[index] ?? 0))
    }

    test('while it is asked; one of which nobody knows what it believes waits', async () => {
      await using stage = await openStage({ config: { heartbeatMs: 20 } })
      const { b, o } = await others(stage)
      await stage.sidecar('a', { revocationHead: 99 }).until('recall')
      const p = obedient(stage.subscribe(podId(uidOf('other/p'))))
      await p.until('revocations')
      expect(await during(o, b, p)).toEqual([0, 0])
    })

    test('while what it told is not stored', async () => {
      let doubts = new Set<string>()
      await using stage = await openStage({
        config: { heartbeatMs: 20 },
        ports: { doubted: () => doubts },
      })
      const { b, o } = await others(stage)
      doubts = new Set(['shop/idp'])
      expect(await during(o, b)).toEqual([0])
      for (const one of ['other/foreign', uidOf('other/o')]) {
        doubts = new Set([one])
        expect(await during(b, o)).toEqual([0])
      }
    })

    test('and where there is no room for it, it is not asked again for a minute', async () => {
      await using stage = await openStage({
        ports: { recalled: async () => ({ why: 'log is full', full: true }) },
      })
      stage.publisher.update(old)
      const client = stage.sidecar('a', { revocationHead: 99 })
      recalling(client, [])
      expect((await client.ended).details).toMatch(/log is full/)
      expect((await stage.sidecar('a', { revocationHead: 99 }).ended).code).toBe(status.FAILED_PRECONDITION)
    })
  })

  test('what cannot be stored is asked for again, and meanwhile that sidecar is not served', async () => {
    await using stage = await openStage({
      config: { heartbeatMs: 20 },
      ports: {
        recalled: async () => {
          throw new Error('the API server is away')
        },
      },
    })
    stage.publisher.update(old)
    for (const _ of [1, 2]) {
      const client = stage.sidecar('a', { revocationHead: 99 })
      recalling(client, [])
      const { code, details } = await client.ended
      expect(code).toBe(status.UNAVAILABLE)
      expect(details).toMatch(/the API server is away/)
      expect(client.received.map(({ response }) => response.$case)).toEqual(['recall'])
    }
  })
})

test('a replica that goes sends everybody away, to connect elsewhere', async () => {
  await using stage = await openStage()
  stage.publisher.update(worldOf({ cluster: shop(['a']) }))
  const a = stage.sidecar('a')
  await a.until('snapshot')
  stage.stop()
  expect((await a.ended).code).toBe(status.UNAVAILABLE)
  expect((await stage.sidecar('a').ended).code).toBe(status.UNAVAILABLE)
})

test('bytes that are no request end the stream', async () => {
  await using stage = await openStage()
  stage.publisher.update(worldOf({ cluster: shop(['a']) }))
  const client = subscribe(stage.port, podId(UID))
  client.send({ $case: 'hello', hello: { held: NOTHING, version: '0' } })
  client.send(undefined as never)
  expect((await client.ended).code).toBe(status.INVALID_ARGUMENT)
  client.close()
})
