import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { fenced, type Lead, openLeadership, type Term } from '../../operator/kube/leadership.ts'
import { openPresence, openPresences } from '../../operator/kube/presence.ts'
import { CONFIG_MAPS, LEASES } from '../../operator/kube/resources.ts'
import { type KubePorts, openTransport, type Transport } from '../../operator/kube/transport.ts'
import { create, get } from '../../operator/kube/verbs.ts'
import { type Api, openApi } from '../cluster-node/api.ts'
import { type FaultProxy, openFaultProxy } from './kube-fault-proxy.ts'
import { createGround, eventually, type Ground, soon } from './kube-ground.ts'

let api: Api & AsyncDisposable
let admin: { readonly cert: string; readonly key: string }
let proxy: FaultProxy
let transport: Transport
let namespace = ''
const opened: AsyncDisposable[] = []
const processes: ChildProcess[] = []

beforeAll(async () => {
  api = await openApi()
  admin = await api.user('lease-tests', ['system:masters'])
})
afterAll(() => api?.[Symbol.asyncDispose]())

let made = 0
beforeEach(async () => {
  made += 1
  namespace = `lease${made}`
  await api.kubectl(['create', 'namespace', namespace])
  proxy = await openFaultProxy({ url: api.url, caFile: api.caFile, ...admin })
  transport = await openTransport({ kind: 'given', server: proxy.url }, createGround())
})
afterEach(async () => {
  for (const one of processes.splice(0)) {
    one.kill('SIGCONT')
    one.kill('SIGKILL')
  }
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]()
  await transport[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
})

// Long beside what a busy machine, or a slow disk under etcd, may stand still: nothing below is to be lost by accident.
const LEASE_MS = 12_000
const DEADLINE_MS = LEASE_MS * 0.7

interface Contender {
  readonly child: ChildProcess
  readonly lines: readonly string[]
  readonly wrote: () => readonly number[]
}

async function contender(identity: string, durationMs = LEASE_MS): Promise<Contender> {
  const script = join(import.meta.dirname, 'kube-contender.ts')
  const as = [api.url, api.caFile, admin.cert, admin.key]
  const child = spawn(process.execPath, [script, namespace, identity, String(durationMs), ...as], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  processes.push(child)
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const wrote = () =>
    lines.filter((line) => line.startsWith('wrote')).map((line) => Number(line.split(' ')[1]))
  await eventually(() => lines.includes('ready'), 30_000)
  return { child, lines, wrote }
}

describe('two processes and one lease', () => {
  beforeEach(() => api.kubectl(['create', 'configmap', 'written', '-n', namespace]))

  test('one leads; when it is frozen the other does; thawed, it writes nothing more', async () => {
    const first = await contender('first')
    await eventually(() => first.wrote().length > 3)
    const second = await contender('second')
    await delay(1_000)
    expect(second.lines).toEqual(['ready'])
    first.child.kill('SIGSTOP')
    await eventually(() => second.wrote().length > 3)
    const before = first.wrote().length
    first.child.kill('SIGCONT')
    await eventually(() => first.lines.includes('over'))
    // A write that was on its way when the process froze may still be reported; the server's own history tells its place.
    const start = second.wrote()[0] ?? 0
    expect(first.wrote().length - before).toBeLessThanOrEqual(1)
    for (const version of first.wrote()) expect(version).toBeLessThan(start)
    expect(first.lines.some((line) => line.startsWith('fenced'))).toBe(true)
    const seen = second.wrote().length
    await eventually(() => second.wrote().length > seen + 3)
    expect(second.lines).not.toContain('over')
    expect(second.lines).toContain('won 1')
  })

  test('a lease given back at the end is taken long before it would run out', async () => {
    const first = await contender('first', 60_000)
    await eventually(() => first.wrote().length > 0)
    const second = await contender('second', 60_000)
    first.child.kill('SIGTERM')
    await eventually(() => second.wrote().length > 0, 30_000)
    if (first.child.exitCode === null) await once(first.child, 'exit')
    expect(first.child.exitCode).toBe(0)
    for (const version of first.wrote()) expect(version).toBeLessThan(second.wrote()[0] ?? 0)
  })

  test('a leader killed outright is followed after the lease has run out', async () => {
    const first = await contender('first')
    await eventually(() => first.wrote().length > 0)
    const second = await contender('second')
    first.child.kill('SIGKILL')
    await eventually(() => second.wrote().length > 0)
    expect(second.lines).toContain('won 1')
    for (const version of first.wrote()) expect(version).toBeLessThan(second.wrote()[0] ?? 0)
  })
})

interface Clock {
  wallAhead: number
  monotonicAhead: number
}

async function contend(
  identity: string,
  over: {
    readonly lead?: Lead
    readonly durationMs?: number
    readonly graceMs?: number
    readonly retryMs?: number
    readonly transport?: Transport
  } = {},
) {
  const clock: Clock = { wallAhead: 0, monotonicAhead: 0 }
  const ports: Partial<KubePorts> = {
    now: () => Date.now() + clock.wallAhead,
    monotonic: () => performance.now() + clock.monotonicAhead,
  }
  const ground: Ground = createGround(ports)
  const terms: Term[] = []
  const lead: Lead = async (term) => {
    terms.push(term)
    await (over.lead?.(term) ?? delay(600_000, undefined, { signal: term.signal, ref: false }))
  }
  const durationMs = over.durationMs ?? LEASE_MS
  const times = {
    durationMs,
    renewDeadlineMs: durationMs * 0.7,
    retryMs: over.retryMs ?? 300,
    graceMs: over.graceMs ?? 1_000,
  }
  const leadership = await openLeadership(
    over.transport ?? transport,
    { namespace, name: 'l', identity, ...times },
    lead,
    ground,
  )
  opened.push(leadership)
  return { leadership, clock, ground, terms }
}

describe('a term', () => {
  test('is counted, renewed without interruption, and its lease reads as kubectl expects', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    await delay(LEASE_MS + 1_000)
    expect(one.terms).toHaveLength(1)
    expect(one.terms[0]?.signal.aborted).toBe(false)
    expect(one.ground.count('leader_election_master_status', { name: 'l' })).toBe(1)
    expect(one.ground.count('portcullis_kube_leader_transitions_total', { change: 'won' })).toBe(1)
    const said = await api.kubectl([
      'get',
      'lease',
      'l',
      '-n',
      namespace,
      '-o',
      'jsonpath={.spec.holderIdentity} {.spec.leaseDurationSeconds} {.spec.leaseTransitions}',
    ])
    expect(said).toBe(`one ${LEASE_MS / 1000} 0`)
  })

  test('a wall clock that jumps ahead ends it at once, as a suspended machine would; another follows', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    one.clock.wallAhead += 3_600_000
    expect(one.leadership.term()).toBeUndefined()
    expect(one.terms[0]?.valid()).toBe(false)
    await eventually(() => one.leadership.term() !== undefined)
    expect(one.terms[0]?.signal.aborted).toBe(true)
    expect(one.terms).toHaveLength(2)
  })

  test('a wall clock that jumps back changes nothing', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    one.clock.wallAhead -= 3_600_000
    await delay(LEASE_MS)
    expect(one.leadership.term()).toBe(one.terms[0])
    expect(one.terms).toHaveLength(1)
  })

  test('a pause longer than the deadline ends it before any timer does', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    const term = one.terms[0]
    one.clock.monotonicAhead += DEADLINE_MS + 100
    expect([term?.valid(), term?.signal.aborted]).toEqual([false, false])
    if (!term) throw new Error('no term')
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' } }
    const place = { resource: CONFIG_MAPS, namespace }
    await expect(create(fenced(transport, term), place, object, soon())).rejects.toMatchObject({
      code: 'lost_lease',
    })
    // Reading is free.
    expect(await get(fenced(transport, term), { ...place, name: 'x' }, soon())).toMatchObject({ ok: false })
  })

  test('another contender’s wrong wall clock takes nothing from a living leader', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    const two = await contend('two')
    two.clock.wallAhead = 86_400_000
    await delay(LEASE_MS + 1_000)
    expect(two.terms).toHaveLength(0)
    expect(one.terms).toHaveLength(1)
  })

  test('nobody leads past the deadline when the API server does not answer; the work is told why', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    proxy.on(({ path }) => (path.includes('/leases') ? { status: 500, body: '' } : undefined))
    await eventually(() => one.terms[0]?.signal.aborted)
    expect(one.terms[0]?.signal.reason).toMatchObject({ code: 'lost_lease' })
    expect(one.ground.count('leader_election_master_status', { name: 'l' })).toBe(0)
    proxy.on(() => undefined)
    await eventually(() => one.leadership.term() !== undefined)
  })

  test('ends at its deadline by itself, without waiting for the next attempt', async () => {
    const one = await contend('one', { durationMs: 2_000, retryMs: 20_000 })
    await eventually(() => one.leadership.term() !== undefined)
    await eventually(() => one.terms[0]?.signal.aborted, 10_000)
    expect(one.leadership.term()).toBeUndefined()
  })

  test('a leader that is cut off has stopped before another begins', async () => {
    const happened: string[] = []
    const lead = (name: string) => async (term: Term) => {
      happened.push(`${name} begins`)
      term.signal.addEventListener('abort', () => happened.push(`${name} ends`))
      await delay(600_000, undefined, { signal: term.signal, ref: false })
    }
    const own = await openFaultProxy({ url: api.url, caFile: api.caFile, ...admin })
    const lonely = await openTransport({ kind: 'given', server: own.url }, createGround())
    opened.push(own, lonely)
    const one = await contend('one', { lead: lead('one'), transport: lonely })
    await eventually(() => one.leadership.term() !== undefined)
    const two = await contend('two', { lead: lead('two') })
    await delay(500)
    // Not even a refusal comes back: requests hang.
    own.on(() => ({ delayMs: 20_000 }))
    await eventually(() => two.leadership.term() !== undefined)
    expect(happened).toEqual(['one begins', 'one ends', 'two begins'])
  })

  test('one failed renewal is no loss', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    let failures = 2
    proxy.on(({ path }) => {
      if (!path.includes('/leases') || failures === 0) return undefined
      failures -= 1
      return { reset: true }
    })
    await eventually(() => failures === 0)
    await delay(LEASE_MS)
    expect(one.terms).toHaveLength(1)
    expect(one.leadership.term()).toBe(one.terms[0])
  })

  test('a lease edited or deleted by somebody is kept', async () => {
    const one = await contend('one')
    await eventually(() => one.leadership.term() !== undefined)
    await api.kubectl(['annotate', 'lease', 'l', '-n', namespace, 'a=b'])
    await delay(600)
    await api.kubectl(['delete', 'lease', 'l', '-n', namespace])
    await delay(LEASE_MS)
    expect(one.leadership.term()).toBe(one.terms[0])
    const said = await api.kubectl([
      'get',
      'lease',
      'l',
      '-n',
      namespace,
      '-o',
      'jsonpath={.spec.holderIdentity}',
    ])
    expect(said).toBe('one')
  })

  test('work that does not end keeps the lease from being given back, and no new term begins beside it', async () => {
    let finish: () => void = () => undefined
    const stuck = () =>
      new Promise<void>((resolve) => {
        finish = resolve
      })
    const one = await contend('one', { lead: stuck, graceMs: 300 })
    await eventually(() => one.leadership.term() !== undefined)
    one.clock.wallAhead += 3_600_000
    await eventually(() => one.terms[0]?.signal.aborted)
    const two = await contend('two')
    await eventually(() => two.leadership.term() !== undefined)
    expect(one.terms).toHaveLength(1)
    finish()
    await two.leadership[Symbol.asyncDispose]()
    await eventually(() => one.terms.length === 2)
    await one.leadership[Symbol.asyncDispose]()
    const held = await api.kubectl([
      'get',
      'lease',
      'l',
      '-n',
      namespace,
      '-o',
      'jsonpath={.spec.holderIdentity}',
    ])
    expect(held).toBe('one')
  })

  test('of many contenders there is never more than one valid term', async () => {
    const all = await Promise.all(
      ['a', 'b', 'c', 'd'].map((identity) => contend(identity, { durationMs: 2_000 })),
    )
    let most = 0
    let changes = 0
    const began = performance.now()
    const passed = () => performance.now() - began
    // On a busy machine there are few looks in eight seconds.
    while (passed() < 8_000 || (changes < 3 && passed() < 60_000)) {
      const valid = all.filter(({ leadership }) => leadership.term() !== undefined)
      most = Math.max(most, valid.length)
      const [leader] = valid
      if (leader && Math.random() < 0.01) {
        // As a machine does that was suspended for a minute.
        leader.clock.wallAhead += 60_000
        changes += 1
      }
      await delay(10)
    }
    expect(most).toBe(1)
    expect(changes).toBeGreaterThan(0)
  })
})

describe('presences', () => {
  const times = { renewMs: 500, durationMs: 10_000 }
  async function present(pod: string, said: () => Readonly<Record<string, string>> = () => ({})) {
    const options = { namespace, prefix: 'replica', pod, identity: `${pod}-1`, annotations: said, ...times }
    const presence = await openPresence(transport, options, createGround())
    opened.push(presence)
    return presence
  }
  async function watching() {
    const presences = await openPresences(transport, { namespace, prefix: 'replica' }, createGround())
    opened.push(presences)
    await presences.whenSynced(soon())
    return {
      ...presences,
      pods: () =>
        presences
          .live()
          .map(({ pod }) => pod)
          .sort(),
    }
  }

  test('each replica is seen with what it says, and gone when it says so', async () => {
    let sequence = 1
    const one = await present('p1', () => ({ 'portcullis.dev/sequence': String(sequence) }))
    await present('p2')
    const { live, pods } = await watching()
    await eventually(() => expect(pods()).toEqual(['p1', 'p2']))
    expect(live().find(({ pod }) => pod === 'p1')).toEqual({
      pod: 'p1',
      identity: 'p1-1',
      annotations: { 'portcullis.dev/sequence': '1' },
    })
    sequence = 2
    one.renew()
    await eventually(() => live().some(({ annotations }) => annotations['portcullis.dev/sequence'] === '2'))
    await delay(times.durationMs + 1_000)
    expect(pods()).toEqual(['p1', 'p2'])
    await one[Symbol.asyncDispose]()
    await eventually(() => expect(pods()).toEqual(['p2']))
    const answer = await get(transport, { resource: LEASES, namespace, name: 'replica-p1' }, soon())
    expect(answer).toMatchObject({ ok: false, refused: { status: 404 } })
  })

  test('one that falls silent is not live after its duration, and live again when it is heard', async () => {
    await present('p1')
    const { pods } = await watching()
    await eventually(() => expect(pods()).toEqual(['p1']))
    proxy.on(({ method }) => (method === 'PATCH' ? { status: 500, body: '' } : undefined))
    await eventually(() => expect(pods()).toEqual([]))
    proxy.on(() => undefined)
    await eventually(() => expect(pods()).toEqual(['p1']))
  })

  test('the lease that a dead replica left behind does not count, even at first sight', async () => {
    const spec = {
      holderIdentity: 'x',
      leaseDurationSeconds: 3_600,
      renewTime: '2020-01-01T00:00:00.000000Z',
    }
    const metadata = { name: 'replica-old', labels: { 'portcullis.dev/presence': 'replica' } }
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }
    await create(transport, { resource: LEASES, namespace }, lease, soon())
    await present('p1')
    const { pods } = await watching()
    await eventually(() => expect(pods()).toEqual(['p1']))
  })

  test('subscribers hear of comings, sayings and goings, not of mere renewals', async () => {
    let said = 'a'
    const presences = await watching()
    let heard = 0
    presences.subscribe(() => {
      heard += 1
    })
    const one = await present('p1', () => ({ said }))
    await eventually(() => heard === 1)
    await delay(1_000)
    expect(heard).toBe(1)
    said = 'b'
    await eventually(() => heard === 2)
    await one[Symbol.asyncDispose]()
    await eventually(() => heard === 3)
  })
})
