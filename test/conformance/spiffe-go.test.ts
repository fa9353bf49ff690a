// go-spiffe, the client that most applications use, at the real socket: fetches, validates and keeps mutual TLS up across renewals.
import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { notRun } from '../cluster-node/not-run.ts'
import { until } from '../fixtures/process.ts'
import { issued } from '../sidecar/identity/identities.ts'
import { openWorld, TRUST_DOMAIN, WORKLOAD, type World } from '../sidecar/identity/identity-world.ts'
import { type Endpoint, openEndpoint } from './spiffe-endpoint.ts'

const HOUR_MS = 3_600_000
const PATIENCE = { withinMs: 20_000 } as const
const probe = pathOfProbe()
notRun(
  'conformance',
  'test/conformance/spiffe-go.test.ts',
  probe ? undefined : 'the toolchain cannot build spiffe-probe here',
)

function pathOfProbe(): string | undefined {
  try {
    const said = execFileSync('bash', ['test/toolchain/toolchain.sh', 'path', 'spiffe-probe'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return said.trim().split('\n').at(-1)
  } catch {
    return undefined
  }
}

type Line = Readonly<Record<string, unknown>>

interface Probe extends Disposable {
  readonly lines: readonly Line[]
  readonly exited: Promise<number | null>
  stop(): void
}

function run(endpoint: Endpoint, args: readonly string[]): Probe {
  const lines: Line[] = []
  const child = spawn(probe ?? '', args, {
    env: { SPIFFE_ENDPOINT_SOCKET: `unix://${endpoint.path}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  createInterface({ input: child.stdout }).on('line', (text) => lines.push(JSON.parse(text)))
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  return {
    lines,
    exited,
    stop: () => void child.kill('SIGTERM'),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}

const of = ({ lines }: Probe, event: string) => lines.filter((line) => line['event'] === event)

describe.skipIf(!probe)('go-spiffe', () => {
  let world: World
  let endpoint: Endpoint
  beforeAll(async () => {
    world = await openWorld()
    // go-spiffe has the real clock, so certificates begin at the real moment, however far ours has been moved ahead.
    Object.assign(world.script, { wall: Date.now, svidTtlMs: 6 * HOUR_MS })
    endpoint = await openEndpoint(world)
    await issued(world, 'workload', 1)
  })
  afterAll(async () => {
    await endpoint[Symbol.asyncDispose]()
    await world[Symbol.asyncDispose]()
  })

  test('takes every answer: X509-SVID, bundles, JWT-SVID, and our validation agrees with its own', async () => {
    using fetch = run(endpoint, ['fetch', '--audience', 'api'])
    const code = await fetch.exited
    expect(fetch.lines.filter(({ event }) => event === 'error')).toEqual([])
    expect(code).toBe(0)
    expect(fetch.lines.map(({ event }) => event)).toEqual([
      'x509_svid',
      'x509_bundle',
      'x509_verified',
      'jwt_svid',
      'jwt_bundle',
      'jwt_validated',
    ])
    expect(of(fetch, 'x509_verified')[0]).toMatchObject({ id: WORKLOAD })
    expect(of(fetch, 'jwt_validated')[0]).toMatchObject({ id: WORKLOAD })
  })

  test('two workloads keep mutual TLS up, a new connection each time, across renewals of both', async () => {
    const port = 20_000 + (process.pid % 20_000)
    using serve = run(endpoint, ['serve', '--listen', `127.0.0.1:${port}`, '--trust-domain', TRUST_DOMAIN])
    await until('serving', () => of(serve, 'serving')[0], PATIENCE)
    using call = run(endpoint, [
      'call',
      `https://127.0.0.1:${port}/`,
      '--count',
      '0',
      '--interval',
      '5ms',
      '--trust-domain',
      TRUST_DOMAIN,
    ])
    // Half of the life that is left by our clock each time, and a minute, because the real one goes on meanwhile.
    for (const [index, hours] of [3, 1.5, 0.75].entries()) {
      await until('some calls', () => (of(call, 'progress').length > 3 * index ? true : undefined), PATIENCE)
      await world.time.advance(hours * HOUR_MS + 60_000)
      await issued(world, 'workload', 2 + index)
    }
    const last = of(call, 'progress').length
    await until('calls after the last renewal', () => of(call, 'progress')[last + 2], PATIENCE)
    call.stop()
    await call.exited
    expect(of(call, 'failed')).toEqual([])
    const [called] = of(call, 'called')
    expect(called).toMatchObject({ failed: 0, peers: [WORKLOAD] })
    expect(Number(called?.['serials'])).toBeGreaterThan(1)
    expect(Number(called?.['peerSerials'])).toBeGreaterThan(1)
  })
})
