import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Measured, Order } from './fleet-operator.ts'
import { simulateFleet } from './fleet-sidecars.ts'

/**
 * What a fleet costs one operator process, as JSON rows: memory and CPU a stream, how long one revocation and one snapshot take to be
 * known and acknowledged by all, and how long everybody needs to be served again after a restart. The sidecars are simulated by grpc-js
 * clients of this process, 100 streams to a connection, over plain loopback: no TLS, and the clients compete with the operator for the
 * machine's cores. Usage: node test/load/fleet.ts [streams ...], 1000 and 5000 when none is given.
 */

const PATIENCE_MS = 120_000
const QUIET_MS = 10_000

interface Operator {
  readonly child: ChildProcess
  readonly port: number
  ask(order: Order['do']): Promise<Measured>
}

async function startOperator(args: readonly number[]): Promise<Operator> {
  const child = fork(join(import.meta.dirname, 'fleet-operator.ts'), args.map(String), {
    execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
  })
  const { port } = await answer<{ port: number }>(child)
  return {
    child,
    port,
    ask: (order) => {
      const answered = answer<Measured>(child)
      child.send({ do: order } satisfies Order)
      return answered
    },
  }
}

function answer<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Error('the operator ended'))
    child.once('exit', lost)
    child.once('message', (message) => {
      child.off('exit', lost)
      resolve(message as T)
    })
  })
}

/** Until every sidecar has acknowledged the newest; the measurement that found it so. */
async function level(operator: Operator, streams: number): Promise<Measured> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const measured = await operator.ask('acknowledged')
    if (measured.level === streams) return measured
    if (performance.now() > until) throw new Error(`only ${measured.level} of ${streams} became level`)
    await sleep(50)
  }
}

const round = (ms: number): number => Math.round(ms)
const mib = (bytes: number): number => Math.round((bytes / 1024 / 1024) * 10) / 10
const kib = (bytes: number): number => Math.round((bytes / 1024) * 10) / 10
const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN

function spread(times: readonly number[], since: number) {
  const after = times.map((at) => at - since)
  return {
    p50Ms: round(quantile(after, 0.5)),
    p99Ms: round(quantile(after, 0.99)),
    maxMs: round(quantile(after, 1)),
  }
}

function row(measure: string, streams: number, values: object): void {
  const machine = {
    transport: 'plain loopback',
    cpus: availableParallelism(),
    load1: round(loadavg()[0] ?? 0),
  }
  console.log(JSON.stringify({ measure, streams, ...values, ...machine }))
}

async function measure(streams: number): Promise<void> {
  let operator = await startOperator([streams, 1, 0, 0])
  const { port } = operator
  const fleet = simulateFleet(streams)
  try {
    const before = await operator.ask('measure')
    fleet.connect(port)
    await level(operator, streams)
    await sleep(3_000)
    const settled = await operator.ask('measure')
    row('memory', streams, {
      rssBeforeMiB: mib(before.rss),
      rssMiB: mib(settled.rss),
      rssKiBPerStream: kib((settled.rss - before.rss) / streams),
      heapKiBPerStream: kib((settled.heap - before.heap) / streams),
    })
    const beats = fleet.heartbeats()
    await sleep(QUIET_MS)
    const later = await operator.ask('measure')
    const cores = (later.cpuMs - settled.cpuMs) / (later.at - settled.at)
    const heartbeatsPerS = round(((fleet.heartbeats() - beats) / (later.at - settled.at)) * 1000)
    row('heartbeats only', streams, {
      heartbeatsPerS,
      cores: Math.round(cores * 1000) / 1000,
      rssMiB: mib(later.rss),
    })

    for (const order of ['revoke', 'change'] as const) {
      const { at, head, generation, cpuMs } = await operator.ask(order)
      const all = await level(operator, streams)
      const received =
        order === 'revoke' ? fleet.times('revocations', head) : fleet.times('snapshot', generation)
      row(order === 'revoke' ? 'one revocation to all' : 'one snapshot to all', streams, {
        ...spread(received, at),
        acknowledgedByAllMs: round(all.at - at),
        operatorCpuMs: round(all.cpuMs - cpuMs),
        received: received.length,
      })
    }

    for (const kind of ['warm', 'cold'] as const) {
      operator.child.kill('SIGKILL')
      await new Promise((resolve) => operator.child.once('exit', resolve))
      if (kind === 'cold') fleet.forget()
      operator = await startOperator([streams, 2, 1, port])
      const booted = await operator.ask('acknowledged')
      const from = performance.timeOrigin + performance.now()
      fleet.connect(port)
      const all = await level(operator, streams)
      await sleep(1_500)
      row(`reconnect storm, ${kind}`, streams, {
        ...spread(fleet.times('heartbeat', all.head), from),
        acknowledgedByAllMs: round(all.at - from),
        operatorCpuMs: round(all.cpuMs - booted.cpuMs),
        rssMiB: mib(all.rss),
      })
    }
  } finally {
    fleet.close()
    operator.child.disconnect()
  }
}

const asked = process.argv.slice(2).map(Number)
for (const streams of asked.length > 0 ? asked : [1_000, 5_000]) await measure(streams)
process.exit(0)
