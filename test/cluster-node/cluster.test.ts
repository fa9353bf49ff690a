import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildImages, type ImageBuilt } from '../images/build.ts'
import { emitSidecar } from '../images/emit.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { layoutOf, stateDirectory } from './layout.ts'
import { notRun } from './not-run.ts'
import { eventually } from './ready.ts'
import { livingInit } from './start.ts'
import { stopCluster } from './stop.ts'
import { ROOT } from './tool.ts'
import { clusterUnavailable } from './unavailable.ts'

const reason = notRun('cluster', 'test/cluster-node/cluster.test.ts', clusterUnavailable())

// A name of this very process: two checkouts can be tested at once.
const name = (what: string) => `harness-${process.pid}-${what}`

test('where a cluster cannot run, make cluster says why and ends with 3', () => {
  const up = join(ROOT, 'test/cluster-node/up.ts')
  const { status, stderr } = spawnSync(process.execPath, [up], {
    env: { PATH: '/nowhere' },
    encoding: 'utf8',
  })
  expect(status).toBe(3)
  expect(stderr).toMatch(/^cluster: cannot run here: needs (ip, nft|root|Linux)/)
})

describe.skipIf(reason)('a one-node cluster', () => {
  let cluster: Cluster & AsyncDisposable
  let images: Readonly<Record<string, ImageBuilt>>
  let before: Readonly<Record<string, unknown>>

  beforeAll(async () => {
    images = await buildImages({ only: ['busybox', 'testapp'] })
    before = hostState()
    cluster = await openCluster({ name: name('a'), images: [archiveOf('busybox')] })
    await runPod(cluster, 'shell', { image: imageOf('busybox').ref, command: ['sleep', '3600'] })
  }, 1_800_000)
  afterAll(() => cluster?.[Symbol.asyncDispose]())

  const imageOf = (which: string): ImageBuilt => {
    const image = images[which]
    if (!image) throw new Error(`no image ${which}`)
    return image
  }
  const archiveOf = (which: string) => imageOf(which).archive

  test('runs a pod, executes in it and resolves names of Services', async () => {
    const resolved = await cluster.kubectl([
      'exec',
      'shell',
      '--',
      'nslookup',
      'kubernetes.default.svc.cluster.local',
    ])
    expect(resolved).toContain('10.96.0.1')
    expect(await cluster.kubectl(['exec', 'shell', '--', 'id', '-u'])).toBe('65532\n')
  })

  test('runs an image by its digest, imported while the node runs', async () => {
    const { pinned, archive } = imageOf('testapp')
    expect(pinned).toMatch(/^portcullis\.test\/testapp@sha256:[0-9a-f]{64}$/)
    await cluster.importImage(archive)
    const command = ['node', '-e', 'console.log("Node " + process.version); setInterval(() => {}, 1e6)']
    await runPod(cluster, 'pinned', { image: pinned, command })
    expect(await cluster.kubectl(['logs', 'pinned'])).toMatch(/^Node v24\./)
    await runPod(cluster, 'pinned-if-absent', { image: pinned, command, imagePullPolicy: 'IfNotPresent' })
    const id = await cluster.kubectl([
      'get',
      'pod',
      'pinned',
      '-o',
      'jsonpath={.status.containerStatuses[0].imageID}',
    ])
    expect(id).toContain(pinned.split('@')[1])
  })

  test("the sidecar's image runs by its digest under the strictest pod rules", async () => {
    const work = mkdtempSync(join(tmpdir(), 'portcullis-node-'))
    const { sidecar } = await buildImages({ dist: emitSidecar(work), only: ['sidecar'] })
    rmSync(work, { recursive: true, force: true })
    await cluster.importImage(sidecar?.archive ?? '')
    await cluster.kubectl(['create', 'namespace', 'strict'])
    const enforce = 'pod-security.kubernetes.io/enforce=restricted'
    await cluster.kubectl(['label', 'namespace', 'strict', enforce])
    await cluster.kubectl(['wait', '--for=create', '-n', 'strict', 'serviceaccount/default', '--timeout=20s'])
    const securityContext = {
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    }
    // The entry point is the image's own.
    const container = {
      name: 'main',
      image: sidecar?.pinned,
      imagePullPolicy: 'Never',
      args: ['--version'],
      securityContext,
    }
    const spec = { restartPolicy: 'Never', containers: [container] }
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'version', namespace: 'strict' }, spec }
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(pod) })
    await cluster.kubectl([
      'wait',
      '-n',
      'strict',
      '--for=jsonpath={.status.phase}=Succeeded',
      'pod/version',
      '--timeout=30s',
    ])
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      readonly version: string
    }
    expect(await cluster.kubectl(['logs', '-n', 'strict', 'version'])).toContain(version)
  })

  test('a packet for another machine is dropped by the node, from a pod and from the node itself', async () => {
    // TEST-NET-3 (RFC 5737): if the guard failed, nobody there would be bothered.
    const knock = ['sh', '-c', 'timeout 2 "$@"; true', 'sh'] as const
    const dropped = async (): Promise<number> => {
      const table = await cluster.nodeExec(['nft', 'list', 'table', 'inet', 'pcguard'])
      return Number(table.match(/ip daddr != \S+ counter packets (\d+)/)?.[1])
    }
    const first = await dropped()
    await cluster.kubectl(['exec', 'shell', '--', ...knock, 'nc', '203.0.113.7', '80'])
    const second = await dropped()
    expect(second).toBeGreaterThan(first)
    await cluster.nodeExec([...knock, '/bin/busybox', 'nc', '203.0.113.7', '80'])
    expect(await dropped()).toBeGreaterThan(second)
    const near = await cluster.nodeExec(['/bin/busybox', 'ping', '-c', '1', '-W', '1', cluster.hostAddress])
    expect(near).toContain('1 packets received')
  })

  test.each(['kube-apiserver', 'etcd'] as const)(
    '%s stopped stays stopped, and comes back with its data',
    async (part) => {
      await cluster.kubectl(['create', 'configmap', `kept-${part}`])
      await cluster.stopComponent(part)
      await expect(
        cluster.kubectl(['get', 'configmap', `kept-${part}`], { timeoutMs: 3000 }),
      ).rejects.toThrow()
      await cluster.startComponent(part)
      expect(await cluster.kubectl(['get', 'configmap', `kept-${part}`, '-o', 'name'])).toBe(
        `configmap/kept-${part}\n`,
      )
    },
  )

  test('a killed API server is started again by itself', async () => {
    const pid = () => readFileSync(join(cluster.logs, '../pid/kube-apiserver'), 'utf8')
    const first = pid()
    await cluster.killComponent('kube-apiserver')
    await eventually(
      'another API server',
      () => (existsSync(join(cluster.logs, '../pid/kube-apiserver')) && pid() !== first) || undefined,
    )
    await eventually('API', () => cluster.kubectl(['get', '--raw', '/readyz']).catch(() => undefined))
  })

  test('a paused API server answers nothing until it is started again', async () => {
    await cluster.pauseComponent('kube-apiserver')
    const asked = cluster.kubectl(['get', '--raw', '/readyz'], { timeoutMs: 1000 })
    await expect(asked).rejects.toThrow('SIGKILL')
    await cluster.startComponent('kube-apiserver')
    expect(await cluster.kubectl(['get', '--raw', '/readyz'])).toBe('ok')
  })

  test('a restored etcd knows what was, and not what came after', async () => {
    await cluster.kubectl(['create', 'configmap', 'old'])
    await cluster.snapshotEtcd('one')
    await cluster.kubectl(['create', 'configmap', 'new'])
    await cluster.restoreEtcd('one')
    expect(await cluster.kubectl(['get', 'configmap', 'old', '-o', 'name'])).toBe('configmap/old\n')
    await expect(cluster.kubectl(['get', 'configmap', 'new'])).rejects.toThrow('not found')
    await runPod(cluster, 'after-restore', { image: imageOf('busybox').ref, command: ['sleep', '3600'] })
  })

  test('who did what is in the audit log', () => {
    expect(readFileSync(join(cluster.logs, 'audit.log'), 'utf8')).toMatch(
      /"verb":"create".*"configmaps".*"name":"old"/,
    )
  })

  test('a second of the same name is refused, another one takes the next slot', async () => {
    await expect(openCluster({ name: cluster.name })).rejects.toThrow('already running')
    await using other = await openCluster({ name: name('b'), storage: 'disk' })
    expect(other.slot).not.toBe(cluster.slot)
    await expect(other.kubectl(['get', 'configmap', 'old'])).rejects.toThrow('not found')
    await expect(openCluster({ name: name('c'), slot: other.slot })).rejects.toThrow(
      `slot ${other.slot} is taken`,
    )
    expect(await cluster.kubectl(['get', 'configmap', 'old', '-o', 'name'])).toBe('configmap/old\n')
  })

  test('kill -9 of the runner ends everything, and the next start sweeps what it left', async () => {
    const started = await startRunner(name('killed'))
    const init = livingInit(layoutOf(name('killed'), 0).state)
    expect(init).toBeDefined()
    process.kill(started.pid, 'SIGKILL')
    await eventually('end of the node', () => !existsSync(`/proc/${init?.pid}`) || undefined, {
      withinMs: 20_000,
    })
    await using again = await openCluster({ name: name('killed') })
    expect(await again.kubectl(['get', 'nodes', '-o', 'name'])).toBe(`node/${again.name}\n`)
  })

  test('ended, it leaves the machine as it was', async () => {
    const { state } = layoutOf(cluster.name, cluster.slot)
    await cluster[Symbol.asyncDispose]()
    const left = readdirSync(stateDirectory()).filter((one) => one.includes(cluster.name))
    expect(left).toEqual([])
    expect(existsSync(state)).toBe(false)
    // The kernel takes a network namespace apart a moment after its last process.
    await expect.poll(() => namedBySlot(cluster.slot)).toEqual([])
    expect(hostState()).toEqual(before)
    expect(await stopCluster(cluster.name)).toBe(false)
  })
})

interface PodPlan {
  readonly image: string
  readonly command: readonly string[]
  readonly imagePullPolicy?: string
}

async function runPod(
  cluster: Cluster,
  pod: string,
  { imagePullPolicy = 'Never', ...plan }: PodPlan,
): Promise<void> {
  const container = { name: 'main', imagePullPolicy, ...plan }
  const spec = { containers: [container], terminationGracePeriodSeconds: 0 }
  const stdin = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: pod }, spec })
  await cluster.kubectl(['apply', '-f', '-'], { stdin })
  await cluster.kubectl(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=40s'])
}

// What a cluster could leave behind, but for `unreachable` routes, which stay on purpose, and what is named by slot:
// other clusters may come and go meanwhile.
function hostState(): Readonly<Record<string, unknown>> {
  const routes = lines('ip', 'route').filter((line) => !/^unreachable|dev pc\d/.test(line))
  const links = lines('ip', '-o', 'link').flatMap((line) => line.split(': ')[1] ?? [])
  const sysctls = SYSCTLS.map((one) => readFileSync(`/proc/sys/${one}`, 'utf8').trim())
  return {
    routes,
    links: links.filter((link) => !/^pc\d/.test(link)),
    mounts: lines('cat', '/proc/self/mounts').length,
    sysctls,
    ruleset: lines('nft', 'list', 'ruleset'),
  }
}

const SYSCTLS = [
  'vm/overcommit_memory',
  'kernel/panic',
  'kernel/panic_on_oops',
  'net/ipv4/ip_forward',
] as const

function namedBySlot(slot: number): readonly string[] {
  const links = lines('ip', '-o', 'link').filter((line) => line.includes(`pc${slot}-h`))
  const cgroups = lines('find', '/sys/fs/cgroup', '-name', `portcullis-${slot}`)
  return [...links, ...cgroups, ...lines('ip', 'route').filter((line) => line.includes(`dev pc${slot}-h`))]
}

function lines(command: string, ...args: readonly string[]): readonly string[] {
  const out = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return out.split('\n').filter((line) => line !== '')
}

// `up.ts` attached, as `make cluster` without --detach is; resolves when it has printed its kubeconfig.
async function startRunner(cluster: string): Promise<{ readonly pid: number }> {
  const child = spawn(process.execPath, [join(ROOT, 'test/cluster-node/up.ts'), '--name', cluster], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) {
    expect(line).toBe(layoutOf(cluster, 0).kubeconfig)
    return { pid: child.pid ?? 0 }
  }
  throw new Error('up.ts ended without a kubeconfig')
}
