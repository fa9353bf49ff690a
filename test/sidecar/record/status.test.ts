// What /readyz says to whoever is on call, of a sidecar that an operator feeds.
import { describe, expect, test } from 'vitest'
import { createStatus, type StatusSources } from '../../../sidecar/record/status.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { blobsOf, INVOICES } from '../trust/beliefs.ts'
import { fedSnapshot, openFed, withheldSnapshot } from '../trust/fed-world.ts'
import { AT, entry, message } from '../trust/revocation-world.ts'

const KEY = signingKey('RS256', 'k1')

const IDENTITY = {
  notReadyBecause: () => [],
  remarks: () => [],
  facts: () => ({ controlExpiresInS: 1800, workloadExpiresInS: 900 }),
  workloadStreams: () => 2,
}

function open(change: Partial<StatusSources> = {}) {
  let now = 1_000
  let connected = false
  const fed = openFed({ monotonic: () => now, wall: () => AT + now })
  const floor = { revision: 'floor-1', reads: () => true, memoryBytes: () => 1, discards: () => 0 }
  const status = createStatus({
    store: fed.store,
    feed: {
      sources: [],
      bundleProblem: () => (fed.store.installed() ? '' : 'nothing from the operator yet'),
      activations: { ok: 1, refused: 0 },
      stream: {
        connected: () => connected,
        problem: () => 'connection refused',
        trustSequence: () => 4,
        counts: { streams: 2, nacks: 3, refreshes: { ok: 5, failed: 6 } },
      },
    },
    keyAges: { early: () => [] },
    keys: { counts: { hits: 0, misses: 0 } },
    floor: { ...floor, evaluate: () => ({ effect: 'deny', allow: [], deny: [] }) },
    admission: { lagMs: () => 0, inFlight: () => 0 },
    dropped: () => 0,
    wall: () => AT + now,
    monotonic: () => now,
    draining: new AbortController().signal,
    ...change,
  })
  return {
    ...fed,
    status,
    causes: () => status.view.notReadyBecause(),
    remarks: () => status.view.remarks(),
    install: () => fed.believe.install(fedSnapshot(5, [{ keys: [KEY] }]), blobsOf(INVOICES)),
    beat() {
      connected = true
      fed.believe.greet()
      fed.believe.heartbeat({ revocationHead: 0, atMs: now })
    },
    pass(ms: number) {
      now += ms
    },
  }
}

describe('ready needs all of', () => {
  test('identity, snapshot and lease, and each that is missing is named', async () => {
    let identity: readonly string[] = ['identity of the sidecar: issuer does not answer']
    const world = open({ identity: { ...IDENTITY, notReadyBecause: () => identity } })
    expect(world.causes()).toEqual([
      'identity of the sidecar: issuer does not answer',
      'policy: nothing from the operator yet',
      'operator: connection refused',
    ])
    identity = []
    await world.install()
    expect(world.causes()).toEqual([
      'revocations: not confirmed by the operator yet; the standard lease is 60 s, so standard actions are denied',
    ])
    expect(world.status.readings.ready()).toBe(false)
    world.beat()
    expect(world.causes()).toEqual([])
    expect(world.status.readings.ready()).toBe(true)
  })

  test('a lease that lasts: the strict one is a remark, the standard one the end', async () => {
    const world = open()
    await world.install()
    world.beat()
    world.pass(5_000)
    expect(world.causes()).toEqual([])
    expect(world.remarks()).toEqual([
      'revocations: not confirmed for 5 s; the strict lease is 5 s, so strict actions are denied',
    ])
    world.pass(55_000)
    expect(world.causes()).toEqual([
      'revocations: not confirmed for 60 s; the standard lease is 60 s, so standard actions are denied',
    ])
  })

  test('permission: what withholds it is told in its own words', async () => {
    const world = open()
    await world.install()
    world.beat()
    const why =
      'no AccessPolicy selects this pod: create one in namespace shop whose selector matches its labels'
    await world.believe.install(withheldSnapshot(6, why), () => undefined)
    expect(world.causes()).toEqual([`withheld: ${why}`])
    expect(world.status.view.facts()).toMatchObject({ generation: 6, policyRevision: '' })
  })
})

test('the bound of a revocation is printed, with what it counts from', async () => {
  const world = open()
  await world.install()
  world.believe.revoke(message(0, 7, [entry('a', { $case: 'sub', sub: 'alice' })]))
  expect(world.status.view.facts()).toEqual({
    generation: 5,
    policyRevision: world.store.installed()?.policy.revision,
    floorRevision: 'floor-1',
    revocationHead: 7,
    revocationEntries: 1,
    trustSequence: 4,
    revocationBound:
      'no token revoked before T is allowed after T + 60 s (strict: T + 5 s; read_degraded: T + 900 s)',
  })
})

test('the numbers are those of the moment', async () => {
  const world = open({ identity: IDENTITY })
  const { pushed, trustGeneration, jwksRefreshes } = world.status.readings
  expect(pushed()).toMatchObject({ connected: false, leaseSeconds: {} })
  await world.install()
  world.beat()
  world.pass(2_500)
  world.believe.revoke(message(0, 7, [entry('a', { $case: 'sub', sub: 'alice' })]))
  expect(pushed()).toEqual({
    revocationHead: 7,
    revocationEntries: 1,
    leaseSeconds: { standard: 57.5, strict: 2.5, read_degraded: 897.5 },
    connected: true,
    streams: 2,
    nacks: 3,
    trustSequence: 4,
    svidSeconds: { control: 1800, workload: 900 },
    workloadStreams: 2,
  })
  world.pass(100_000)
  expect(pushed()?.leaseSeconds).toEqual({ standard: 0, strict: 0, read_degraded: 797.5 })
  expect(trustGeneration()).toBe(5)
  expect(jwksRefreshes()).toEqual({ ok: 5, failed: 6 })
})

test('standalone has no stream, no lease and no bound', () => {
  const world = open({
    feed: {
      sources: [],
      bundleProblem: () => '',
      activations: { ok: 0, refused: 0 },
      stream: undefined,
    },
  })
  expect(world.status.readings.pushed()).toBeUndefined()
  expect(Object.keys(world.status.view.facts())).toEqual(['generation', 'policyRevision', 'floorRevision'])
  expect(world.causes()).toEqual(['policy: not installed', 'keys: no issuer has usable keys'])
})
