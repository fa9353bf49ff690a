import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw, type RawClient } from '../fixtures/raw.ts'
import { forge } from '../fixtures/tokens.ts'
import { type Ground, openGround } from './ground.ts'
import { openEndless } from './h2.ts'
import { startUnread, type Unread } from './unread.ts'

// Nobody reads the decision log: its pipe is full. Decisions go on, and what was lost is counted.

let ground: Ground
beforeEach(() => {
  ground = openGround()
})
afterEach(() => ground[Symbol.dispose]())

const config = () => ground.config({ limits: { logQueueBytes: 65_536, drainSeconds: 1 } })
const QUESTIONS = 4_000

async function askMany(raw: RawClient, count: number): Promise<readonly string[]> {
  const stream = raw.stream({ deadlineMs: 60_000 })
  const check = question({ token: forge() })
  const verdicts: string[] = []
  for (let sent = 0; sent < count; sent += 50) {
    for (let id = 0; id < 50; id++) stream.send({ id, check })
    for (let id = 0; id < 50; id++) {
      const answer = await stream.next(20_000)
      verdicts.push(answer?.check ? verdictOf(answer.check) : 'nothing')
    }
  }
  stream.end()
  return verdicts
}

async function scrape({ adminAddress }: Unread): Promise<string> {
  const response = await fetch(`http://${adminAddress}/metrics`, { headers: { connection: 'close' } })
  return response.text()
}

const seriesIn = (metrics: string, series: string) =>
  Number(
    metrics
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length + 1),
  )

test('every question is answered, the lost lines are counted, and the operational log goes on', async () => {
  await using sidecar = await startUnread(config(), ground.directory)
  using raw = openRaw(sidecar.unix)
  expect(new Set(await askMany(raw, QUESTIONS))).toEqual(new Set(['allow']))
  const metrics = await scrape(sidecar)
  const dropped = seriesIn(metrics, 'portcullis_log_lines_dropped_total')
  expect(dropped).toBeGreaterThan(0)
  expect(seriesIn(metrics, 'portcullis_decisions_total{outcome="allow",reason="allowed"}')).toBe(QUESTIONS)
  process.kill(sidecar.pid, 'SIGHUP')
  await expect.poll(() => sidecar.said.join('\n'), { timeout: 30_000 }).toContain('"event":"reloading"')
})

test('once somebody reads again, what was kept is whole lines, and kept and lost are all there were', async () => {
  await using sidecar = await startUnread(config(), ground.directory)
  using raw = openRaw(sidecar.unix)
  await askMany(raw, QUESTIONS)
  const reading = sidecar.drain()
  await expect
    .poll(async () => new Set(await askMany(raw, 50)), { timeout: 30_000 })
    .toEqual(new Set(['allow']))
  const metrics = await scrape(sidecar)
  const dropped = seriesIn(metrics, 'portcullis_log_lines_dropped_total')
  const decided = seriesIn(metrics, 'portcullis_decisions_total{outcome="allow",reason="allowed"}')
  process.kill(sidecar.pid, 'SIGTERM')
  const lines = await reading
  const ids = lines.map((line) =>
    String(Object.entries(JSON.parse(line)).find(([name]) => name === 'decision_id')?.[1]),
  )
  expect(new Set(ids).size).toBe(lines.length)
  expect(lines.length + dropped).toBe(decided)
  expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
})

test('memory stays bounded by the queue, not by the number of questions', async () => {
  await using sidecar = await startUnread(config(), ground.directory)
  using raw = openRaw(sidecar.unix)
  await askMany(raw, QUESTIONS)
  const before = seriesIn(await scrape(sidecar), 'process_resident_memory_bytes')
  await askMany(raw, 3 * QUESTIONS)
  expect(seriesIn(await scrape(sidecar), 'process_resident_memory_bytes') - before).toBeLessThan(
    64 * 1024 * 1024,
  )
})

test('SIGTERM ends it all the same: a reader that never comes back holds no exit', async () => {
  await using sidecar = await startUnread(config(), ground.directory)
  using raw = openRaw(sidecar.unix)
  await askMany(raw, QUESTIONS)
  raw.close()
  process.kill(sidecar.pid, 'SIGTERM')
  expect(await Promise.race([sidecar.exited, delay(60_000)])).toEqual({ code: 0, signal: undefined })
})

test('a second SIGTERM ends it at once even then', async () => {
  await using sidecar = await startUnread(ground.config({ limits: { drainSeconds: 300 } }), ground.directory)
  using raw = openRaw(sidecar.unix)
  await askMany(raw, QUESTIONS)
  await using _endless = await openEndless(sidecar.unix)
  process.kill(sidecar.pid, 'SIGTERM')
  await expect.poll(() => sidecar.said.join('\n'), { timeout: 30_000 }).toContain('"event":"draining"')
  process.kill(sidecar.pid, 'SIGTERM')
  expect(await Promise.race([sidecar.exited, delay(60_000)])).toEqual({ code: 1, signal: undefined })
})
