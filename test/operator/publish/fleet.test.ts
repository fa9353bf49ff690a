import { Client, credentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { FleetService, type SidecarState } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import {
  floorsOf,
  holdsProjection,
  holdsRevocations,
  joinStates,
  propagation,
  shortDigest,
  verifiersOf,
} from '../../../operator/publish/aggregate.ts'
import { createFleet, type FleetPorts, type Method } from '../../../operator/publish/fleet.ts'
import { pod, uidOf } from '../state/objects.ts'
import { eventually, NOWHERE, peerOf, podId, sleep, TRUST_DOMAIN } from './stage.ts'

const state = (name: string, more: Partial<SidecarState> = {}): SidecarState => ({
  podUid: uidOf(`shop/${name}`),
  namespace: 'shop',
  pod: name,
  projection: 'shop/front',
  generation: 7,
  revocationHead: 3,
  trustSequence: 2,
  problems: [],
  heardAtMs: 1_000,
  policyDigest: '',
  ...more,
})
const table = { counter: 9, projections: new Map([['shop/front', { digest: 'd', generation: 7 }]]) }
const states = (...all: readonly SidecarState[]) => joinStates([all])

describe('how far a change has come', () => {
  const pods = ['a', 'b', 'c'].map((name) => pod('shop', name))
  const front = holdsProjection(table, 'shop/front')
  const at = shortDigest('0123456789abcdef')

  test.each([
    ['all have it', [state('a'), state('b'), state('c')], '3/3', [], []],
    ['one is silent', [state('a'), state('b')], '2/3', [], ['shop/c']],
    ['one is behind', [state('a'), state('b'), state('c', { generation: 6 })], '2/3', [], ['shop/c']],
    [
      'one is served something else',
      [state('a'), state('b'), state('c', { projection: 'shop/back' })],
      '2/3',
      [],
      ['shop/c'],
    ],
    [
      'one refused it',
      [state('a'), state('b'), state('c', { generation: 6, problems: ['policy: bad', 'more'] })],
      '2/3',
      ['shop/c: policy: bad'],
      [],
    ],
    ['a stranger has it', [state('a'), state('b'), state('x')], '2/3', [], ['shop/c']],
  ])('%s', (_, all, count, ...[refused, silent]) => {
    expect(propagation(pods, states(...all), front, at)).toMatchObject({
      text: `${count} at sha256:0123456789ab`,
      complete: count === '3/3',
      refused,
      silent,
    })
  })

  test('a pod on its way out keeps nothing from being complete', () => {
    const leaving = pod('shop', 'c', { deleting: true })
    const found = propagation([...pods.slice(0, 2), leaving], states(state('a'), state('b')), front, at)
    expect(found).toMatchObject({ complete: true, text: '2/2 at sha256:0123456789ab' })
  })

  test('a revocation is in force where the head is not behind it', () => {
    const found = (head: number) =>
      propagation(pods.slice(0, 1), states(state('a')), holdsRevocations(head), 'x').complete
    expect([2, 3, 4].map(found)).toEqual([true, true, false])
  })

  test('of two replicas the one that heard last is right', () => {
    const joined = joinStates([[state('a', { heardAtMs: 5, generation: 9 })], [state('a', { heardAtMs: 4 })]])
    expect([...joined.values()].map(({ generation }) => generation)).toEqual([9])
  })

  test('a sidecar that holds more than its projection asks for a higher number, a lie for none', () => {
    expect([...floorsOf([state('a', { generation: 8 }), state('b')], table)]).toEqual([['shop/front', 8]])
    expect([...floorsOf([state('a', { generation: 10 })], table)]).toEqual([])
  })
})

describe('verifiers of a new key', () => {
  const pods = ['a', 'b', 'c', 'd'].map((name) => pod('shop', name))
  test.each([
    ['all know it', [2, 2, 2, 2], 1_000, { total: 4, acknowledged: 4, lapsed: 0, stragglers: [] }],
    [
      'one does not, and was heard',
      [2, 2, 2, 1],
      1_000,
      { acknowledged: 3, lapsed: 0, stragglers: ['shop/d'] },
    ],
    [
      'one does not, and was silent for longer than any lease',
      [2, 2, 2, 1],
      1_901,
      { acknowledged: 3, lapsed: 1, stragglers: [] },
    ],
  ])('%s', (_, sequences, now, counts) => {
    const all = sequences.map((trustSequence, index) => state('abcd'[index] ?? '', { trustSequence }))
    const clock = { at: now, since: 0, longestLeaseMs: 900 }
    expect(verifiersOf(pods, states(...all), 2, clock)).toMatchObject({ sequence: 2, ...counts })
  })

  test('who was not heard by this operator may have been by the one before: it lapses only after a whole lease', () => {
    const lapsed = (at: number) =>
      verifiersOf(pods, states(), 2, { at, since: 1_000, longestLeaseMs: 900 }).lapsed
    expect([1_900, 1_901].map(lapsed)).toEqual([0, 4])
  })
})

// ---- over gRPC

const operatorId = (n: number) => `spiffe://${TRUST_DOMAIN}/portcullis/operator/control/${uidOf(`${n}`)}`

function caller(port: number, id: string) {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  const metadata = new Metadata()
  metadata.set('id', id)
  const call = <Q, A>(method: Method<Q, A>, request: Q): Promise<A> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadata,
        {},
        (error, answer) => (error ? reject(error) : resolve(answer as A)),
      )
    })
  return { call, close: () => client.close() }
}

async function openReplica(more: Partial<FleetPorts> = {}) {
  const position = { revocationHead: 5, generation: 3 }
  let leads = true
  const fleet = createFleet(TRUST_DOMAIN, 'one', {
    monotonic: () => performance.now(),
    sleep,
    report: () => undefined,
    leads: () => leads,
    callLeader: async () => {
      throw new Error('nobody leads')
    },
    append: async ({ podUid }) => ({ ...NOWHERE, why: podUid }),
    fetchKeys: async (issuer, kid) => ({ fetched: true, sha256: `${issuer} ${kid}` }),
    own: () => [],
    revision: () => 0,
    position: () => position,
    ...more,
  })
  const server = new Server()
  const { definition, implementation } = fleet.service(peerOf)
  server.addService(definition, implementation)
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  return {
    fleet,
    port,
    position,
    lead: (value: boolean) => {
      leads = value
    },
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  }
}

describe('replicas among themselves', () => {
  const report = { replica: 'two', sidecars: [state('a')], revocationHead: 5, generation: 3 }

  test.each([
    ['nobody', ''],
    ['a sidecar', podId(uidOf('x'))],
    ['the other deployment', `spiffe://${TRUST_DOMAIN}/portcullis/operator/issuer/${uidOf('x')}`],
    ['another trust domain', `spiffe://other.example/portcullis/operator/control/${uidOf('x')}`],
  ])('%s is refused', async (_, id) => {
    await using leader = await openReplica()
    const client = caller(leader.port, id)
    await expect(client.call(FleetService.reportShard, report)).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    })
    await expect(
      client.call(FleetService.refreshKeys, { issuer: 'shop/idp', kid: 'k' }),
    ).rejects.toMatchObject({ code: status.PERMISSION_DENIED })
    expect(leader.fleet.states().size).toBe(0)
    client.close()
  })

  test('what is to be revoked goes to the leader, and to nobody who does not lead', async () => {
    await using leader = await openReplica()
    const client = caller(leader.port, operatorId(2))
    const request = { entries: [], podUid: 'p', once: Buffer.alloc(0), onceUntilMs: 0 }
    expect(await client.call(FleetService.append, request)).toEqual({ ...NOWHERE, why: 'p' })
    client.close()
    const stranger = caller(leader.port, podId(uidOf('x')))
    await expect(stranger.call(FleetService.append, request)).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    })
    stranger.close()
  })

  test('a follower reports when something changed, and learns how far the leader is', async () => {
    await using leader = await openReplica()
    const client = caller(leader.port, operatorId(2))
    const own = [state('a')]
    let revision = 1
    const position = { revocationHead: 4, generation: 3 }
    const follower = createFleet(TRUST_DOMAIN, 'two', {
      monotonic: () => performance.now(),
      sleep,
      report: () => undefined,
      leads: () => false,
      callLeader: (method, request) => client.call(method, request),
      fetchKeys: async () => ({ fetched: false, sha256: '' }),
      append: async () => NOWHERE,
      own: () => own,
      revision: () => revision,
      position: () => position,
    })
    const stopping = new AbortController()
    const running = follower.run(stopping.signal)
    await eventually(() => leader.fleet.states().size === 1, 'the leader knows')
    // The leader knows of a revocation that the follower does not: it may not vouch until it does.
    await eventually(() => follower.behind(), 'the follower is behind')
    position.revocationHead = 5
    expect(follower.behind()).toBe(false)
    own.push(state('b'))
    revision++
    await eventually(() => leader.fleet.states().size === 2, 'the leader knows of the second')
    expect(await follower.refreshKeys('shop/idp', 'k', stopping.signal)).toEqual({
      fetched: true,
      sha256: 'shop/idp k',
    })
    stopping.abort()
    await running
    client.close()
  })

  test('a leader that is behind a follower may not vouch', async () => {
    await using leader = await openReplica()
    const client = caller(leader.port, operatorId(2))
    await client.call(FleetService.reportShard, report)
    expect(leader.fleet.behind()).toBe(false)
    await client.call(FleetService.reportShard, { ...report, revocationHead: 6 })
    expect(leader.fleet.behind()).toBe(true)
    client.close()
  })

  test('who does not lead takes no reports and fetches nothing', async () => {
    await using replica = await openReplica()
    replica.lead(false)
    const client = caller(replica.port, operatorId(2))
    await expect(client.call(FleetService.reportShard, report)).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    })
    await expect(
      client.call(FleetService.refreshKeys, { issuer: 'shop/idp', kid: 'k' }),
    ).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
    client.close()
  })

  test('a report replaces the one before of the same certificate, whatever name it gives', async () => {
    await using leader = await openReplica()
    const client = caller(leader.port, operatorId(2))
    await client.call(FleetService.reportShard, report)
    await client.call(FleetService.reportShard, { ...report, replica: 'three', sidecars: [state('b')] })
    expect([...leader.fleet.states().values()].map((one) => one.pod)).toEqual(['b'])
    client.close()
  })
})
