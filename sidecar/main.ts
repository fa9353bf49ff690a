import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { openAdmin } from '../contracts/admin.ts'
import { fetchDocument } from '../contracts/fetch.ts'
import { createPoster } from '../contracts/post.ts'
import { assemble } from './assemble.ts'
import { checkConfig, checkInjected } from './check-config.ts'
import { type Config, configPath, readConfig, type Serving } from './config.ts'
import { explainSharing } from './config-explained.ts'
import { asksForInjection, type InjectedConfig, parseInjected } from './config-injected.ts'
import { readBundle } from './feed/bundle-files.ts'
import type { Identity } from './identity/identity.ts'
import { openWorkloadApi } from './identity/workload-server.ts'
import { engineLimits, FLOOR_ENTRYPOINT, prepareBundle } from './policy/bundle.ts'
import type { PolicyModule, Report, Sleep } from './ports.ts'
import { type LineLog, openLineLog } from './record/log.ts'
import { openCredentials } from './serve/credentials.ts'
import { createHealth } from './serve/health.ts'
import { listenUnix } from './serve/listeners.ts'
import { openServer, type ServerConfig } from './serve/server.ts'
import { NONCE_SECRET_BYTES } from './token/nonce.ts'

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
const say = (line: string) => process.stdout.write(`${line}\n`)

async function main(): Promise<number> {
  // A pattern that backtracks too much is finished by the linear engine instead of stalling every caller.
  setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks')
  return asksForInjection(process.argv) ? mainInjected(process.argv.slice(2)) : mainStandalone()
}

async function mainStandalone(): Promise<number> {
  const { values } = parseArgs({
    options: { config: { type: 'string' }, check: { type: 'boolean' }, version: { type: 'boolean' } },
  })
  if (values.version) {
    const manifest = JSON.parse(readFileSync(`${shipped('policies/bundle')}/.manifest`, 'utf8')) as {
      revision: string
    }
    process.stdout.write(`portcullis ${version()}\nnode ${process.version}\nfloor ${manifest.revision}\n`)
    return EXIT.ok
  }
  const path = configPath(values.config, process.env)
  const read = readConfig(path, process.env)
  if (!read.ok) return refused(path, read.problems)
  const floor = await prepareFloor(read.config)
  return values.check ? checked(await checkConfig(read.config, say)) : run(read.config, floor)
}

async function mainInjected(args: readonly string[]): Promise<number> {
  const read = parseInjected(args, process.env)
  if (!read.ok) return refused('--injected', read.problems)
  const floor = await prepareFloor(read.config)
  return args.includes('--check') ? checked(await checkInjected(read.config, say)) : run(read.config, floor)
}

function prepareFloor({ limits }: Serving): Promise<PolicyModule> {
  const engine = engineLimits(limits.policyMemoryBytes)
  return readBundle(shipped('policies/bundle')).then((files) =>
    prepareBundle(files, FLOOR_ENTRYPOINT, engine),
  )
}

function version(): string {
  const { version } = JSON.parse(readFileSync(shipped('package.json'), 'utf8')) as { version: string }
  return version
}

function refused(where: string, problems: readonly string[]): number {
  complain(`${where}: ${problems.length} problem(s)`)
  for (const problem of problems) complain(`  ${problem}`)
  return EXIT.badConfig
}

function checked(sound: boolean): number {
  return sound ? EXIT.ok : EXIT.badConfig
}

/** Everything from here on is created, then run; `await using` closes in reverse order: the identity first up and last gone. */
async function run(config: Config | InjectedConfig, floor: PolicyModule): Promise<number> {
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
  using poster = createPoster()
  const { feed, identity, checks, ready, credentials, sharing, view } = assemble(config, floor, {
    ...{ wall, monotonic, sleep, random, format, decisions, report },
    fetch: fetchDocument,
    salt: randomBytes(32),
    chance: randomBytes,
    post: poster.post,
    nextId: createIds(),
    proofSecret: randomBytes(NONCE_SECRET_BYTES),
    version: version(),
    life: life.signal,
    draining: draining.signal,
  })

  await using workloadApi =
    'identity' in config && identity ? await openIdentity(config, identity) : undefined
  const identified = identity?.run(life.signal)
  const shared = sharing.run(life.signal)
  await using handout = config.credentials && (await openCredentials(config.credentials, credentials, sleep))
  await using admin = await openAdmin(config.admin, view)
  await using server = await openServer(
    serverConfig(config),
    checks,
    createHealth(ready, sleep, draining.signal),
    sleep,
  )
  const addresses = {
    ...server.addresses,
    admin: admin.address,
    workload: workloadApi?.address,
    credentials: handout?.address,
  }
  report('listening', { ...definedOnly(addresses), pid: process.pid })
  warn(config, report)

  const stopped = untilStopped(report)
  reloadOnHangup(() => feed.reload(life.signal), report)
  const serving = feed.load(life.signal).then(() => {
    report('loaded', { ready: ready(), causes: view.notReadyBecause() })
    return feed.run(life.signal)
  })
  const ended = Promise.all([serving, identified, shared]).then(
    () => EXIT.ok,
    (cause: unknown) => (life.signal.aborted ? EXIT.ok : failed(report, cause)),
  )
  const code = await Promise.race([stopped, ended])
  report('draining', { seconds: drainSeconds })
  draining.abort()
  await server.drain(drainSeconds * 1000, life.signal)
  life.abort()
  report('stopped')
  await closed([decisions, operations])
  return code
}

async function closed(logs: readonly LineLog[]): Promise<void> {
  await Promise.all(logs.map((log) => log.flush(AbortSignal.timeout(1_000))))
  for (const log of logs) log.close()
}

// The application's own socket for its identities: a mount of its own, and nothing else is served there.
function openIdentity({ workloadApi, limits }: InjectedConfig, { workloadApi: api }: Identity) {
  return openWorkloadApi(api, (accept) => listenUnix(workloadApi, limits.connections, accept), sleep)
}

function serverConfig({ unix, tcp, limits }: Serving): ServerConfig {
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

function warn(config: Config | InjectedConfig, report: Report): void {
  if ('identity' in config) return
  for (const { issuer, insecureLoopback } of config.trust.issuers) {
    if (insecureLoopback)
      report('insecure_loopback', { issuer, note: 'plain http to loopback is allowed; never in production' })
  }
  const alone = explainSharing(config.trust, config.redis !== undefined)
  if (alone) report('proofs_not_shared', { note: alone })
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
