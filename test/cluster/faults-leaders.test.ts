import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { GENERATIONS_NAME } from '../../operator/ledger/facts.ts'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import type { Program } from '../cluster-node/program.ts'
import {
  ALLOWING,
  bundleYaml,
  issuerYaml,
  podYaml,
  policyYaml,
  revocationYaml,
  SYSTEM,
} from './control-objects.ts'
import type { RunningRole } from './control-role.ts'
import { type ControlWorld, denies, openControlWorld, type Sidecar } from './control-world.ts'
import type { Asked } from './kube-fault-proxy.ts'
import { eventually } from './kube-ground.ts'

const reason = notRun('cluster', 'test/cluster/faults-leaders.test.ts', apiUnavailable())

// The leader is a process of its own that is frozen or killed; another replica follows in this one.

describe.skipIf(reason)('leaders that end badly', () => {
  let world: ControlWorld
  let leader: Program
  let follower: RunningRole
  let sidecar: Sidecar
  let made = 0

  beforeAll(async () => {
    world = await openControlWorld()
    await world.apply([issuerYaml, bundleYaml(ALLOWING('a')), policyYaml(), podYaml('web-1')].join('\n---\n'))
  }, 240_000)
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
  }, 60_000)
  beforeEach(async () => {
    world.proxies.other.on(() => undefined)
    leader = await world.startProgram('control-b')
    await eventually(async () => expect(await holder(), leader.tail()).toMatch(/^control-b_/), 40_000)
    follower = await world.startControl('control-a')
    sidecar = await world.sidecar('web-1', follower)
    await eventually(() => sidecar.held().generation > 0, 60_000)
  }, 120_000)
  afterEach(async () => {
    sidecar?.close()
    await leader?.kill()
    expect(follower?.failed()).toBeUndefined()
    await follower?.[Symbol.asyncDispose]()
  }, 60_000)

  const holder = async (): Promise<string> => {
    const { spec } = await world.get('lease', 'portcullis-control', SYSTEM).catch(() => ({ spec: {} }))
    return spec.holderIdentity ?? ''
  }
  const counters = () =>
    world.proxies.control.streams
      .filter(({ asked: { path } }) => path.endsWith('/configmaps'))
      .flatMap(({ lines }) => lines)
      .flatMap((line) => {
        const { object } = JSON.parse(line)
        if (object?.metadata?.name !== GENERATIONS_NAME) return []
        return [JSON.parse(object.data.text).counter as number]
      })
  const isMonotone = (numbers: readonly number[]) =>
    numbers.every((number, index) => number >= (numbers[index - 1] ?? 0))

  test('I14 a leader that was paused beyond its lease writes nothing more', async () => {
    leader.pause()
    await eventually(async () => expect(await holder()).toMatch(/^control-a_/), 60_000)
    made += 1
    const { generation } = sidecar.held()
    await world.apply(revocationYaml(`r${made}`))
    await world.apply(policyYaml(`https://s${made}.example`))
    await eventually(() => denies(sidecar, `r${made}`), 30_000)
    await eventually(() => expect(sidecar.held().generation).toBeGreaterThan(generation), 30_000)
    const before = world.proxies.other.asked.length
    leader.resume()
    await delay(8_000)
    const late = world.proxies.other.asked
      .slice(before)
      .filter(({ method, path }) => method !== 'GET' && !path.includes('/leases/'))
    expect(late.map(({ method, path }) => `${method} ${path}`)).toEqual([])
    expect(await holder()).toMatch(/^control-a_/)
    expect(isMonotone(counters())).toBe(true)
    expect(counters().length).toBeGreaterThan(1)
  }, 180_000)

  const writes = (name: RegExp) => (asked: Asked) =>
    asked.method !== 'GET' && asked.path.includes('/configmaps') && name.test(asked.path)
  test.each<readonly [string, RegExp | 'POST', () => string]>([
    [
      'I15 leader killed mid-publish, before a part of the bundle is stored',
      'POST',
      () => bundleYaml(ALLOWING(`k${made}`)),
    ],
    [
      'I15 leader killed mid-publish, before the head of the bundle is stored',
      /portcullis-bundle-/,
      () => bundleYaml(ALLOWING(`k${made}`)),
    ],
    [
      'I15 leader killed mid-publish, before it is numbered',
      /portcullis-generations/,
      () => bundleYaml(ALLOWING(`k${made}`)),
    ],
    [
      'I23 leader killed before a revocation is stored',
      /portcullis-revocations-/,
      () => revocationYaml(`k${made}`),
    ],
  ])(
    '%s: the next one finishes, and nothing is torn',
    async (_name, which, change) => {
      made += 1
      const fits =
        which === 'POST'
          ? (asked: Asked) => asked.method === 'POST' && asked.path.endsWith('/configmaps')
          : writes(which)
      const { generation } = sidecar.held()
      const killed = new Promise<void>((done) => {
        world.proxies.other.on((asked) => {
          if (!fits(asked)) return undefined
          void leader.kill().then(done)
          return { reset: true }
        })
      })
      const yaml = change()
      await world.apply(yaml)
      await killed
      if (yaml.includes('kind: Revocation')) await eventually(() => denies(sidecar, `k${made}`), 60_000)
      else {
        await eventually(() => expect(sidecar.held().generation).toBeGreaterThan(generation), 90_000)
        const files = sidecar.received.flatMap(({ response }) =>
          response.$case === 'delta'
            ? (response.delta.policy?.files ?? [])
            : response.$case === 'snapshot'
              ? (response.snapshot.policy?.files ?? [])
              : [],
        )
        const wasm = files.filter(({ path }) => path === 'policy.wasm').at(-1)
        if (!wasm) throw new Error('no policy.wasm')
        sidecar.send({ $case: 'want', want: { sha256: wasm.sha256 } })
        await sidecar.until('chunk', ({ chunk }) => chunk.sha256.equals(wasm.sha256))
      }
      expect(isMonotone(counters())).toBe(true)
      await eventually(async () => expect(await holder()).toMatch(/^control-a_/), 60_000)
    },
    180_000,
  )
})
