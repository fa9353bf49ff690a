import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import {
  HealthCheckResponse,
  HealthService,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../contracts/gen/standard/grpc/health/v1/health.ts'
import { until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { openRaw, type RawClient } from '../fixtures/raw.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { BUNDLES, flipBit, type Ground, openGround, revisionOf } from './ground.ts'
import { openH2 } from './h2.ts'

// What the kubelet, the scraper and a gRPC health client see.

const OURS = 'portcullis.authorizer.v1.Authorizer'

let ground: Ground
beforeEach(() => {
  ground = openGround()
})
afterEach(() => ground[Symbol.dispose]())

// Broken until `mend`.
function breakPolicy(): { mend(): void } {
  ground.policy.use(ground.policy.copy(BUNDLES.invoices, (at) => flipBit(join(at, 'policy.wasm'))))
  return { mend: () => ground.policy.use(BUNDLES.invoices) }
}

async function healthOf(raw: RawClient, service: string): Promise<string> {
  const reply = await raw.callBytes(
    HealthService.check.path,
    HealthService.check.requestSerialize({ service }),
  )
  if ('status' in reply) return `status ${reply.status.code}`
  return nameOf(HealthCheckResponse.decode(reply.bytes).status)
}

function nameOf(status: number): string {
  return Object.entries(Serving).find(([, code]) => code === status)?.[0] ?? String(status)
}

// Every state told to a watcher, in order, as it comes.
async function watch(target: string, service: string) {
  const h2 = await openH2(target)
  const call = h2.open(HealthService.watch.path)
  call.message(HealthService.watch.requestSerialize({ service }))
  call.end()
  const told: string[] = []
  call.stream.on('data', (chunk: Buffer) =>
    told.push(nameOf(HealthCheckResponse.decode(chunk.subarray(5)).status)),
  )
  await once(call.stream, 'data')
  return { told, ended: call.ended, [Symbol.asyncDispose]: () => h2[Symbol.asyncDispose]() }
}

describe('grpc.health.v1 Check', () => {
  test('is SERVING for the server and for the authorizer, and NOT_FOUND for others', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    for (const target of [sidecar.unix, sidecar.tcp]) {
      using raw = openRaw(target)
      expect(await healthOf(raw, '')).toBe('SERVING')
      expect(await healthOf(raw, OURS)).toBe('SERVING')
      expect(await healthOf(raw, 'portcullis.authorizer.v1.Other')).toBe('status 5')
      expect(await healthOf(raw, '__proto__')).toBe('status 5')
    }
  })

  test('is NOT_SERVING while nothing could be allowed', async () => {
    const policy = breakPolicy()
    await using sidecar = await startSidecar({ config: ground.config(), wait: 'listening' })
    using raw = openRaw(sidecar.unix)
    expect(await healthOf(raw, '')).toBe('NOT_SERVING')
    policy.mend()
    const serving = async () => (await healthOf(raw, OURS)) === 'SERVING' || undefined
    await until('SERVING', serving, { withinMs: 20_000 })
    expect(await verdictAt(raw, question({ token: forge() }))).toBe('allow')
  })
})

describe('grpc.health.v1 Watch', () => {
  test('tells the state at once, each change, and NOT_SERVING when it drains', async () => {
    const policy = breakPolicy()
    await using sidecar = await startSidecar({ config: ground.config(), wait: 'listening' })
    await using watcher = await watch(sidecar.unix, OURS)
    expect(watcher.told).toEqual(['NOT_SERVING'])
    policy.mend()
    await until('SERVING', () => watcher.told.includes('SERVING') || undefined, { withinMs: 20_000 })
    process.kill(sidecar.pid, 'SIGTERM')
    await watcher.ended
    expect(watcher.told).toEqual(['NOT_SERVING', 'SERVING', 'NOT_SERVING'])
    expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
  })

  test('of a service that is not ours says SERVICE_UNKNOWN and stays open', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    await using watcher = await watch(sidecar.unix, 'other')
    expect(watcher.told).toEqual(['SERVICE_UNKNOWN'])
  })

  test('by 200 watchers who hang up leaves the sidecar quiet', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    for (let round = 0; round < 10; round++) {
      const watchers = await Promise.all(Array.from({ length: 20 }, () => watch(sidecar.unix, '')))
      await Promise.all(watchers.map((one) => one[Symbol.asyncDispose]()))
    }
    using raw = openRaw(sidecar.unix)
    expect(await verdictAt(raw, question({ token: forge() }))).toBe('allow')
    expect(sidecar.noise).toEqual([])
  })
})

async function get(sidecar: Sidecar, path: string, method = 'GET') {
  const response = await fetch(`http://${sidecar.adminAddress}${path}`, {
    method,
    headers: { connection: 'close' },
  })
  return {
    status: response.status,
    type: response.headers.get('content-type') ?? '',
    text: await response.text(),
  }
}

describe('the admin port', () => {
  test('/livez is 200 text, ready or not', async () => {
    breakPolicy()
    await using sidecar = await startSidecar({ config: ground.config(), wait: 'listening' })
    expect(await get(sidecar, '/livez')).toMatchObject({ status: 200, type: 'text/plain', text: 'ok\n' })
    expect((await get(sidecar, '/readyz')).status).toBe(503)
  })

  test('/readyz is JSON with causes, remarks, generation and revisions', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    const { status, type, text } = await get(sidecar, '/readyz')
    expect({ status, type }).toEqual({ status: 200, type: 'application/json' })
    expect(JSON.parse(text)).toEqual({
      ready: true,
      causes: [],
      remarks: [],
      generation: expect.any(Number),
      policyRevision: revisionOf(BUNDLES.invoices),
      floorRevision: expect.stringMatching(/^sha256:/),
    })
  })

  test('/metrics is Prometheus text with the names that operators look for', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    using raw = openRaw(sidecar.unix)
    await verdictAt(raw, question({ token: forge() }))
    await verdictAt(raw, question({ token: 'x' }))
    const { status, type, text } = await get(sidecar, '/metrics')
    expect(status).toBe(200)
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(text).toContain('portcullis_decisions_total{outcome="allow",reason="allowed"} 1')
    expect(text).toContain('access_token_validation_failure_total{reason="token_format"} 1')
    for (const name of [
      'portcullis_check_duration_seconds_bucket',
      'jwks_cache_lookups_total',
      'jwks_cache_hit_ratio',
      'jwks_refresh_total',
      'jwks_age_seconds',
      'portcullis_bundle_activations_total',
      'portcullis_policy_memory_bytes',
      'portcullis_event_loop_lag_seconds',
      'portcullis_log_lines_dropped_total',
    ]) {
      expect(text).toMatch(new RegExp(`^${name}[{ ]`, 'm'))
    }
  })

  test('has nothing else: other paths and methods are 404', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    const others = [
      ['/', 'GET'],
      ['/readyz/', 'GET'],
      ['/__proto__', 'GET'],
      ['/constructor', 'GET'],
      ['/debug/pprof', 'GET'],
      ['/%2e%2e/etc/passwd', 'GET'],
      ['/metrics', 'POST'],
      ['/readyz', 'DELETE'],
      [AuthorizerService.check.path, 'POST'],
    ] as const
    for (const [path, method] of others) {
      expect([path, await get(sidecar, path, method)]).toMatchObject([
        path,
        { status: 404, text: 'not found\n' },
      ])
    }
    expect((await get(sidecar, '/readyz?verbose')).status).toBe(200)
  })

  test('listens where it is told, and the log says where that is', async () => {
    const config = ground.config({ admin: { listen: '127.0.0.2:0' } })
    await using sidecar = await startSidecar({ config })
    expect(sidecar.adminAddress).toMatch(/^127\.0\.0\.2:\d+$/)
    const port = Number(sidecar.adminAddress.split(':')[1])
    const table = readFileSync(`/proc/${sidecar.pid}/net/tcp`, 'utf8')
    expect(table).toContain(`0200007F:${port.toString(16).toUpperCase().padStart(4, '0')}`)
  })
})
