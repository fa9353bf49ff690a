import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { aclFor } from '../../contracts/redis/settings.ts'
import { startChaosProxy } from '../fixtures/chaos-proxy.ts'
import { NOBODY, newToken, register, rotate } from '../fixtures/families.ts'
import { until } from '../fixtures/process.ts'
import { type RedisServer, redisCli, startRedis } from '../fixtures/redis-server.ts'
import {
  guardOver,
  type Link,
  observed,
  openLink,
  PREFIX,
  printTable,
  replayOver,
  settingsFor,
  trusted,
  WINDOW_MS,
  waited,
} from './redis-stage.ts'

// Faults E1 to E11 against a real redis-server, each with its oracle: never a false "fresh", one answer in time, and it heals.

let server: RedisServer
beforeEach(async () => {
  server = await startRedis()
})
afterEach(async () => {
  await server[Symbol.asyncDispose]()
})
afterAll(printTable)

describe('fault E1: Redis is down', () => {
  test('fault E1: at the start: every answer is unavailable at once, and it heals without a restart', async () => {
    await server.kill()
    await using link = openLink(settingsFor(server.port))
    const memory = replayOver(link)
    expect(await memory.fresh()).toBe('unavailable')
    expect(await waited(50, memory.fresh)).toBe(0)
    await server.revive()
    await link.connected()
    await trusted(memory)
    observed('E1', 'down at the start', 'unavailable at once; serves after it came')
  })
  test('fault E1: in the middle: unavailable, and what was seen before is still seen', async () => {
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    const key = randomBytes(32)
    expect(await memory.spend(key)).toBe('fresh')
    await server.kill()
    await until('notice', () => link.redis.troubles().length > 0 || undefined)
    expect(await memory.fresh()).toBe('unavailable')
    expect(await memory.spend(key)).toBe('seen')
    observed('E1', 'killed in the middle', 'unavailable; a known replay stays one')
  })
  test('fault E1: a restart without its data is a gap: nothing is fresh until the window has passed', async () => {
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    const key = randomBytes(32)
    const elsewhere = replayOver(link)
    expect(await memory.spend(key)).toBe('fresh')
    await server.kill()
    await server.revive()
    await link.connected()
    // Another process has no memory of its own of that key.
    expect(await elsewhere.spend(key)).toBe('unavailable')
    expect(elsewhere.unavailable().get('gap')).toBe(1)
    observed('E1', 'restarted empty', 'unavailable (gap) for the window')
  })
})

test('fault E2: slow: no answer waits for what comes after the limit, and after five none waits at all', async () => {
  const SLOW_MS = 5_000
  await using proxy = await startChaosProxy(server.port)
  await using link = openLink(settingsFor(proxy.port), { commandMs: 50 })
  await link.connected()
  const memory = replayOver(link)
  await trusted(memory)
  proxy.delay(SLOW_MS)
  const since = performance.now()
  for (let failure = 0; failure < 5; failure++) expect(await memory.fresh()).toBe('unavailable')
  expect(performance.now() - since).toBeLessThan(SLOW_MS)
  expect(await waited(100, memory.fresh)).toBe(0)
  expect(memory.unavailable().get('timeout')).toBeGreaterThanOrEqual(1)
  proxy.delay(0)
  await link.connected()
  await until('freshness', async () => (await memory.fresh()) === 'fresh' || undefined)
  observed('E2', '5 s slow', 'five wait for their limit, then none waits; heals')
})

describe('fault E2: the limit of an answer', () => {
  // Keeps this thread, and nobody else's, from everything.
  const sleepHard = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  const get = ({ redis }: Link) => redis.ask({ key: 'k' }, ['get', 'k'], NOBODY)

  test('fault E2: what came in time counts, however late this process gets to read it', async () => {
    await using link = openLink(settingsFor(server.port), { commandMs: 50 })
    await link.connected()
    for (let round = 0; round < 5; round++) {
      const asked = get(link)
      // Redis has answered whoever asked before, and this process has not looked for longer than the limit.
      server.cli('ping')
      sleepHard(150)
      expect(await asked).toMatchObject({ ok: true })
    }
  })
  test('fault E2: what has not come by then is too late, also after such a pause', async () => {
    await using link = openLink(settingsFor(server.port), { commandMs: 50 })
    await link.connected()
    server.signal('SIGSTOP')
    const asked = get(link)
    sleepHard(150)
    expect(await asked).toEqual({ ok: false, trouble: 'timeout', executed: 'unknown' })
    server.signal('SIGCONT')
  })
})

test('fault E3: silent: the connection is given up, and no question stays parked', async () => {
  await using link = openLink(settingsFor(server.port), { commandMs: 200, socketMs: 2_000 })
  await link.connected()
  const memory = replayOver(link)
  await trusted(memory)
  server.signal('SIGSTOP')
  const answers = await Promise.all(Array.from({ length: 200 }, memory.fresh))
  expect(new Set(answers)).toEqual(new Set(['unavailable']))
  await until('giving up', () => link.redis.troubles().length > 0 || undefined)
  server.signal('SIGCONT')
  await link.connected()
  await until('freshness', async () => (await memory.fresh()) === 'fresh' || undefined)
  observed('E3', 'SIGSTOP', '200 of 200 unavailable, connection given up; heals')
})

describe('fault E6: a server that answers with errors', () => {
  test.each([
    ['full', ['maxmemory', '1mb'], ['maxmemory', '0']],
    ['readonly', ['replicaof', '127.0.0.1 1'], ['replicaof', 'no one']],
    ['misconfigured', ['min-replicas-to-write', '1'], ['min-replicas-to-write', '0']],
  ] as const)('fault E6: %s is unavailable under that label, and heals', async (trouble, fault, cure) => {
    await using link = openLink(settingsFor(server.port), { heartbeatMs: 60_000 })
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    const set = ([name, value]: readonly [string, string]) =>
      name === 'replicaof' ? server.cli(name, ...value.split(' ')) : server.cli('config', 'set', name, value)
    set(fault)
    expect(await memory.fresh()).toBe('unavailable')
    expect([...memory.unavailable().keys()]).toContain(trouble)
    set(cure)
    await link.connected()
    // A promoted server begins another history.
    await until('freshness', async () => (await memory.fresh()) === 'fresh' || undefined)
    observed('E6', trouble, 'unavailable under its label; heals')
  })
  test('fault E6: busy with a script of somebody else is unavailable, and heals', async () => {
    server.cli('config', 'set', 'busy-reply-threshold', '1')
    await using link = openLink(settingsFor(server.port), { heartbeatMs: 60_000 })
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    const script = spawn('redis-cli', ['-p', String(server.port), 'eval', 'while true do end', '0'], {
      stdio: 'ignore',
    })
    await until(
      'busy',
      async () => ((await memory.fresh()) === 'unavailable' && memory.unavailable().has('busy')) || undefined,
    )
    server.cli('script', 'kill')
    script.kill()
    await link.connected()
    await until('freshness', async () => (await memory.fresh()) === 'fresh' || undefined)
    observed('E6', 'busy', 'unavailable under its label; heals')
  })
})

test.each(['allkeys-lru', 'volatile-ttl', 'allkeys-random'])(
  'fault E7: %s may forget what must be remembered: refused at the start, and given up when it is set later',
  async (policy) => {
    server.cli('config', 'set', 'maxmemory-policy', policy)
    await using link = openLink(settingsFor(server.port), { heartbeatMs: 100 })
    await until('the reason', () => link.redis.troubles().includes('evicting') || undefined)
    expect(await replayOver(link).fresh()).toBe('unavailable')
    server.cli('config', 'set', 'maxmemory-policy', 'noeviction')
    await link.connected()
    server.cli('config', 'set', 'maxmemory-policy', policy)
    await until('the reason again', () => link.redis.troubles().includes('evicting') || undefined)
    expect(link.reports.map(({ trouble }) => trouble)).toContain('evicting')
    observed('E7', policy, 'refused at the start and within a heartbeat')
  },
)

describe('fault E8: who we are changes', () => {
  test('fault E8: everything works as the ACL user that is documented, and a script does not', async () => {
    server.cli('acl', 'setuser', ...aclFor('portcullis', PREFIX).split(' '), '>first')
    const passwordFile = join(mkdtempSync(join(tmpdir(), 'portcullis-acl-')), 'password')
    writeFileSync(passwordFile, 'first\n')
    await using link = openLink(settingsFor(server.port, { username: 'portcullis', passwordFile }))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    await using guard = guardOver(link)
    const token = newToken()
    await until('a family', async () => (await register(guard, 'acl', token)) === 'created' || undefined)
    const next = newToken()
    await until(
      'a rotation',
      async () => (await rotate(guard, 'acl', token, { next })) === 'rotated' || undefined,
      { everyMs: 100 },
    )
    expect(await rotate(guard, 'acl', token)).toBe('replay')
    const as = (...words: readonly string[]) =>
      redisCli(server.port, ['--user', 'portcullis', '--pass', 'first', '--no-auth-warning', ...words])
    for (const words of [
      ['eval', 'return 1', '0'],
      ['flushall'],
      ['keys', '*'],
      ['config', 'get', '*'],
      ['get', 'other:x'],
    ])
      expect(as(...words)).toMatch(/NOPERM/)
  })
  test('fault E8: a rotated password is read with the next connection, without a restart', async () => {
    const passwordFile = join(mkdtempSync(join(tmpdir(), 'portcullis-acl-')), 'password')
    writeFileSync(passwordFile, 'first')
    server.cli('acl', 'setuser', ...aclFor('portcullis', PREFIX).split(' '), '>first')
    await using link = openLink(settingsFor(server.port, { username: 'portcullis', passwordFile }))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    // As an administrator does it: the new one is set, the old one taken, the connections of old ended.
    server.cli('acl', 'setuser', 'portcullis', 'resetpass', '>second')
    server.cli('client', 'kill', 'user', 'portcullis')
    await until('the reason', () => link.redis.troubles().includes('forbidden') || undefined)
    expect(await memory.fresh()).toBe('unavailable')
    writeFileSync(passwordFile, 'second')
    await link.connected()
    expect(await memory.fresh()).toBe('fresh')
    observed(
      'E8',
      'password rotated',
      'unavailable (forbidden) until the file changes; heals without a restart',
    )
  })
  test('fault E8: a command that the ACL lost is unavailable, not an exception', async () => {
    const passwordFile = join(mkdtempSync(join(tmpdir(), 'portcullis-acl-')), 'password')
    writeFileSync(passwordFile, 'first')
    server.cli('acl', 'setuser', ...aclFor('portcullis', PREFIX).split(' '), '>first')
    await using link = openLink(settingsFor(server.port, { username: 'portcullis', passwordFile }))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    server.cli('acl', 'setuser', 'portcullis', '-set')
    expect(await memory.fresh()).toBe('unavailable')
    expect(memory.unavailable().get('forbidden')).toBe(1)
  })
})

describe('fault E9: poisoned values', () => {
  const nameOf = (key: Buffer) => `${PREFIX}:rp:{${(key[0] ?? 0) % 64}}:${key.toString('base64url')}`
  test.each([
    ['another type', (key: Buffer) => ['lpush', nameOf(key), 'x']],
    ['a large value', (key: Buffer) => ['set', nameOf(key), 'x'.repeat(100_000)]],
    ['not even text', (key: Buffer) => ['set', nameOf(key), '\u{1f4a3}\u0001']],
  ])('fault E9: %s under the name of a proof counts as used', async (_name, poison) => {
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    const key = randomBytes(32)
    server.cli(...poison(key))
    expect(await memory.spend(key)).toBe('seen')
    expect(await memory.fresh()).toBe('fresh')
  })
  test('fault E9: a mark of another type is written anew, after a window', async () => {
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    for (let part = 0; part < 64; part++) {
      server.cli('del', `${PREFIX}:rp:{${part}}:mark`)
      server.cli('lpush', `${PREFIX}:rp:{${part}}:mark`, 'x')
    }
    expect(await memory.fresh()).toBe('unavailable')
    await trusted(memory)
  })
  test('fault E9: nothing that is written into a family makes a token good', async () => {
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    await using guard = guardOver(link)
    const [mine, theirs] = [newToken(), newToken()]
    await until('families', async () => (await register(guard, 'mine', mine)) === 'created' || undefined, {
      everyMs: 100,
    })
    await until(
      'families',
      async () => (await register(guard, 'theirs', theirs)) === 'created' || undefined,
      { everyMs: 100 },
    )
    const digest = (text: string | Buffer) => createHash('sha256').update(text).digest()
    const keyFor = (family: string) =>
      `${PREFIX}:rf:{${(digest(family)[0] ?? 0) % 64}}:${digest(family).toString('base64url')}`
    await until('trust', async () => (await rotate(guard, 'theirs', newToken())) === 'unknown' || undefined, {
      everyMs: 100,
    })
    await until('trust', async () => (await rotate(guard, 'mine', newToken())) === 'unknown' || undefined, {
      everyMs: 100,
    })
    server.cli(
      'eval',
      `local all = redis.call('hgetall', KEYS[1]) for i = 1, #all, 2 do redis.call('hset', KEYS[2], all[i], all[i+1]) end`,
      '2',
      keyFor('theirs'),
      keyFor('mine'),
    )
    // The facts of the other family lie over ours now: neither its token nor ours is good here.
    expect(await rotate(guard, 'mine', theirs)).toBe('reauthenticate')
    expect(await rotate(guard, 'mine', mine)).toBe('reauthenticate')
    expect(await rotate(guard, 'mine', newToken())).toBe('unknown')
    expect(guard.revoked).toEqual([])
    server.cli('set', keyFor('theirs'), 'x')
    expect(await rotate(guard, 'theirs', theirs)).toBe('unavailable')
    observed('E9', 'wrong type, size, record of another', 'used, unknown or unavailable; never good')
  })
  test('002-02: the store holds digests and sealed text: no token, and nobody’s name', async () => {
    await using link = openLink(settingsFor(server.port))
    await link.connected()
    await using guard = guardOver(link)
    const first = newToken()
    const second = newToken()
    await until(
      'a family',
      async () => (await register(guard, 'grant-of-alice', first)) === 'created' || undefined,
      { everyMs: 100 },
    )
    await until(
      'trust',
      async () =>
        (await rotate(guard, 'grant-of-alice', first, { next: second, graceMs: 30_000 })) === 'rotated' ||
        undefined,
      { everyMs: 100 },
    )
    const keys = server.cli('keys', '*').split('\n')
    const dump = keys
      .map(
        (key) =>
          `${key} ${server.cli('dump', key)} ${key.includes(':rf:') && key.length > 60 ? server.cli('hgetall', key) : ''}`,
      )
      .join('\n')
    expect(keys.length).toBeGreaterThan(1)
    for (const secret of [first, second].map(String).concat('alice', 'session-1', 'demo-web', 'idp.example'))
      expect(dump).not.toContain(secret)
  })
})

test('fault E10: FLUSHALL by somebody else: nothing is fresh until the window has passed', async () => {
  await using link = openLink(settingsFor(server.port))
  await link.connected()
  const memory = replayOver(link)
  await trusted(memory)
  const key = randomBytes(32)
  expect(await memory.spend(key)).toBe('fresh')
  server.cli('flushall')
  const since = performance.now()
  const other = replayOver(link)
  // The very first question notices.
  expect(await other.spend(key)).toBe('unavailable')
  await until('freshness', async () => (await other.fresh()) === 'fresh' || undefined)
  expect(performance.now() - since).toBeGreaterThan(WINDOW_MS * 0.9)
  observed('E10', 'FLUSHALL', 'the next question is unavailable, and so is all for the window')
})

describe('fault E11: carried out, and the answer lost', () => {
  test('fault E11: unavailable, asked once, and no alarm of a replay', async () => {
    await using proxy = await startChaosProxy(server.port)
    await using link = openLink(settingsFor(proxy.port), { heartbeatMs: 60_000 })
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    const key = randomBytes(32)
    proxy.requests.length = 0
    proxy.loseAnswerTo(key.toString('base64url'))
    expect(await memory.spend(key)).toBe('unavailable')
    await link.connected()
    await delay(300)
    const sent = proxy.requests.join('').split(key.toString('base64url')).length - 1
    expect(sent).toBe(1)
    expect(server.cli('exists', `${PREFIX}:rp:{${(key[0] ?? 0) % 64}}:${key.toString('base64url')}`)).toBe(
      '1',
    )
    expect(memory.unavailable().get('lost')).toBe(1)
    observed('E11', 'answer to SET NX lost', 'unavailable; sent once; no replay reported')
  })
  test('fault E11: a rotation that is asked again with the same successor is told as what it was', async () => {
    await using proxy = await startChaosProxy(server.port)
    await using link = openLink(settingsFor(proxy.port), { heartbeatMs: 60_000 })
    await link.connected()
    await using guard = guardOver(link)
    const [first, next] = [newToken(), newToken()]
    await until('a family', async () => (await register(guard, 'lost', first)) === 'created' || undefined, {
      everyMs: 100,
    })
    await until('trust', async () => (await rotate(guard, 'lost', newToken())) === 'unknown' || undefined, {
      everyMs: 100,
    })
    // The first answer is that of the look-up; the second one is that of the change.
    proxy.loseAnswerTo('hsetnx')
    expect(await rotate(guard, 'lost', first, { next })).toBe('unavailable')
    await link.connected()
    expect(await rotate(guard, 'lost', first, { next })).toBe('rotated')
    expect(guard.revoked).toEqual([])
    observed('E11', 'answer to a rotation lost', 'unavailable; the same question again is told as rotated')
  })
})
