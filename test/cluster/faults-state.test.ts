import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { type Api, apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
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
import { eventually } from './kube-ground.ts'

const reason = notRun('cluster', 'test/cluster/faults-state.test.ts', apiUnavailable())

// What the operator remembers, while the database loses it or its kinds. Oracles: nothing a sidecar was told falls (O3), what is revoked
// stays revoked (O5), nothing crashes (O8).

describe.skipIf(reason)('what control remembers', () => {
  let world: ControlWorld
  let control: RunningRole
  let sidecar: Sidecar
  let copy = ''

  beforeAll(async () => {
    world = await openControlWorld()
    await world.apply(
      [issuerYaml, bundleYaml(ALLOWING('a')), policyYaml(), podYaml('web-1'), revocationYaml('r1')].join(
        '\n---\n',
      ),
    )
    control = await world.startControl('control-a')
    const first = await world.sidecar('web-1', control)
    await served(first)
    await eventually(() => denies(first, 'r1'))
    first.close()
    await control[Symbol.asyncDispose]()
    copy = await backUp(world.api)
  }, 240_000)
  afterAll(async () => {
    await control?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  }, 60_000)
  beforeEach(async () => {
    await restore(world.api, copy)
    control = await world.startControl('control-a')
    sidecar = await world.sidecar('web-1', control)
    await served(sidecar)
  }, 120_000)
  afterEach(async () => {
    sidecar?.close()
    expect(control?.failed()).toBeUndefined()
    await control?.[Symbol.asyncDispose]()
  }, 60_000)

  const revoke = async (name: string) => {
    await world.apply(revocationYaml(name))
    await eventually(() => denies(sidecar, name))
  }
  const rolledBack = async () => {
    const { status } = await world.get('trustdomain', 'main')
    return JSON.stringify(status?.conditions ?? [])
  }

  test('I7 etcd restore: a running replica puts back what it remembers, and nothing falls', async () => {
    await revoke('r2')
    const before = sidecar.held().generation
    await world.apply(policyYaml('https://other.example'))
    await eventually(() => expect(sidecar.held().generation).toBeGreaterThan(before))
    const { generation, revocationHead } = sidecar.held()
    const lowest = watchFalls(sidecar)
    await restore(world.api, copy)
    await eventually(() => expect(control.reports.join('\n')).toContain('state_rolled_back'), 60_000)
    await eventually(async () => expect(await rolledBack()).toContain('StateRolledBack'), 30_000)
    await eventually(async () => {
      const { metadata } = await world.get('revocation', 'r1')
      expect(metadata.name).toBe('r1')
      expect(denies(sidecar, 'r2')).toBe(true)
      expect(denies(sidecar, 'r1')).toBe(true)
    })
    await revoke('r3')
    expect(denies(sidecar, 'r2')).toBe(true)
    expect(sidecar.held().revocationHead).toBeGreaterThan(revocationHead)
    await eventually(() => expect(sidecar.held().generation).toBeGreaterThan(generation), 30_000)
    expect(lowest()).toEqual([])
    // Once every revocation has an object again, nothing is left of it.
    await world.apply(revocationYaml('r2'))
    await eventually(
      async () =>
        expect(await world.condition('trustdomain', 'main', 'StateRolledBack')).toMatch(/False Recovered/),
      90_000,
    )
    expect(denies(sidecar, 'r2')).toBe(true)
  }, 180_000)

  test('I7 etcd restore: a new replica relearns from a sidecar before it serves anybody', async () => {
    await revoke('r2')
    const held = sidecar.held()
    const told = entriesOf(sidecar)
    sidecar.close()
    await control[Symbol.asyncDispose]()
    await restore(world.api, copy)
    control = await world.startControl('control-a')
    await world.apply(podYaml('web-2'))
    sidecar = await world.sidecar('web-1', control, held)
    sidecar.on(({ response }) => {
      if (response.$case !== 'recall') return
      const revocations = { base: 0, head: held.revocationHead, entries: told, removed: [] }
      sidecar.send({ $case: 'recalled', recalled: { held, revocations } })
    })
    await eventually(() => denies(sidecar, 'r2'), 60_000)
    expect(control.reports.join('\n')).toContain('state_rolled_back')
    const other = await world.sidecar('web-2', control)
    await eventually(() => denies(other, 'r2'))
    other.close()
  }, 180_000)

  test('I8 kinds deleted: what was revoked stays revoked, also when the kind is back', async () => {
    await revoke('r2')
    const crd = 'revocations.portcullis.dev'
    const definition = await world.get('crd', crd)
    await world.remove('crd', crd)
    await eventually(async () => {
      const { items } = JSON.parse(await world.api.kubectl(['get', 'crd', '-o', 'json']))
      expect(items.map(({ metadata }: { metadata: { name: string } }) => metadata.name)).not.toContain(crd)
    }, 60_000)
    await delay(2_000)
    expect(['r1', 'r2'].map((one) => denies(sidecar, one))).toEqual([true, true])
    const { metadata, spec } = definition
    await world.apply(
      JSON.stringify({
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: crd, annotations: metadata.annotations },
        spec,
      }),
    )
    await world.api.kubectl(['wait', '--for=condition=Established', '--timeout=60s', `crd/${crd}`])
    await eventually(() => revoke('r4'), 60_000)
    expect(['r1', 'r2'].map((one) => denies(sidecar, one))).toEqual([true, true])
    const late = await world.sidecar('web-1', control)
    await eventually(() => denies(late, 'r1') && denies(late, 'r2') && denies(late, 'r4'))
    late.close()
  }, 180_000)

  test('I5 a fact that cannot be read is named and stops nothing else', async () => {
    await world.apply(`
apiVersion: v1
kind: ConfigMap
metadata:
  name: portcullis-jwks-poison
  namespace: ${SYSTEM}
  labels: { portcullis.dev/part: state, portcullis.dev/fact: jwks }
data: { text: '{"version":99}' }
`)
    await revoke('r2')
    const before = sidecar.held().generation
    await world.apply(policyYaml('https://other.example'))
    await eventually(() => expect(sidecar.held().generation).toBeGreaterThan(before))
  }, 60_000)
})

async function served(sidecar: Sidecar): Promise<void> {
  await eventually(
    () =>
      sidecar.received.some(
        ({ response }) => response.$case === 'snapshot' && response.snapshot.withheld === '',
      ),
    60_000,
  )
}

/** Everything of which this sidecar was ever told that it is denied, as it would recall it. */
function entriesOf({ received }: Sidecar): Revocation[] {
  const entries = new Map<string, Revocation>()
  for (const { response } of received) {
    if (response.$case !== 'revocations') continue
    for (const entry of response.revocations.entries) entries.set(entry.id, entry)
  }
  return [...entries.values()]
}

/** Numbers and positions that fell from now on. */
function watchFalls(sidecar: Sidecar): () => readonly string[] {
  const falls: string[] = []
  let [generation, head] = [sidecar.held().generation, sidecar.held().revocationHead]
  sidecar.on(({ response }) => {
    if (response.$case === 'snapshot') {
      const next = response.snapshot.generation
      if (next < generation) falls.push(`generation ${generation} to ${next}`)
      generation = next
    }
    if (response.$case !== 'revocations') return
    if (response.revocations.head < head) falls.push(`position ${head} to ${response.revocations.head}`)
    head = response.revocations.head
  })
  return () => falls
}

async function backUp(api: Api): Promise<string> {
  const to = join(api.directory, 'etcd-copy')
  await api.stop()
  cpSync(join(api.directory, 'etcd'), to, { recursive: true })
  await api.start()
  return to
}

async function restore(api: Api, from: string): Promise<void> {
  const data = join(api.directory, 'etcd')
  await api.stop()
  rmSync(data, { recursive: true })
  cpSync(from, data, { recursive: true })
  await api.start()
}
