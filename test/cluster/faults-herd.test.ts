import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Held } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { ALLOWING, bundleYaml, issuerYaml, podYaml, policyYaml, revocationYaml } from './control-objects.ts'
import type { RunningRole } from './control-role.ts'
import { type ControlWorld, connect, denies, openControlWorld, type Sidecar } from './control-world.ts'
import { eventually } from './kube-ground.ts'

const reason = notRun('cluster', 'test/cluster/faults-herd.test.ts', apiUnavailable())

// As many as two shared cores can carry with all their clients in the same process; thousands are measured by the fleet simulation.
const HERD = 500
const names = Array.from({ length: HERD }, (_, index) => `herd-${index}`)

describe.skipIf(reason)('a herd of sidecars', () => {
  let world: ControlWorld
  let control: RunningRole
  let herd: readonly Sidecar[] = []

  beforeAll(async () => {
    world = await openControlWorld()
    await world.apply([issuerYaml, bundleYaml(ALLOWING('a')), policyYaml()].join('\n---\n'))
    await world.apply(names.map((name) => podYaml(name)).join('\n---\n'))
    control = await world.startControl('control-a')
    // Bounded: the issuer lets so many of one node in at once, and kubectl asks for their tokens.
    for (let from = 0; from < HERD; from += 20)
      await Promise.all(names.slice(from, from + 20).map((name) => world.identityOf(name)))
  }, 600_000)
  afterAll(async () => {
    for (const sidecar of herd) sidecar.close()
    await control?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  }, 60_000)

  const connectAll = async (held: readonly Held[] = []): Promise<readonly Sidecar[]> => {
    const trust = await world.trust()
    const identities = await Promise.all(names.map(world.identityOf))
    return identities.map((identity, index) => connect(control, { identity, trust }, held[index] ?? {}))
  }

  test('I20 thundering herd: all are served again in a minute, and nobody is sent what it has', async () => {
    const startedAt = performance.now()
    herd = await connectAll()
    await eventually(() => herd.every((one) => one.held().generation > 0 && one.heartbeats() > 0), 120_000)
    const first = performance.now() - startedAt
    await world.apply(revocationYaml('r1'))
    const revokedAt = performance.now()
    await eventually(() => herd.every((one) => denies(one, 'r1')), 60_000)
    const spread = performance.now() - revokedAt
    await eventually(async () => {
      expect(await world.condition('accesspolicy', 'front', 'Programmed')).toMatch(
        new RegExp(`True AllAcknowledged ${HERD}/${HERD}`),
      )
    }, 60_000)

    const held = herd.map((one) => one.held())
    await control[Symbol.asyncDispose]()
    for (const sidecar of herd) sidecar.close()
    control = await world.startControl('control-a')
    const againAt = performance.now()
    herd = await connectAll(held)
    await eventually(() => herd.every((one) => one.heartbeats() > 0), 60_000)
    const again = performance.now() - againAt
    const sent = herd.flatMap(({ received }) => received.map(({ response }) => response.$case))
    expect(sent.filter((kind) => kind === 'snapshot' || kind === 'delta' || kind === 'recall')).toEqual([])
    expect(control.failed()).toBeUndefined()
    const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`
    console.log(
      `I20: ${HERD} streams: first ${seconds(first)}, one revocation ${seconds(spread)}, again ${seconds(again)}`,
    )
  }, 300_000)
})
