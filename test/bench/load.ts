import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Answer, Lane } from './lane.ts'
import { forgetPeak, residentBytes, threadTimes, usedBetween } from './meter.ts'

/**
 * How one answer compares with the one it should be; `shed`: the server said that it is overloaded or out
 * of time.
 */
export type Mark = 'right' | 'shed' | 'wrong'

/** Something to be loaded: how to ask it, how to mark it, and the process that pays. */
export interface Target {
  readonly pid: number
  readonly lane: Lane
  readonly questions: number
  readonly mark: (index: number, answer: Answer) => Mark
}

/**
 * So many at once, each next one as soon as one is answered, `upTo` that many in all; or so many a second, whatever
 * comes back.
 */
export type Pace = AtOnce | { readonly perSecond: number }
export interface AtOnce {
  readonly atOnce: number
  readonly upTo?: number
}

/** One run. Times in microseconds, `busy` as share of one core. */
export interface Run {
  readonly p50: number
  readonly p99: number
  readonly perSecond: number
  readonly serverCpu: number
  readonly serverBusy: number
  /** Share of the time in which the server was ready to run and another process had its core. */
  readonly serverWaited: number
  readonly clientCpu: number
  readonly clientBusy: number
  readonly rssBytes: number
  /** How late the generator itself was, 99th percentile; open loop only. */
  readonly lag: number
  readonly answers: Readonly<Record<Mark, number>>
}

const DRAIN_MS = 10_000
/** An open loop ends when so many seconds' worth of questions wait: more would say nothing new. */
const PILED_UP_S = 0.5
const GATHERED_MAX = 2_000_000

/** Loads a target for `forMs` and measures both ends over exactly the time in which answers were awaited. */
export async function load(target: Target, pace: Pace, forMs: number): Promise<Run> {
  const gathered = createGathered(target)
  forgetPeak(target.pid)
  const before = threadTimes(target.pid)
  const ownBefore = process.cpuUsage()
  const startedAt = performance.now()
  if ('atOnce' in pace) await closedLoop(target, gathered, pace, startedAt + forMs)
  else await openLoop(target, gathered, pace.perSecond, startedAt + forMs)
  const elapsed = (performance.now() - startedAt) * 1000
  const own = process.cpuUsage(ownBefore)
  const server = usedBetween(before, threadTimes(target.pid))
  const clientCpu = own.user + own.system
  const { latencies, lags, answers } = gathered.sorted()
  return {
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    perSecond: (latencies.length / elapsed) * 1e6,
    serverCpu: server.ran / latencies.length,
    serverBusy: server.ran / elapsed,
    serverWaited: server.waited / elapsed,
    clientCpu: clientCpu / latencies.length,
    clientBusy: clientCpu / elapsed,
    rssBytes: residentBytes(target.pid).peak,
    lag: quantile(lags, 0.99),
    answers,
  }
}

/** Asks every question once, many at a time, and tells of each answer; this also warms the server up. */
export async function askAll(
  { lane, questions }: Pick<Target, 'lane' | 'questions'>,
  atOnce: number,
  told: (index: number, answer: Answer) => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let next = 0
  let unanswered = questions
  const ask = () => {
    if (next < questions) lane.ask(next++, take)
  }
  const take = (index: number, answer: Answer) => {
    told(index, answer)
    unanswered--
    if (unanswered === 0) resolve()
    else ask()
  }
  for (let slot = 0; slot < atOnce; slot++) ask()
  await promise
}

type Gathered = ReturnType<typeof createGathered>

function createGathered({ mark }: Target) {
  const latencies = new Float64Array(GATHERED_MAX)
  const lags: number[] = []
  const answers: Record<Mark, number> = { right: 0, shed: 0, wrong: 0 }
  let count = 0
  return {
    count: () => count,
    late: (byMs: number) => void lags.push(byMs * 1000),
    take(index: number, answer: Answer, sinceMs: number) {
      if (count < GATHERED_MAX) latencies[count++] = (performance.now() - sinceMs) * 1000
      answers[mark(index, answer)]++
    },
    sorted: () => ({
      latencies: latencies.subarray(0, count).sort(),
      lags: Float64Array.from(lags).sort(),
      answers,
    }),
  }
}

function closedLoop(
  target: Target,
  gathered: Gathered,
  { atOnce, upTo = Number.POSITIVE_INFINITY }: AtOnce,
  untilMs: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let unanswered = 0
  let next = 0
  const ask = () => {
    const since = performance.now()
    unanswered++
    target.lane.ask(next++ % target.questions, (index, answer) => {
      gathered.take(index, answer, since)
      unanswered--
      if (next < upTo && performance.now() < untilMs) ask()
      else if (unanswered === 0) resolve()
    })
  }
  for (let slot = 0; slot < Math.min(atOnce, upTo); slot++) ask()
  return promise
}

// Latency counts from the moment a question was due, so that a server that stalls cannot slow its own
// examiner down. The generator spins on its own core, because timers are too coarse for a thousandth of a
// second.
async function openLoop(
  target: Target,
  gathered: Gathered,
  perSecond: number,
  untilMs: number,
): Promise<void> {
  const startedAt = performance.now()
  const planned = Math.floor(((untilMs - startedAt) / 1000) * perSecond)
  let sent = 0
  while (sent < planned && sent - gathered.count() < perSecond * PILED_UP_S) {
    const due = startedAt + (sent / perSecond) * 1000
    const late = performance.now() - due
    if (late < 0) {
      await nextTurn()
      continue
    }
    gathered.late(late)
    target.lane.ask(sent++ % target.questions, (index, answer) => gathered.take(index, answer, due))
  }
  while (gathered.count() < sent && performance.now() < untilMs + DRAIN_MS) await nextTurn()
}

function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
