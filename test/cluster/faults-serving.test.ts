import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { ALLOWING, bundleYaml, issuerYaml, podYaml, policyYaml, revocationYaml } from './control-objects.ts'
import type { RunningRole } from './control-role.ts'
import { type ControlWorld, denies, openControlWorld, type Sidecar } from './control-world.ts'
import { statusBody } from './kube-fault-proxy.ts'
import { eventually } from './kube-ground.ts'

const reason = notRun('cluster', 'test/cluster/faults-serving.test.ts', apiUnavailable())

// What surrounds the operator misbehaves; sidecars must go on as they were, and what changes afterwards must arrive.

describe.skipIf(reason)('what control serves', () => {
  let world: ControlWorld
  let control: RunningRole
  let sidecar: Sidecar
  let made = 0

  beforeAll(async () => {
    world = await openControlWorld()
    await world.apply([issuerYaml, bundleYaml(ALLOWING('a')), policyYaml(), podYaml('web-1')].join('\n---\n'))
    control = await world.startControl('control-a')
    sidecar = await world.sidecar('web-1', control)
    await eventually(() => revisions().length > 0, 60_000)
  }, 240_000)
  afterAll(async () => {
    sidecar?.close()
    await control?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  }, 60_000)
  beforeEach(() => {
    for (const proxy of Object.values(world.proxies)) proxy.on(() => undefined)
  })

  /** Revisions of the policy that the sidecar was sent, oldest first. */
  const revisions = () =>
    sidecar.received.flatMap(({ response }) => {
      if (response.$case === 'snapshot')
        return [response.snapshot.policy?.revision ?? response.snapshot.withheld]
      return response.$case === 'delta' && response.delta.policy ? [response.delta.policy.revision] : []
    })
  const revoke = async () => {
    made += 1
    await world.apply(revocationYaml(`r${made}`))
    return `r${made}`
  }
  const goesOn = async (ms = 3_000) => {
    // One a second; a machine that stands still may bring them late.
    const wanted = sidecar.heartbeats() + Math.floor(ms / 1_000) - 1
    await delay(ms)
    await eventually(() => expect(sidecar.heartbeats()).toBeGreaterThanOrEqual(wanted))
  }
  const heals = async () => {
    const jti = await revoke()
    await eventually(() => denies(sidecar, jti), 60_000)
    expect(control.failed()).toBeUndefined()
  }

  test('I1 API server down: streams and leases go on, and what changes afterwards arrives', async () => {
    await world.api.stop('apiserver')
    await goesOn(14_000)
    await world.api.start('apiserver')
    await heals()
  }, 120_000)

  test('I1 API server down at start: nothing is served, and then everything', async () => {
    world.proxies.control.on(() => ({ reset: true }))
    const starting = world.startControl('control-b')
    await delay(4_000)
    world.proxies.control.on(() => undefined)
    const second = await starting
    const late = await world.sidecar('web-1', second)
    await late.until('snapshot', ({ snapshot }) => snapshot.withheld === '')
    late.close()
    await second[Symbol.asyncDispose]()
    sidecar.close()
    sidecar = await world.sidecar('web-1', control)
    await heals()
  }, 120_000)

  test('I11 invalid Rego: the status names file and line, and the fleet keeps what it has', async () => {
    const before = revisions().at(-1)
    const count = revisions().length
    await world.apply(bundleYaml('package app\n\nallow contains "x" if {\n  input.action = = "y"\n}\n'))
    await eventually(async () => {
      const compiled = await world.condition('policybundle', 'rules', 'Compiled')
      expect(compiled).toMatch(/^Compiled=False DoesNotCompile app\.rego:4: /)
      expect(compiled).toContain('stays in force')
    }, 30_000)
    await goesOn()
    expect(revisions()).toHaveLength(count)
    await world.apply(bundleYaml(ALLOWING('b')))
    await eventually(() => expect(revisions().at(-1)).not.toBe(before), 30_000)
    await eventually(async () => {
      expect(await world.condition('policybundle', 'rules', 'Programmed')).toMatch(
        /True AllAcknowledged|Pending/,
      )
    })
  }, 120_000)

  test('I12 compile bomb: it is refused with the limit that it passed, and nobody notices', async () => {
    const many = Array.from({ length: 90 }, (_, index) => index).join(', ')
    const loops = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `  some ${name} in [${many}]`).join('\n')
    const bomb = `package app\n\nallow contains "x" if {\n${loops}\n  a + b + c + d + e + f == -1\n}\n`
    const count = revisions().length
    const deaf = watchLoop()
    const began = performance.now()
    await world.apply(bundleYaml(bomb))
    await eventually(async () => {
      expect(await world.condition('policybundle', 'rules', 'Compiled')).toMatch(
        /False DoesNotCompile the compiler (took|wrote) /,
      )
    }, 60_000)
    const compiling = performance.now() - began
    await heals()
    expect(revisions()).toHaveLength(count)
    // Compiled in here, it would have been deaf for all of that time.
    expect(deaf()).toBeLessThan(compiling / 2)
    await world.apply(bundleYaml(ALLOWING('c')))
    await eventually(() => expect(revisions().length).toBeGreaterThan(count), 30_000)
  }, 180_000)

  test('I19 TokenReview outage: who is connected stays, who is new waits, and is let in afterwards', async () => {
    world.proxies.issuer.on(({ path }) =>
      path.endsWith('/tokenreviews') ? { status: 500, body: statusBody(500, 'InternalError') } : undefined,
    )
    await world.apply(podYaml('web-9'))
    const admitted = world.sidecar('web-9', control)
    let let_in = false
    void admitted.then(
      () => {
        let_in = true
      },
      () => undefined,
    )
    await goesOn(4_000)
    expect(let_in).toBe(false)
    world.proxies.issuer.on(() => undefined)
    const late = await admitted
    await late.until('snapshot', ({ snapshot }) => snapshot.withheld === '')
    late.close()
  }, 60_000)

  test.each<readonly [string, number, string, Readonly<Record<string, string>>]>([
    ['I25 throttled', 429, 'TooManyRequests', { 'retry-after': '1' }],
    ['I26 rights taken away', 403, 'Forbidden', {}],
  ])(
    '%s: nothing falls over, and all is caught up with',
    async (_name, status, why, headers) => {
      world.proxies.control.on(() => ({ status, headers, body: statusBody(status, why) }))
      const pending = await revoke()
      for (const { open, cut } of world.proxies.control.streams.map((stream) => stream)) if (open) cut()
      await delay(6_000)
      expect(control.failed()).toBeUndefined()
      expect(denies(sidecar, pending)).toBe(false)
      world.proxies.control.on(() => undefined)
      await eventually(() => denies(sidecar, pending), 60_000)
      await heals()
    },
    120_000,
  )

  test('I4 silent watch, for one kind only: the others go on', async () => {
    for (const stream of world.proxies.control.streams)
      if (stream.asked.path.endsWith('/accesspolicies')) stream.freeze()
    await heals()
    await goesOn()
  }, 60_000)

  test('a calm cluster is written to by nobody but leases, and the canary of the revocation log', async () => {
    await delay(12_000)
    const before = world.proxies.control.asked.length
    await delay(12_000)
    const writes = world.proxies.control.asked
      .slice(before)
      .filter(({ method, path }) => method !== 'GET' && !path.includes('/leases/'))
    const canary = writes.filter(({ path }) => path.includes('/portcullis-revocations-'))
    expect(canary.length).toBeLessThanOrEqual(2)
    expect(
      writes.filter((one) => !canary.includes(one)).map(({ method, path }) => `${method} ${path}`),
    ).toEqual([])
  }, 60_000)
})

/** The longest time, in milliseconds, that this process was deaf since. */
function watchLoop(): () => number {
  let [worst, last] = [0, performance.now()]
  const timer = setInterval(() => {
    worst = Math.max(worst, performance.now() - last - 20)
    last = performance.now()
  }, 20)
  return () => {
    clearInterval(timer)
    return worst
  }
}
