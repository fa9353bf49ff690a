import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { LiveIdentity } from '../../contracts/redis/credentials.ts'
import type { RedisLimits, RedisSettings } from '../../contracts/redis/settings.ts'
import type { Trouble } from '../../contracts/redis/trouble.ts'
import { createRedis, type Redis } from '../../contracts/redis.ts'
import { createSharedFamilies, type FamilyRedisPlan } from '../../sidecar/grants/family-redis.ts'
import type { Spent } from '../../sidecar/trust/replay.ts'
import { createSharedReplay } from '../../sidecar/trust/replay-redis.ts'
import { createGuard, type Guard } from '../fixtures/families.ts'
import { until } from '../fixtures/process.ts'
import type { RedisCluster, SentinelSet } from '../fixtures/redis-server.ts'

// Our side of Redis, run against real servers, and the table of what came of each fault.

export const PREFIX = 'app'
// Longer than any run of this file needs, short enough to wait for.
export const WINDOW_MS = 1_500

export function settingsFor(port: number, over: Partial<RedisSettings> = {}): RedisSettings {
  return {
    mode: 'standalone',
    nodes: [{ host: '127.0.0.1', port }],
    sentinel: undefined,
    tls: undefined,
    username: undefined,
    passwordFile: undefined,
    keyPrefix: PREFIX,
    replicas: 0,
    ...over,
  }
}

export function sentinelSettings({ name, sentinels }: SentinelSet): RedisSettings {
  const nodes = sentinels.map(({ port }) => ({ host: '127.0.0.1', port }))
  const sentinel = { name, username: undefined, passwordFile: undefined }
  return settingsFor(0, { mode: 'sentinel', nodes, sentinel, replicas: 1 })
}

export function clusterSettings({ nodes }: RedisCluster): RedisSettings {
  const seeds = nodes.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port }))
  return settingsFor(0, { mode: 'cluster', nodes: seeds, replicas: 1 })
}

// This machine is shared: seconds may pass without any fault.
const PATIENT = { commandMs: 10_000, socketMs: 20_000 }

export interface Link extends AsyncDisposable {
  readonly redis: Redis
  readonly reports: { readonly address: string; readonly trouble: Trouble | undefined }[]
  connected(withinMs?: number): Promise<void>
}

export function openLink(
  settings: RedisSettings,
  limits: Partial<RedisLimits> = {},
  identity?: () => LiveIdentity | undefined,
): Link {
  const life = new AbortController()
  const reports: Link['reports'] = []
  const redis = createRedis(
    settings,
    {
      readFile: (path) => readFile(path),
      sleep: (ms, signal) => delay(ms, undefined, { signal }),
      random: Math.random,
      report: (facts) => reports.push(facts),
      ...(identity ? { identity } : {}),
    },
    { ...PATIENT, ...limits },
  )
  const running = redis.run(life.signal)
  return {
    redis,
    reports,
    connected: async (withinMs = 60_000) =>
      void (await until('Redis', () => redis.troubles().length === 0 || undefined, { withinMs })),
    [Symbol.asyncDispose]: async () => {
      life.abort()
      await running
    },
  }
}

export interface Memory {
  spend(key: Buffer): Promise<Spent>
  // A new key.
  fresh(): Promise<Spent>
  unavailable(): ReadonlyMap<Trouble, number>
}

export function replayOver({ redis }: Link, windowMs = WINDOW_MS): Memory {
  const replay = createSharedReplay(redis, PREFIX, { part: 'rp', windowMs })
  const spend = async (key: Buffer) => replay.spend(key, windowMs, () => AbortSignal.timeout(30_000))
  return { spend, fresh: () => spend(randomBytes(32)), unavailable: () => replay.counts().unavailable }
}

// Waits until the memory has been without gaps for its window, in every part.
export async function trusted(memory: Memory, withinMs = 60_000): Promise<void> {
  await Promise.all(
    Array.from({ length: 64 }, (_, part) =>
      until(
        `trust in part ${part}`,
        async () => {
          const key = randomBytes(32)
          key[0] = part
          return (await memory.spend(key)) === 'fresh' || undefined
        },
        { withinMs, everyMs: 100 },
      ),
    ),
  )
}

export interface SharedGuard extends Guard, AsyncDisposable {}

export function guardOver({ redis }: Link, over: Partial<FamilyRedisPlan> = {}): SharedGuard {
  const plan = { keyPrefix: PREFIX, replicas: 0, quarantineMs: WINDOW_MS, journalMs: 30_000, ...over }
  const life = new AbortController()
  const sleep = (ms: number, signal: AbortSignal) => delay(ms, undefined, { signal })
  let running: Promise<void> = Promise.resolve()
  const guard = createGuard(() => {
    const families = createSharedFamilies({ redis, wall: Date.now, sleep }, plan)
    running = families.run(life.signal)
    return families
  }, Date.now())
  return Object.assign(guard, {
    [Symbol.asyncDispose]: async () => {
      life.abort()
      await running
    },
  })
}

const rows: string[] = []

export function observed(fault: string, what: string, came: string): void {
  rows.push(`| ${fault} | ${what} | ${came} |`)
}

export function printTable(): void {
  process.stdout.write(`\n| fault | injected | observed |\n|---|---|---|\n${rows.join('\n')}\n`)
}

// How many of so many answers waited for anything: a timer, a socket, a turn of the event loop.
export async function waited(count: number, ask: () => Promise<Spent>): Promise<number> {
  let late = 0
  for (let turn = 0; turn < count; turn++) {
    const turned = new Promise<true>((resolve) => setImmediate(resolve, true))
    if ((await Promise.race([ask(), turned])) === true) late++
  }
  return late
}
