// The revocation log in a real Redis: one log for all replicas, fenced; and whatever Redis loses is taken back.
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { RedisSettings } from '../../contracts/redis/settings.ts'
import { createRedis } from '../../contracts/redis.ts'
import { createMemory } from '../../operator/control/memory.ts'
import { createRedisLog, type RedisLog } from '../../operator/ledger/redis-log.ts'
import { EMPTY_TABLE } from '../../operator/state/generations.ts'
import {
  append,
  beginTerm,
  compact,
  EMPTY_LOG,
  merge,
  type RevocationLog,
} from '../../operator/state/revocation-log.ts'
import { until } from '../fixtures/process.ts'
import { type RedisServer, startRedis, startSentinelSet } from '../fixtures/redis-server.ts'

const KEY = 'portcullis:{revocations/cluster.example}'
const life = { current: new AbortController() }
let before: RevocationLog
beforeEach(() => {
  life.current = new AbortController()
  before = EMPTY_LOG
})
afterEach(() => life.current.abort())

const settings = (change: Partial<RedisSettings>): RedisSettings => ({
  mode: 'standalone',
  nodes: [],
  sentinel: undefined,
  tls: undefined,
  username: undefined,
  passwordFile: undefined,
  keyPrefix: 'portcullis',
  replicas: 0,
  ...change,
})
const clocks = {
  now: Date.now,
  monotonic: () => performance.now(),
  random: Math.random,
  sleep: (ms: number, signal: AbortSignal) => delay(ms, undefined, { signal, ref: false }),
}

/** One replica of the operator, as far as the log is concerned. */
function replica(to: RedisSettings): RedisLog {
  const { signal } = life.current
  const redis = createRedis(
    to,
    { ...clocks, readFile: async () => Buffer.alloc(0), report: () => undefined },
    // This machine is shared: seconds may pass without any fault.
    { commandMs: 10_000, socketMs: 20_000 },
  )
  const logs = createRedisLog({ ...clocks, redis, key: KEY, before: () => before, report: () => undefined })
  redis.run(signal).catch(() => undefined)
  logs.run(signal).catch(() => undefined)
  return logs
}
const at = (server: RedisServer) => settings({ nodes: [{ host: '127.0.0.1', port: server.port }] })
const read = (logs: RedisLog) =>
  until('a log', () => {
    const log = logs.current()
    return typeof log === 'string' ? undefined : log
  })
const holding = (logs: RedisLog, ...ids: readonly string[]) =>
  until(`a log with ${ids.join()}`, () => {
    const log = logs.current()
    return typeof log !== 'string' && ids.every((id) => log.live.has(id)) ? log : undefined
  })

const entry = (id: string): Revocation => ({
  id,
  source: 'shop/idp',
  issuer: 'https://idp.example',
  subject: { $case: 'sid', sid: id },
  issuedBeforeMs: 0,
  expiresAtMs: 9_000_000_000_000,
})
function added(log: RevocationLog, ...ids: readonly string[]): RevocationLog {
  const result = append(
    log,
    ids.map((id) => ({ op: 'add', entry: entry(id), recalled: true })),
  )
  if (!result.ok) throw new Error(result.why)
  return result.log
}
const never = new AbortController().signal
const leader = (logs: RedisLog, term: number) => logs.through(undefined as never, term)

describe('one server', () => {
  let server: RedisServer
  beforeEach(async () => {
    server = await startRedis()
  })
  afterEach(() => server[Symbol.asyncDispose]())

  test('what a leader stores is read by the other replicas, also by one that comes later', async () => {
    const [one, two] = [replica(at(server)), replica(at(server))]
    const mine = leader(one, 1)
    expect(await mine.store(beginTerm(await read(one), 0), never)).toBe(true)
    expect(await mine.store(added(await read(one), 'a', 'b'), never)).toBe(true)
    expect(one.current()).toMatchObject({ head: (await holding(two, 'a', 'b')).head })
    const three = await holding(replica(at(server)), 'a', 'b')
    expect(three).toEqual(one.current())
  })

  test('two that store at once: one of them is told to look again, and nothing is lost', async () => {
    const [one, two] = [replica(at(server)), replica(at(server))]
    await leader(one, 1).store(added(await read(one), 'first'), never)
    await holding(two, 'first')
    const stored = await Promise.all([
      leader(one, 1).store(added(await read(one), 'a'), never),
      leader(two, 1).store(added(await read(two), 'b'), never),
    ])
    expect(stored.filter(Boolean)).toHaveLength(1)
    const [winner] = stored[0] ? ['a'] : ['b']
    await holding(one, winner ?? '')
    await holding(two, winner ?? '')
    expect((await read(one)).live.size).toBe(2)
    expect(await read(two)).toEqual(await read(one))
  })

  test('a leader whose term is over stores nothing', async () => {
    const [old, next] = [replica(at(server)), replica(at(server))]
    const former = leader(old, 1)
    await former.store(added(await read(old), 'a'), never)
    await holding(next, 'a')
    expect(await leader(next, 2).store(beginTerm(await read(next), 0), never)).toBe(true)
    const { head } = await read(next)
    await until('the other one sees it', async () => (await read(old)).head === head || undefined)
    expect(await former.store(added(await read(old), 'late'), never)).toBe(false)
    expect((await read(old)).live.has('late')).toBe(false)
  })

  test('a Lease that was deleted counts from the beginning, and its leader stores all the same', async () => {
    const [before, after] = [replica(at(server)), replica(at(server))]
    const former = leader(before, 7)
    expect(await former.store(added(await read(before), 'a'), never)).toBe(true)
    await holding(after, 'a')
    const mine = leader(after, 0)
    expect(await mine.store(added(await read(after), 'b'), never)).toBe(true)
    expect(await mine.store(added(await read(after), 'c'), never)).toBe(true)
    await holding(before, 'c')
    expect(await former.store(added(await read(before), 'late'), never)).toBe(false)
  })

  test('a compaction cuts the stream and changes nothing that is in force', async () => {
    const one = replica(at(server))
    const mine = leader(one, 1)
    for (let round = 0; round < 20; round++) await mine.store(added(await read(one), `id-${round}`), never)
    expect(await mine.store(compact(await read(one), 0), never)).toBe(true)
    expect(Number(server.cli('xlen', KEY))).toBe(1)
    const later = await holding(replica(at(server)), 'id-0', 'id-19')
    expect(later.live.size).toBe(20)
    expect(await mine.store(added(await read(one), 'more'), never)).toBe(true)
  })

  test('where segments were before, the log goes on from them', async () => {
    before = added(beginTerm(EMPTY_LOG, 0.5), 'old')
    const one = replica(at(server))
    await until('the stream was read', () => (one.problem() === '' ? true : undefined))
    expect(await read(one)).toMatchObject({ head: before.head })
    await leader(one, 3).store(added(await read(one), 'new'), never)
    before = EMPTY_LOG
    expect((await holding(replica(at(server)), 'old', 'new')).head).toBe((await read(one)).head)
  })

  test('E2: Redis away: what was read still counts, and nothing is stored', async () => {
    const one = replica(at(server))
    await leader(one, 1).store(added(await read(one), 'a'), never)
    await server.kill()
    await until('it is noticed', () => one.problem() || undefined)
    expect((await read(one)).live.has('a')).toBe(true)
    expect(await leader(one, 1).store(added(await read(one), 'b'), never)).toBe(false)
    expect((await read(one)).live.has('b')).toBe(false)
  })

  test('attack 81: Redis comes back empty: a replica remembers, notices, and stores all of it again', async () => {
    const one = replica(at(server))
    const memory = createMemory()
    await leader(one, 1).store(added(await read(one), 'a', 'b'), never)
    const known = await holding(one, 'a', 'b')
    expect(memory.compare(known, EMPTY_TABLE)).toBeUndefined()
    await server.kill()
    await server.revive()
    const emptied = await until('the loss is seen', () => {
      const log = one.current()
      return typeof log !== 'string' && log.live.size === 0 ? log : undefined
    })
    const forgotten = memory.compare(emptied, EMPTY_TABLE)
    expect(forgotten?.log.live.size).toBe(2)
    const entries = [...known.live.values()].map((one) => one.entry)
    const merged = merge(emptied, [{ head: known.head, entries }])
    if (!merged.ok) throw new Error(merged.why)
    expect(await one.store(merged.log, never)).toBe(true)
    const again = await holding(replica(at(server)), 'a', 'b')
    expect(again.head).toBeGreaterThan(known.head)
    memory.forget()
    expect(memory.compare(again, EMPTY_TABLE)).toBeUndefined()
  })

  test('a stream that somebody wrote into denies what it denied before', async () => {
    const one = replica(at(server))
    await leader(one, 1).store(added(await read(one), 'a'), never)
    server.cli('xadd', KEY, '*', 'batch', '{"version":1,"term":9,"base":0,"head":9}')
    server.cli('xadd', KEY, '*', 'other', 'x', 'more', 'y')
    expect(await leader(one, 1).store(added(await read(one), 'b'), never)).toBe(true)
    expect((await holding(replica(at(server)), 'a', 'b')).live.size).toBe(2)
  })
})

test('E5: a failover of Sentinel: the log goes on, or what was lost is seen to be lost', async () => {
  await using set = await startSentinelSet(1)
  const sentinels = set.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
  const to = settings({
    mode: 'sentinel',
    nodes: sentinels,
    sentinel: { name: set.name, username: undefined, passwordFile: undefined },
  })
  const one = replica(to)
  const mine = leader(one, 1)
  await until(
    'the first store',
    async () => (await mine.store(added(await read(one), 'a'), never)) || undefined,
  )
  await until('the replica has it', () => Number(set.replicas[0]?.cli('xlen', KEY)) >= 1 || undefined)
  await set.loseMaster()
  let tries = 0
  await until(
    'a store after the failover',
    async () => {
      const log = one.current()
      return typeof log !== 'string' && (await mine.store(added(log, `b-${tries++}`), never))
        ? true
        : undefined
    },
    { withinMs: 30_000, everyMs: 200 },
  )
  const log = await read(one)
  expect(log.live.has('a')).toBe(true)
  expect(await holding(replica(to), ...log.live.keys())).toEqual(log)
}, 90_000)
