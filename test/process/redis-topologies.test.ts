import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { REDIS_LIMITS } from '../../contracts/redis/settings.ts'
import { newToken, register, rotate } from '../fixtures/families.ts'
import { until } from '../fixtures/process.ts'
import { startCluster, startRedis, startSentinelSet } from '../fixtures/redis-server.ts'
import {
  clusterSettings,
  guardOver,
  type Link,
  type Memory,
  observed,
  openLink,
  printTable,
  replayOver,
  type SharedGuard,
  sentinelSettings,
  settingsFor,
  trusted,
} from './redis-stage.ts'

// Sentinel and Cluster with real servers, failed over while they are asked; and families on each of the three.

afterAll(printTable)

// Longer than any test: no "seen" is missing because of time alone. And longer than a machine stands still, where only a gap denies.
const [KEPT_MS, LONG_GAP_MS] = [300_000, 20_000]

// A family whose part has no gap any more.
async function begun(guard: SharedGuard, family: string): Promise<Buffer> {
  const token = newToken()
  const created = async () => (await register(guard, family, token)) === 'created' || undefined
  await until('a family', created, { withinMs: 60_000, everyMs: 100 })
  const asked = async () => (await rotate(guard, family, newToken())) === 'unknown' || undefined
  await until('no gap', asked, { withinMs: 60_000, everyMs: 100 })
  return token
}

// The same link, and whether replicas confirmed the last change that was to be confirmed.
function confirming(link: Link): { readonly link: Link; confirmed(): boolean } {
  let confirmed = false
  const atomically: Link['redis']['atomically'] = async (question, commands, signal) => {
    const answer = await link.redis.atomically(question, commands, signal)
    if (question.durable) confirmed = answer.ok && answer.reply.replicas >= question.durable.replicas
    return answer
  }
  return { link: { ...link, redis: { ...link.redis, atomically } }, confirmed: () => confirmed }
}

// What is said once the quarantine is over.
function verdictOn(guard: SharedGuard, family: string, token: Buffer): Promise<string> {
  const verdict = async () => {
    const outcome = await rotate(guard, family, token)
    return outcome === 'unavailable' ? undefined : outcome
  }
  return until('a verdict', verdict, { withinMs: 60_000, everyMs: 100 })
}

// Those of the keys that are taken for new ones.
async function falselyFresh(memory: Memory, keys: readonly Buffer[]): Promise<readonly Buffer[]> {
  const wrong: Buffer[] = []
  for (const key of keys) if ((await memory.spend(key)) === 'fresh') wrong.push(key)
  return wrong
}

async function oneWinner(link: Link, replicas: number): Promise<void> {
  await using guard = guardOver(link, { replicas })
  for (const family of ['red', 'green', 'blue']) {
    const token = await begun(guard, family)
    const nexts = Array.from({ length: 100 }, newToken)
    const outcomes = await Promise.all(nexts.map((next) => rotate(guard, family, token, { next })))
    expect(outcomes.filter((outcome) => outcome === 'rotated')).toHaveLength(1)
    expect(outcomes.filter((outcome) => outcome === 'unavailable')).toHaveLength(0)
    const winner = nexts[outcomes.indexOf('rotated')]
    expect(winner && (await rotate(guard, family, winner))).toBe('revoked')
  }
  expect(guard.revoked.length).toBe(3)
}

describe('002-01: a hundred redemptions of one token at once have one winner, and then the family is dead', () => {
  test('002-01: standalone', async () => {
    await using server = await startRedis()
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    await oneWinner(link, 0)
  })
  test('002-01: from two processes at once', async () => {
    await using server = await startRedis()
    await using first = openLink(settingsFor(server.port))
    await using second = openLink(settingsFor(server.port))
    await Promise.all([first.connected(), second.connected()])
    await using here = guardOver(first)
    await using there = guardOver(second)
    const token = await begun(here, 'shared')
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, turn) => rotate(turn % 2 === 0 ? here : there, 'shared', token)),
    )
    expect(outcomes.filter((outcome) => outcome === 'rotated')).toHaveLength(1)
    expect(new Set(outcomes)).toEqual(new Set(['rotated', 'replay']))
    // The other process may have found the end before it could say so itself.
    expect(here.revoked.length + there.revoked.length).toBeGreaterThanOrEqual(1)
  })
})

describe('fault E5: failover by Sentinel, with the last writes lost', () => {
  test('fault E4: 002-01: one winner; failed over while asked; nothing that was used is fresh again', async () => {
    await using set = await startSentinelSet(2)
    await using link = openLink(sentinelSettings(set))
    await link.connected()
    await oneWinner(link, 1)

    const changes = confirming(link)
    const plan = { replicas: 1, quarantineMs: LONG_GAP_MS, journalMs: 2_000 }
    await using guard = guardOver(changes.link, plan)
    // One that no replica confirmed in time would end with the others.
    const untouched: { readonly family: string; readonly token: Buffer }[] = []
    for (let serial = 0; serial < 3 || untouched.length === 0; serial++) {
      const family = `untouched-${serial}`
      const token = await begun(guard, family)
      if (changes.confirmed()) untouched.push({ family, token })
    }
    await trusted(replayOver(link))
    const memory = replayOver(link, KEPT_MS)
    const [before, current] = [await begun(guard, 'around'), newToken()]
    // Longer ago than anything that replication could lose.
    await delay(2_500)
    const spent = Array.from({ length: 50 }, () => randomBytes(32))
    for (const key of spent) expect(await memory.spend(key)).toBe('fresh')
    // E5: the last change reaches no replica: it is confirmed by none, and it dies with the master.
    for (const replica of set.replicas) replica.signal('SIGSTOP')
    expect(await rotate(guard, 'around', before, { next: current })).toBe('rotated')
    const unseen = randomBytes(32)
    expect(await memory.spend(unseen)).toBe('fresh')
    await set.loseMaster()
    for (const replica of set.replicas) replica.signal('SIGCONT')
    const failed = performance.now()
    const other = replayOver(link, LONG_GAP_MS)
    const wrong: Buffer[] = []
    let writes = 0
    while (set.masterPort() === set.master.port || link.redis.troubles().length > 0) {
      wrong.push(...(await falselyFresh(other, [...spent, unseen])))
      writes++
      await delay(20)
    }
    const tookMs = performance.now() - failed
    wrong.push(...(await falselyFresh(other, [...spent, unseen])))
    expect(wrong).toEqual([])
    // The stolen, used token: the promoted replica never heard that it was used.
    expect(await rotate(guard, 'around', before)).toBe('unavailable')
    await trusted(other)
    expect(await verdictOn(guard, 'around', before)).toBe('reauthenticate')
    expect(await rotate(guard, 'around', current)).toBe('reauthenticate')
    for (const { family, token } of untouched) expect(await verdictOn(guard, family, token)).toBe('rotated')
    observed(
      'E4',
      'master killed under Sentinel',
      `master again after ${Math.round(tookMs)} ms (sentinels need 500 ms and a vote); ${writes} rounds, no false fresh`,
    )
    observed(
      'E5',
      'last rotation and last proof lost with the master',
      'proof unavailable in the window; family reauthenticates; others go on',
    )
  })
})

describe('fault E4: READONLY', () => {
  test('fault E4: the answer is a new connection, and never the same command again', async () => {
    await using server = await startRedis()
    await using link = openLink(settingsFor(server.port), { heartbeatMs: 60_000 })
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    server.cli('config', 'resetstat')
    server.cli('replicaof', '127.0.0.1', '1')
    const key = randomBytes(32)
    expect(await memory.spend(key)).toBe('unavailable')
    server.cli('replicaof', 'no', 'one')
    await link.connected()
    expect(server.cli('exists', `app:rp:{${(key[0] ?? 0) % 64}}:${key.toString('base64url')}`)).toBe('0')
    expect(memory.unavailable().get('readonly')).toBe(1)
  })
})

describe('Cluster', () => {
  test('fault E4: 002-01: one winner; a master killed while asked', async () => {
    await using cluster = await startCluster()
    await using link = openLink(clusterSettings(cluster))
    await link.connected()
    await oneWinner(link, 1)

    await using guard = guardOver(link, { replicas: 1, quarantineMs: 4_000 })
    await trusted(replayOver(link))
    const memory = replayOver(link, KEPT_MS)
    const used = await begun(guard, 'around')
    expect(await rotate(guard, 'around', used)).toBe('rotated')
    const spent = Array.from({ length: 100 }, () => randomBytes(32))
    for (const key of spent) expect(await memory.spend(key)).toBe('fresh')
    await cluster.loseMasterOf('app:rp:{0}:x')
    const failed = performance.now()
    const other = replayOver(link, 4_000)
    const wrong: Buffer[] = []
    await until(
      'every master',
      async () => {
        wrong.push(...(await falselyFresh(other, spent)))
        const answer = await link.redis.ask(
          { key: 'app:rp:{0}:x' },
          ['get', 'app:rp:{0}:x'],
          AbortSignal.timeout(1_000),
        )
        return answer.ok || undefined
      },
      { withinMs: 60_000, everyMs: 50 },
    )
    const tookMs = performance.now() - failed
    expect(wrong).toEqual([])
    await trusted(other)
    expect(['reauthenticate', 'replay']).toContain(await verdictOn(guard, 'around', used))
    observed(
      'E4',
      'master of a cluster killed',
      `its slots again after ${Math.round(tookMs)} ms (node timeout 1000 ms), no false fresh`,
    )
  })
})

describe('fault E12: redirections', () => {
  test('fault E12: a storm of MOVED ends after three, within its limit, and opens nothing that grows', async () => {
    // A node that says of every key that it has just moved to itself.
    const requests: string[] = []
    let slots = ''
    const node = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => undefined)
      socket.on('data', (chunk) => {
        for (const command of commandsIn(chunk.toString('latin1'))) {
          requests.push(command)
          if (command === 'cluster') socket.write(slots)
          else if (command === 'info') socket.write(bulk(INFO))
          else socket.write(`-MOVED 1 127.0.0.1:${port}\r\n`)
        }
      })
    })
    await new Promise<void>((resolve) => node.listen(0, '127.0.0.1', resolve))
    const address = node.address()
    const port = typeof address === 'object' && address ? address.port : 0
    slots = `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${bulk('127.0.0.1')}:${port}\r\n${bulk('0'.repeat(40))}`
    {
      await using link = openLink(settingsFor(0, { mode: 'cluster', nodes: [{ host: '127.0.0.1', port }] }))
      await link.connected()
      const memory: Memory = replayOver(link)
      requests.length = 0
      expect(await memory.fresh()).toBe('unavailable')
      expect(requests.filter((command) => command === 'multi')).toHaveLength(4)
      const since = performance.now()
      for (let turn = 0; turn < 100; turn++) expect(await memory.fresh()).toBe('unavailable')
      expect(memory.unavailable()).toEqual(new Map([['moved', 101]]))
      expect(requests.filter((command) => command === 'multi')).toHaveLength(404)
      // Hints to read the map again are many; between two readings there is a pause.
      const readings = requests.filter((command) => command === 'cluster').length
      expect(readings).toBeLessThanOrEqual(2 + (performance.now() - since) / REDIS_LIMITS.retryMs[0])
      observed('E12', 'a storm of MOVED', `three redirections each, ${readings} readings of the map for 100`)
    }
    node.close()
  })
})

const INFO = `role:master\r\nmaster_replid:${'a'.repeat(40)}\r\nmaxmemory_policy:noeviction\r\nloading:0\r\n`

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`
}

// The names of the commands in a chunk of RESP; each chunk here holds whole commands.
function commandsIn(chunk: string): readonly string[] {
  return [...chunk.matchAll(/\*\d+\r\n\$\d+\r\n([a-zA-Z]+)\r\n/g)].map((match) =>
    (match[1] ?? '').toLowerCase(),
  )
}
