import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import type { Trouble } from '../../contracts/redis/trouble.ts'
import { newToken, register, rotate } from '../fixtures/families.ts'
import { until } from '../fixtures/process.ts'
import { type RedisCluster, type RedisServer, startCluster } from '../fixtures/redis-server.ts'
import { moveSlot, type SlotMove, slotOwner } from '../fixtures/redis-slots.ts'
import {
  clusterSettings,
  guardOver,
  type Link,
  observed,
  openLink,
  printTable,
  replayOver,
  type SharedGuard,
} from './redis-stage.ts'

// A real cluster whose slot is moved from master to master while two processes ask about what lies in it, and never stop.

afterAll(printTable)

// Proofs and families of one part share a tag, and so a slot.
const PART = 7
const MARK = `app:rp:{${PART}}:mark`
// A gap is over long before what was spent is forgotten, so that no "seen" is missing because of time alone.
const [WINDOW_MS, KEPT_MS] = [1_500, 300_000]
const PATIENTLY = { withinMs: 60_000, everyMs: 50 }

test('fault E12: a slot is moved while it is asked about: nothing used is fresh again, one winner, no restart', async () => {
  await using cluster = await startCluster()
  await using here = openLink(clusterSettings(cluster))
  await using there = openLink(clusterSettings(cluster))
  await Promise.all([here.connected(), there.connected()])
  const [used, raced] = [await begun(here, 'used'), await begun(here, 'raced')]
  await using one = guardOver(here)
  await using other = guardOver(there)
  expect(await rotate(one, used.family, used.token)).toBe('rotated')
  await sound(here)
  const spent = Array.from({ length: 30 }, proof)
  const memory = replayOver(here, KEPT_MS)
  for (const key of spent) expect(await memory.spend(key)).toBe('fresh')
  const { slot, owner } = slotOwner(cluster, MARK)
  const known = anotherMaster(cluster, owner)
  const newcomer = await cluster.join()

  const away = moveSlot(slot, owner, known)
  away.open()
  const inquiry = inquire([here, there], [one, other], spent, raced)
  await carriedWhileAsked(away, inquiry)
  const onwards = moveSlot(slot, known, newcomer)
  onwards.open()
  await carriedWhileAsked(onwards, inquiry)
  await until('a winner', () => inquiry.rotations.get('rotated'), PATIENTLY)
  await Promise.all([here, there].map(sound))
  await inquiry.rounds()
  await inquiry.stop()

  expect(slotOwner(cluster, MARK).owner.port).toBe(newcomer.port)
  expect(inquiry.falselyFresh).toEqual([])
  expect(inquiry.rotations.get('rotated')).toBe(1)
  // Who asked while it moved was refused as one who may ask again; where a process saw it move, that family signs in again.
  for (const outcome of inquiry.rotations.keys())
    expect(['rotated', 'unavailable', 'replay', 'reauthenticate']).toContain(outcome)
  expect([...inquiry.troubles]).toEqual(expect.arrayContaining(['moved', 'gap']))
  // ASK was followed to a master that is known, and to no stranger, however often it was named.
  expect(away.asked()).toBeGreaterThan(0)
  for (const link of [here, there]) {
    const reached = link.reports.filter(({ address }) => address.endsWith(`:${newcomer.port}`))
    expect(reached).toEqual([{ address: `127.0.0.1:${newcomer.port}`, trouble: undefined }])
    expect(link.redis.troubles()).toEqual([])
    const late = replayOver(link, WINDOW_MS)
    for (const key of spent) expect(await late.spend(key)).toBe('seen')
  }
  expect(['replay', 'reauthenticate']).toContain(await rotate(other, used.family, used.token))
  const next = await begun(here, 'next')
  expect(await rotate(other, next.family, next.token)).toBe('rotated')
  observed(
    'E12',
    'a slot moved twice while it was asked about',
    `${inquiry.asked()} rounds, no false fresh, one winner; unavailable meanwhile, and for a window after it`,
  )
})

interface Begun {
  readonly family: string
  readonly token: Buffer
}

// A family of this part that nobody remembers to have changed.
async function begun(link: Link, name: string): Promise<Begun> {
  await using guard = guardOver(link)
  let serial = 0
  while (partOf(`${name}-${serial}`) !== PART) serial++
  const [family, token] = [`${name}-${serial}`, newToken()]
  const created = async () => (await register(guard, family, token)) === 'created' || undefined
  await until('a family', created, PATIENTLY)
  const asked = async () => (await rotate(guard, family, newToken())) === 'unknown' || undefined
  await until('no gap', asked, PATIENTLY)
  return { family, token }
}

function partOf(family: string): number {
  return (createHash('sha256').update(family).digest()[0] ?? 0) % 64
}

function proof(): Buffer {
  const key = randomBytes(32)
  key[0] = PART
  return key
}

// A new proof of this part is taken.
async function sound(link: Link): Promise<void> {
  const memory = replayOver(link, WINDOW_MS)
  await until('freshness', async () => (await memory.spend(proof())) === 'fresh' || undefined, PATIENTLY)
}

function anotherMaster(cluster: RedisCluster, than: RedisServer): RedisServer {
  for (let part = 0; part < 64; part++) {
    const { owner } = slotOwner(cluster, `app:rp:{${part}}:mark`)
    if (owner !== than) return owner
  }
  throw new Error('one master has everything')
}

// Each state that the manual names is asked about before the next one begins.
async function carriedWhileAsked(move: SlotMove, inquiry: Inquiry): Promise<void> {
  await inquiry.rounds()
  expect(move.carry(10)).toBeGreaterThan(0)
  await inquiry.rounds()
  expect(move.carry()).toBe(0)
  await inquiry.rounds()
  move.close()
  await inquiry.rounds()
}

interface Inquiry {
  readonly falselyFresh: readonly Buffer[]
  /** How often each was said about the one token that everybody wants to redeem. */
  readonly rotations: ReadonlyMap<string, number>
  readonly troubles: ReadonlySet<Trouble>
  asked(): number
  /** Waits for two more rounds, of which one began after now. */
  rounds(): Promise<void>
  stop(): Promise<void>
}

const CONTENDERS = 5

function inquire(
  links: readonly Link[],
  guards: readonly SharedGuard[],
  spent: readonly Buffer[],
  { family, token }: Begun,
): Inquiry {
  const used = [...spent]
  const falselyFresh: Buffer[] = []
  const rotations = new Map<string, number>()
  const troubles = new Set<Trouble>()
  let rounds = 0
  let stopped = false

  const spend = async (link: Link): Promise<void> => {
    // A process that has no memory of its own of any.
    const memory = replayOver(link, WINDOW_MS)
    const verdicts = await Promise.all(used.map(memory.spend))
    falselyFresh.push(...used.filter((_key, at) => verdicts[at] === 'fresh'))
    for (const trouble of memory.unavailable().keys()) troubles.add(trouble)
  }
  const redeem = async (guard: SharedGuard): Promise<void> => {
    const outcomes = await Promise.all(Array.from({ length: CONTENDERS }, () => rotate(guard, family, token)))
    for (const outcome of outcomes) rotations.set(outcome, (rotations.get(outcome) ?? 0) + 1)
  }
  const ask = async (): Promise<void> => {
    while (!stopped) {
      await Promise.all([...links.map(spend), ...guards.map(redeem)])
      rounds++
      await delay(5)
    }
  }
  const running = ask()
  return {
    falselyFresh,
    rotations,
    troubles,
    asked: () => rounds,
    async rounds() {
      const enough = rounds + 2
      await Promise.race([until('two rounds', () => rounds >= enough || undefined, PATIENTLY), running])
    },
    async stop() {
      stopped = true
      await running
    },
  }
}
