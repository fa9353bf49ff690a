import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { openAdmin } from '../contracts/admin.ts'
import { fetchDocument } from '../contracts/fetch.ts'
import { checkConfig } from './check-config.ts'
import { type Config, configPath, readConfig } from './config.ts'
import { createDecide } from './decide.ts'
import { readBundle } from './feed/bundle-files.ts'
import { createStandaloneFeed } from './feed/standalone.ts'
import {
  APPLICATION_ENTRYPOINT,
  type BundleFiles,
  engineLimits,
  FLOOR_ENTRYPOINT,
  prepareBundle,
} from './policy/bundle.ts'
import { createJudge } from './policy/judge.ts'
import type { PolicyModule, Report, Sleep } from './ports.ts'
import { type LineLog, openLineLog } from './record/log.ts'
import { createMetrics } from './record/metrics.ts'
import { createRecorder } from './record/recorder.ts'
import { createStatus } from './record/status.ts'
import { openAdmission } from './serve/admission.ts'
import { createChecks } from './serve/checks.ts'
import { createHealth } from './serve/health.ts'
import { openServer, type ServerConfig } from './serve/server.ts'
import { bind } from './token/binding.ts'
import { present } from './token/credentials.ts'
import { standing } from './token/standing.ts'
import { createVerify } from './token/verify.ts'
import { createInstall } from './trust/install.ts'
import { createKeys } from './trust/keys.ts'
import { createTrustStore } from './trust/store.ts'

const EXIT = { ok: 0, failed: 1, badConfig: 2 } as const

const wall = () => Date.now()
const format = (at: number) => new Date(at).toISOString()
const monotonic = () => performance.now()
const random = () => Math.random()
const sleep: Sleep = (ms, signal) => delay(ms, undefined, { signal })

/** What this program ships with: beside the sources in development, one level further up from the emitted code. */
function shipped(name: string): string {
  const beside = fileURLToPath(new URL(`../${name}`, import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL(`../../${name}`, import.meta.url))
}

const complain = (line: string) => process.stderr.write(`${line}\n`)

async function main(): Promise<number> {
  // A pattern that backtracks too much is finished by the linear engine instead of stalling every caller.
  setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks')
  const { values } = parseArgs({
    options: { config: { type: 'string' }, check: { type: 'boolean' }, version: { type: 'boolean' } },
  })
  if (values.version) {
    const { version } = JSON.parse(readFileSync(shipped('package.json'), 'utf8')) as { version: string }
    const manifest = JSON.parse(readFileSync(`${shipped('policies/bundle')}/.manifest`, 'utf8')) as {
      revision: string
    }
    process.stdout.write(`portcullis ${version}\nnode ${process.version}\nfloor ${manifest.revision}\n`)
    return EXIT.ok
  }
  const path = configPath(values.config, process.env)
  const read = readConfig(path, process.env)
  if (!read.ok) {
    complain(`${path}: ${read.problems.length} problem(s)`)
    for (const problem of read.problems) complain(`  ${problem}`)
    return EXIT.badConfig
  }
  const limits = engineLimits(read.config.limits.policyMemoryBytes)
  const floor = await prepareBundle(await readBundle(shipped('policies/bundle')), FLOOR_ENTRYPOINT, limits)
  if (values.check)
    return (await checkConfig(read.config, (line) => process.stdout.write(`${line}\n`)))
      ? EXIT.ok
      : EXIT.badConfig
  return run(read.config, floor)
}

/** Everything from here on is created, then run; `await using` closes in reverse order. */
async function run(config: Config, floor: PolicyModule): Promise<number> {
  const life = new AbortController()
  const draining = new AbortController()
  // Disposed last, however this function ends: nothing that waits may keep the process alive.
  using _end = {
    [Symbol.dispose]() {
      draining.abort()
      life.abort()
    },
  }
  const { logQueueBytes: queueBytes, drainSeconds } = config.limits
  const operations = openLineLog(2, { queueBytes, gatherMs: 1 }, sleep, draining.signal)
  const decisions = openLineLog(1, { queueBytes, gatherMs: 20 }, sleep, draining.signal)
  const report: Report = (event, facts) =>
    operations.line(JSON.stringify({ time: format(wall()), event, ...facts }))
  const { feed, status, metrics, checks } = assemble(config, floor, {
    decisions,
    report,
    life: life.signal,
    draining: draining.signal,
  })

  await using admin = await openAdmin(config.admin, {
    ...status.view,
    metrics: metrics.text,
    metricsType: metrics.contentType,
  })
  const health = createHealth(status.readings.ready, sleep, draining.signal)
  await using server = await openServer(serverConfig(config), checks, health, sleep)
  report('listening', { ...definedOnly(server.addresses), admin: admin.address, pid: process.pid })
  warn(config, report)

  const stopped = untilStopped(report)
  reloadOnHangup(() => feed.reload(life.signal), report)
  const serving = feed.load(life.signal).then(() => {
    report('loaded', { ready: status.readings.ready(), causes: status.view.notReadyBecause() })
    return feed.run(life.signal)
  })
  const ended = serving.then(
    () => EXIT.ok,
    (cause: unknown) => (life.signal.aborted ? EXIT.ok : failed(report, cause)),
  )
  const code = await Promise.race([stopped, ended])
  report('draining', { seconds: drainSeconds })
  draining.abort()
  await server.drain(drainSeconds * 1000, life.signal)
  life.abort()
  report('stopped')
  await Promise.all([
    decisions.flush(AbortSignal.timeout(1_000)),
    operations.flush(AbortSignal.timeout(1_000)),
  ])
  decisions.close()
  operations.close()
  return code
}

interface Surroundings {
  readonly decisions: LineLog
  readonly report: Report
  readonly life: AbortSignal
  readonly draining: AbortSignal
}

/** Wires the rooms: who knows whom is decided here and nowhere else. */
function assemble(config: Config, floor: PolicyModule, { decisions, report, life, draining }: Surroundings) {
  const { limits } = config
  const store = createTrustStore()
  const prepare = (files: BundleFiles) =>
    prepareBundle(files, APPLICATION_ENTRYPOINT, engineLimits(limits.policyMemoryBytes))
  const install = createInstall(store, prepare)
  const feed = createStandaloneFeed(config.trust, {
    fetch: fetchDocument,
    now: monotonic,
    wall,
    sleep,
    random,
    report,
    install,
  })
  const keys = createKeys({
    refresh: feed.refreshKeys,
    installed: store.installed,
    now: monotonic,
    sleep,
    lifetime: life,
  })
  const decide = createDecide({
    current: store.current,
    present,
    verify: createVerify(keys.find),
    bind,
    standing,
    judge: createJudge(floor),
    broke: (fault) => report('fault', { code: fault.code, problem: fault.message }),
  })
  const admission = openAdmission(
    { inFlight: limits.inFlight, lagMs: limits.eventLoopLagMs },
    monotonic,
    sleep,
    life,
  )
  const status = createStatus({
    store,
    feed,
    keys,
    floor,
    admission,
    dropped: decisions.dropped,
    wall,
    monotonic,
    draining,
  })
  const metrics = createMetrics(status.readings)
  const record = createRecorder(metrics, config.logDecisions ? decisions : undefined, wall, format)
  const checks = createChecks(
    { decide, record, nextId: createIds(), wall, now: monotonic, sleep, admission },
    { streamWindow: limits.streamWindow, deadlineMs: limits.deadlineMs },
    draining,
  )
  return { feed, status, metrics, checks }
}

function serverConfig({ unix, tcp, limits }: Config): ServerConfig {
  const { connections, requestBytes, streamsPerConnection: streams } = limits
  return { unix, tcp, connections, requestBytes, streams }
}

function reloadOnHangup(reload: () => Promise<void>, report: Report): void {
  process.on('SIGHUP', () => {
    report('reloading', { note: 'bundle and key files only; other changes need a restart' })
    reload().catch(() => undefined)
  })
  // The default of this signal opens a debugger port.
  process.on('SIGUSR1', () => undefined)
}

/** Resolves at the first SIGTERM or SIGINT; the second one ends the process where it stands. */
function untilStopped(report: Report): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  let asked = 0
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      asked++
      if (asked > 1) process.exit(EXIT.failed)
      report('stopping', { signal })
      resolve(EXIT.ok)
    })
  }
  return promise
}

function warn(config: Config, report: Report): void {
  for (const { issuer, insecureLoopback } of config.trust.issuers) {
    if (insecureLoopback)
      report('insecure_loopback', { issuer, note: 'plain http to loopback is allowed; never in production' })
  }
}

function failed(report: Report, cause: unknown): number {
  report('failed', { problem: cause instanceof Error ? cause.message : 'unknown' })
  return EXIT.failed
}

function createIds(): () => string {
  const prefix = randomBytes(9).toString('base64url')
  let count = 0
  return () => `${prefix}-${(count++).toString(36)}`
}

function definedOnly(addresses: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(addresses).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (cause: unknown) => {
    complain(JSON.stringify({ event: 'failed', problem: cause instanceof Error ? cause.message : 'unknown' }))
    process.exitCode = EXIT.failed
  },
)
