import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { openInstalled, revocation } from './installed.ts'
import { type AppPod, askAll, conditionOf, podsOf, readyPods, traffic, untilAll } from './pods.ts'
import { accessPolicy, deployment } from './shop.ts'
import { createTable } from './table.ts'
import { eventually, NAMESPACE, SYSTEM, TRUST_DOMAIN, type World } from './world.ts'

// The database goes back to an older state. What it has forgotten and the fleet still knows is not lost: a revocation goes on denying, on pods
// that were there and on pods that come; nobody goes back to an older generation.

const reason = notRun('e2e', 'restore.test.ts', clusterUnavailable())
const table = createTable('A database restored to an older state')
const ANOTHER = 'https://another.example'

let world: World
let pods: readonly AppPod[]

/** What each sidecar says of itself, by UID of its pod. */
interface Standing {
  readonly generation: number
  readonly head: number
}

describe.skipIf(reason)('etcd restored to an older snapshot', { timeout: 400_000 }, () => {
  let token: string
  const highest = new Map<string, Standing>()
  const backwards: string[] = []
  const watching = new AbortController()
  let watched: Promise<void> | undefined

  beforeAll(async () => {
    world = await openInstalled('e2e-restore')
    await world.apply(deployment(world.images.sample.pinned))
    await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '240s'])
    pods = await readyPods(world, 'shop', 3)
    token = await world.idp.mint()
    await untilAll(pods, { token }, 'allow')
    await world.cluster.snapshotEtcd('before')
    await untilApi()
    watched = keepWatching(highest, backwards, watching.signal)
  }, 900_000)
  afterAll(async () => {
    table.print()
    watching.abort()
    await watched
    await world?.[Symbol.asyncDispose]()
  }, 120_000)

  test('after the snapshot: a revocation is enforced, and rules were changed twice', async () => {
    const before = await standingOf(pods)
    await world.apply(accessPolicy(ANOTHER))
    await untilAll(pods, { token }, 'aud_mismatch')
    await world.apply(accessPolicy())
    await untilAll(pods, { token }, 'allow')
    await world.apply(revocation('stolen', 'Subject', 'alice'))
    await untilAll(pods, { token }, 'revoked_sub')
    const after = await standingOf(pods)
    for (const [uid, { generation, head }] of before) {
      expect(after.get(uid)?.generation).toBeGreaterThan(generation)
      expect(after.get(uid)?.head).toBeGreaterThan(head)
    }
  })

  test('restored: the database has forgotten it, no running pod has', async () => {
    const stream = traffic(pods, 'restored')
    await stream.start({ token })
    await delay(500)
    await stream.reset()
    const known = await standingOf(pods)
    await world.cluster.restoreEtcd('before')
    await untilApi()
    expect(await world.kubectl(['get', 'revocations', '-n', NAMESPACE, '-o', 'name'])).toBe('')

    const told = await eventually(
      'StateRolledBack',
      async () => {
        const { status, message } = await conditionOf(world, 'trustdomain', TRUST_DOMAIN, 'StateRolledBack')
        return status === 'True' ? undefined : `${status}: ${message}`
      },
      240_000,
    )
    // The operator knows again, and speaks again: the leases are renewed, so nobody denies for want of news.
    const bob = await world.idp.mint({ sub: 'bob' })
    const bobs = { type: 'invoice', id: 'inv-2', tenant: 'acme', owner: 'bob', attributes: {} }
    await untilAll(pods, { token: bob, stored: bobs }, 'allow', 240_000)
    // A change of rules gets through, with a number above all that the fleet has seen.
    await world.apply(accessPolicy(ANOTHER))
    await untilAll(pods, { token: bob, stored: bobs }, 'aud_mismatch', 240_000)
    await world.apply(accessPolicy())
    await untilAll(pods, { token: bob, stored: bobs }, 'allow')
    const now = await standingOf(pods)
    for (const [uid, { generation, head }] of known) {
      expect(now.get(uid)?.generation).toBeGreaterThan(generation)
      expect(now.get(uid)?.head).toBeGreaterThanOrEqual(head)
    }
    expect(await askAll(pods, { token })).toEqual(Array(3).fill('revoked_sub'))
    const counts = await stream.totals()
    expect(counts['allow']).toBeUndefined()
    await stream.stop()
    table.row(
      'restored -> StateRolledBack=True',
      told,
      `${counts['revoked_sub']} denials meanwhile, 0 allowed; generations only grew`,
    )
  })

  test('a pod that starts after the restore enforces what the database has forgotten', async () => {
    const [fresh, took] = await scaledTo(4)
    expect(await askAll(fresh, { token })).toEqual(['revoked_sub'])
    table.row('a new pod', took, 'revoked_sub from its first answer')
  })

  test('both programs restarted: the same holds for old and new pods', async () => {
    const stream = traffic(pods, 'restarted')
    await stream.start({ token })
    for (const program of ['issuer', 'control']) {
      await world.kubectl(['rollout', 'restart', `deploy/portcullis-${program}`, '-n', SYSTEM])
      await world.cluster.kubectl(
        ['rollout', 'status', `deploy/portcullis-${program}`, '-n', SYSTEM, '--timeout', '180s'],
        { timeoutMs: 200_000 },
      )
    }
    const [fresh, took] = await scaledTo(5)
    expect(await askAll(fresh, { token })).toEqual(['revoked_sub'])
    expect(await askAll(pods, { token })).toEqual(Array(3).fill('revoked_sub'))
    const counts = await stream.totals()
    expect(counts['allow']).toBeUndefined()
    await stream.stop()
    table.row('operator restarted; a new pod', took, `${counts['revoked_sub']} denials meanwhile, 0 allowed`)
  })

  test('restored while no replica of control runs: what the fleet holds is relearnt at the start', async () => {
    await world.kubectl(['scale', 'deploy/portcullis-control', '-n', SYSTEM, '--replicas=0'])
    await eventually('control is gone', async () => {
      const left = await world.kubectl([
        'get',
        'pods',
        '-n',
        SYSTEM,
        '-l',
        'app.kubernetes.io/component=control',
        '-o',
        'name',
      ])
      return left.trim() === '' ? undefined : left
    })
    await world.cluster.restoreEtcd('before')
    await untilApi()
    // In the snapshot both replicas run, and the shop has three pods: the node follows.
    const bob = await world.idp.mint({ sub: 'bob' })
    const bobs = { type: 'invoice', id: 'inv-2', tenant: 'acme', owner: 'bob', attributes: {} }
    const took = await eventually(
      'all pods answer again',
      async () => {
        pods = await podsOf(world, 'shop')
        const outcomes = await askAll(pods, { token: bob, stored: bobs })
        return pods.length === 3 && outcomes.every((one) => one === 'allow') ? undefined : outcomes.join()
      },
      240_000,
    )
    const [fresh] = await scaledTo(4)
    expect(await askAll([...pods, ...fresh], { token })).toEqual(Array(4).fill('revoked_sub'))
    table.row('restored without an operator', took, 'relearnt at its start; old and new pods deny')
  })

  test('no sidecar has ever gone back', async () => {
    expect(highest.size).toBeGreaterThanOrEqual(3)
    expect(backwards).toEqual([])
  })
})

async function untilApi(): Promise<void> {
  await eventually('the API server answers', async () => {
    await world.kubectl(['get', 'ns', SYSTEM])
    return undefined
  })
}

/** Pods that were not there before, Ready, and the seconds that it took. */
async function scaledTo(replicas: number): Promise<readonly [readonly AppPod[], number]> {
  const before = new Set((await podsOf(world, 'shop')).map(({ uid }) => uid))
  await world.kubectl(['scale', 'deploy/shop', '-n', NAMESPACE, `--replicas=${replicas}`])
  let fresh: readonly AppPod[] = []
  const took = await eventually(
    'a new pod',
    async () => {
      fresh = (await podsOf(world, 'shop')).filter(({ uid }) => !before.has(uid))
      return fresh.length === 1 ? undefined : `${fresh.length} new pods`
    },
    240_000,
  )
  return [fresh, took]
}

async function standingOf(all: readonly AppPod[]): Promise<ReadonlyMap<string, Standing>> {
  return new Map(await Promise.all(all.map(async ({ uid, ip }) => [uid, await standing(ip)] as const)))
}

async function standing(ip: string): Promise<Standing> {
  const response = await fetch(`http://${ip}:9090/metrics`, { signal: AbortSignal.timeout(10_000) })
  const text = await response.text()
  const value = (name: string): number => {
    const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]
    if (found === undefined) throw new Error(`no ${name} on ${ip}`)
    return Number(found)
  }
  return { generation: value('portcullis_trust_generation'), head: value('portcullis_revocation_head') }
}

/** Looks all the time at the pods that there are; whoever goes back is written down. */
async function keepWatching(
  highest: Map<string, Standing>,
  backwards: string[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    for (const { uid, ip, name } of pods) {
      const now = await standing(ip).catch(() => undefined)
      const last = highest.get(uid)
      if (!now) continue
      if (last && (now.generation < last.generation || now.head < last.head))
        backwards.push(`${name}: ${JSON.stringify(last)} -> ${JSON.stringify(now)}`)
      highest.set(uid, now)
    }
    await delay(100, undefined, { signal }).catch(() => undefined)
  }
}
