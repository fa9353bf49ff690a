import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { fetchVersion } from '../contracts/fetch.ts'
import { type Config, readConfig } from './config.ts'
import { runControl } from './control/run.ts'
import { createCompile } from './gather/compile.ts'
import { createCertificateMaker } from './identity/serving.ts'
import { runIssuerRole } from './issuer/run.ts'
import type { KubeMetrics } from './kube/metrics.ts'
import { type Clocks, Fault, type Report } from './ports.ts'
import { DECLARED } from './record/declared.ts'
import { createReport } from './record/log.ts'
import { createMetrics, type Metrics } from './record/metrics.ts'
import { cleanUp } from './release/clean-up.ts'
import { helmTest } from './release/helm-test.ts'

const EXIT = { ok: 0, failed: 1, badConfig: 2 } as const

const clocks: Clocks = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
}

/** What this program ships with: beside the sources in development, one level further up from the emitted code. */
function shipped(name: string): string {
  const beside = fileURLToPath(new URL(`../${name}`, import.meta.url))
  return existsSync(`${beside}/capabilities.json`)
    ? beside
    : fileURLToPath(new URL(`../../${name}`, import.meta.url))
}

interface Surroundings extends Clocks {
  readonly report: Report
  readonly metrics: KubeMetrics
  readonly record: Metrics
}

const ROLES: Readonly<
  Record<Config['role'], (config: Config, around: Surroundings, signal: AbortSignal) => Promise<void>>
> = {
  control: (config, around, signal) =>
    runControl(
      config,
      {
        ...around,
        fetch: fetchVersion,
        compile: createCompile({ opa: config.opa, policies: shipped('policies'), sleep: clocks.sleep }),
        maker: createCertificateMaker(randomBytes),
      },
      signal,
    ),
  issuer: (config, around, signal) => runIssuerRole(config, { ...around, entropy: randomBytes }, signal),
  cleanup: cleanUp,
  'helm-test': helmTest,
}

async function main(): Promise<number> {
  const args = process.argv.slice(2)
  if (args[0] === '--version') {
    const { version } = JSON.parse(readFileSync(`${shipped('policies')}/../package.json`, 'utf8')) as {
      version: string
    }
    process.stdout.write(`portcullis-operator ${version}\nnode ${process.version}\n`)
    return EXIT.ok
  }
  const read = readConfig(args, process.env)
  if (!read.ok) {
    for (const problem of read.problems) process.stderr.write(`portcullis-operator: ${problem}\n`)
    return EXIT.badConfig
  }
  const report = createReport(clocks.now, (at) => new Date(at).toISOString())
  const record = createMetrics(DECLARED)
  const stopping = new AbortController()
  let asked = 0
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      asked += 1
      if (asked > 1) process.exit(EXIT.failed)
      report('stopping', { signal })
      stopping.abort(new Fault('internal', `stopped by ${signal}`))
    })
  }
  // The default of this signal opens a debugger port.
  process.on('SIGUSR1', () => undefined)
  const around: Surroundings = { ...clocks, report, record, metrics: record as KubeMetrics }
  try {
    await ROLES[read.config.role](read.config, around, stopping.signal)
  } catch (cause) {
    if (!stopping.signal.aborted) {
      report('failed', { problem: Fault.from(cause).message })
      return EXIT.failed
    }
  }
  report('stopped')
  return EXIT.ok
}

main().then(
  (code) => {
    // Whatever is still open (a kept connection, a timer of a library) must not keep a stopped program.
    setTimeout(() => process.exit(code), 100)
  },
  (cause: unknown) => {
    process.stderr.write(
      `${JSON.stringify({ event: 'failed', problem: cause instanceof Error ? cause.message : 'unknown' })}\n`,
    )
    process.exit(EXIT.failed)
  },
)
