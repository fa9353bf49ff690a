import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../fixtures/process.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'
import { json, startScriptedIssuer } from '../fixtures/scripted-issuer.ts'
import { type Sidecar, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { forge, goodClaims } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { askingConfig, introspectionTree, makePair, WORKLOAD } from './asking-ground.ts'
import { type Ground, openGround } from './ground.ts'
import { openEndless, openH2, socketTo } from './h2.ts'
import { type KeyServer, startFetching, startKeyServer } from './key-server.ts'
import { alive, counterAt, listeningPorts } from './scrape.ts'

// SIGTERM: what is under way is answered, nothing new is taken, then it is gone. And what other signals do.

const good = () => question({ token: forge() })
// Longer than any test waits: what ends sooner did not wait for it.
const VERY_LONG_DRAIN = { limits: { drainSeconds: 300 } }

let ground: Ground
let keys: KeyServer
beforeEach(async () => {
  ground = openGround()
  keys = await startKeyServer()
})
afterEach(async () => {
  await keys[Symbol.asyncDispose]()
  ground[Symbol.dispose]()
})

async function start(over: Tree = {}): Promise<Sidecar> {
  const sidecar = await startFetching(ground, keys, over)
  keys.hang()
  return sidecar
}

const signal = (sidecar: Sidecar, name: NodeJS.Signals) => void process.kill(sidecar.pid, name)
const inFlight = (sidecar: Sidecar, count: number) =>
  until(`${count} in flight`, async () => {
    return (await counterAt(sidecar, 'portcullis_checks_in_flight')) >= count || undefined
  })

// Exit code after a SIGTERM; undefined when it is still there after a time that no idle one needs.
async function endedBy(sidecar: Sidecar): Promise<number | undefined> {
  signal(sidecar, 'SIGTERM')
  const giveUp = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 60_000))
  return (await Promise.race([sidecar.exited, giveUp]))?.code
}

describe('SIGTERM', () => {
  test('lets parked questions be answered, and then ends with 0', async () => {
    // The issuer is waited for much longer than a key is, so that nothing ends on a busy machine before it is answered.
    await using issuer = await startScriptedIssuer()
    const issued = Promise.withResolvers<void>()
    const says = json({ active: true, ...goodClaims(Math.floor(Date.now() / 1000)) })
    issuer.reply((...asked) => void issued.promise.then(() => says(...asked)))
    const pair = makePair(ground.directory, 'workload', `URI:${WORKLOAD}`)
    const introspection = introspectionTree(issuer.url, { timeoutMs: 10_000 })
    const limits = { ...VERY_LONG_DRAIN.limits, deadlineMs: 20_000 }
    await using sidecar = await startSidecar({
      config: askingConfig(ground, pair, introspection, { limits }),
    })
    using raw = openRaw(sidecar.unix)
    const parked = () => question({ token: 'opaque' })
    const unary = Array.from({ length: 10 }, () => verdictAt(raw, parked()))
    const stream = raw.stream()
    for (let id = 1; id <= 10; id++) stream.send({ id, check: parked() })
    await inFlight(sidecar, 20)
    signal(sidecar, 'SIGTERM')
    await sidecar.event('draining')
    issued.resolve()
    expect(new Set(await Promise.all(unary))).toEqual(new Set(['allow']))
    for (let id = 1; id <= 10; id++) {
      const answer = await stream.next()
      expect(answer?.check && verdictOf(answer.check)).toBe('allow')
    }
    expect((await stream.status).code).toBe(0)
    expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
    expect(sidecar.decisions.length).toBe(20)
    expect(sidecar.noise).toEqual([])
    expect(alive(sidecar.pid)).toBe(false)
  })

  test('makes readyz say 503 draining at once, with livez still 200, until it is gone', async () => {
    await using sidecar = await start()
    const call = await openEndless(sidecar.unix)
    signal(sidecar, 'SIGTERM')
    await sidecar.event('draining')
    const readyz = await sidecar.admin('/readyz')
    expect(readyz.status).toBe(503)
    expect(JSON.parse(readyz.text)).toMatchObject({ ready: false, causes: ['draining'] })
    expect((await sidecar.admin('/livez')).status).toBe(200)
    expect((await sidecar.admin('/metrics')).text).toContain('portcullis_ready 0')
    await call[Symbol.asyncDispose]()
    expect(await sidecar.exited).toMatchObject({ code: 0 })
  })

  test('takes no new connection', async () => {
    await using sidecar = await start()
    const call = await openEndless(sidecar.unix)
    signal(sidecar, 'SIGTERM')
    await sidecar.event('draining')
    for (const target of [sidecar.unix, sidecar.tcp]) {
      const outcome = await new Promise<string>((resolve) => {
        const socket = socketTo(target)
        socket.once('connect', () => resolve('connected'))
        socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
      })
      expect(['ECONNREFUSED', 'ENOENT']).toContain(outcome)
    }
    await call[Symbol.asyncDispose]()
    await sidecar.exited
  })

  test('does not wait for connections, streams and health watchers that are idle', async () => {
    await using sidecar = await start(VERY_LONG_DRAIN)
    using raw = openRaw(sidecar.unix)
    const stream = raw.stream()
    stream.send({ id: 1, check: good() })
    await stream.next()
    await using h2 = await openH2(sidecar.tcp)
    const watch = h2.open('/grpc.health.v1.Health/Watch')
    watch.message(Buffer.alloc(0))
    watch.end()
    await once(watch.stream, 'data')
    expect(await endedBy(sidecar)).toBe(0)
  })

  test('does not wait for one who watches the health of a service that is not ours', async () => {
    await using sidecar = await start(VERY_LONG_DRAIN)
    await using h2 = await openH2(sidecar.tcp)
    const watch = h2.open('/grpc.health.v1.Health/Watch')
    watch.message(Buffer.from('0a0178', 'hex'))
    watch.end()
    await once(watch.stream, 'data')
    expect(await endedBy(sidecar)).toBe(0)
  })

  test('does not wait for a connection that never said a word', async () => {
    await using sidecar = await start(VERY_LONG_DRAIN)
    using raw = openRaw(sidecar.unix)
    const silent = socketTo(sidecar.unix)
    silent.on('error', () => undefined)
    await once(silent, 'connect')
    await verdictAt(raw, good())
    expect(await endedBy(sidecar)).toBe(0)
    silent.destroy()
  })

  test('ends calls that never finish after the configured time, still with 0', async () => {
    await using sidecar = await start({ limits: { drainSeconds: 1 } })
    const call = await openEndless(sidecar.unix)
    signal(sidecar, 'SIGTERM')
    expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
    await call[Symbol.asyncDispose]()
  })

  test('a second time ends it where it stands', async () => {
    await using sidecar = await start(VERY_LONG_DRAIN)
    const call = await openEndless(sidecar.unix)
    signal(sidecar, 'SIGTERM')
    await sidecar.event('draining')
    expect(alive(sidecar.pid)).toBe(true)
    signal(sidecar, 'SIGTERM')
    expect(await sidecar.exited).toEqual({ code: 1, signal: undefined })
    await call[Symbol.asyncDispose]()
  })

  test('SIGINT is the same', async () => {
    await using sidecar = await start()
    signal(sidecar, 'SIGINT')
    expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
  })

  test('under load: every question that was answered was answered right, none is lost without an error', async () => {
    await using sidecar = await start()
    using raw = openRaw(sidecar.unix)
    const verdicts: string[] = []
    const workers = Array.from({ length: 16 }, async () => {
      for (;;) {
        const verdict = await verdictAt(raw, good())
        verdicts.push(verdict)
        if (verdict !== 'allow') return
      }
    })
    await until('some answers', () => (verdicts.length > 500 ? true : undefined))
    signal(sidecar, 'SIGTERM')
    await Promise.all(workers)
    expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
    const allowed = verdicts.filter((one) => one === 'allow').length
    expect(new Set(verdicts)).toEqual(new Set(['allow', 'status 14']))
    expect(sidecar.decisions.filter((line) => line['outcome'] === 'allow').length).toBe(allowed)
  })

  test('before the keys have come (the key server hangs) ends it as well', async () => {
    keys.hang()
    const issuer = ground.issuer({ jwks: { uri: keys.uri }, allowInsecureLoopback: true })
    await using sidecar = await startSidecar({
      config: ground.config({ issuers: [issuer] }),
      wait: 'listening',
    })
    await until('a hanging fetch', () => keys.hanging() || undefined)
    signal(sidecar, 'SIGTERM')
    expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
  })
})

describe('other signals', () => {
  test('SIGUSR1 opens no debugger port', async () => {
    await using sidecar = await start()
    using raw = openRaw(sidecar.unix)
    const before = listeningPorts(sidecar.pid)
    for (let i = 0; i < 3; i++) signal(sidecar, 'SIGUSR1')
    for (let i = 0; i < 50; i++) expect(await verdictAt(raw, good())).toBe('allow')
    expect((await sidecar.admin('/livez')).status).toBe(200)
    expect(listeningPorts(sidecar.pid)).toEqual(before)
    expect(sidecar.noise).toEqual([])
  })

  test('SIGPIPE and SIGHUP do not end it, 100 SIGHUPs in a row included', async () => {
    await using sidecar = await start()
    using raw = openRaw(sidecar.unix)
    signal(sidecar, 'SIGPIPE')
    for (let i = 0; i < 100; i++) signal(sidecar, 'SIGHUP')
    await sidecar.event('reloading')
    for (let i = 0; i < 50; i++) expect(await verdictAt(raw, good())).toBe('allow')
    expect(alive(sidecar.pid)).toBe(true)
    expect(sidecar.noise).toEqual([])
  })
})
