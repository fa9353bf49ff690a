import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { openBaseImages } from '../images/base.ts'
import { type Components, createComponents, type NodeExec } from './components.ts'
import { applyDns } from './dns.ts'
import { createKubectl, type Kubectl } from './kubectl.ts'
import { type Layout, layoutOf, SLOTS } from './layout.ts'
import { PROGRAMS, type ProgramName } from './material.ts'
import { eventually } from './ready.ts'
import { livingInit, type Started, startNode, Taken } from './start.ts'
import { stopCluster } from './stop.ts'
import { openTools, type Tools } from './tool.ts'

const run = promisify(execFile)

export interface Cluster extends Components {
  readonly name: string
  readonly slot: number
  readonly kubeconfig: string
  /** NodePorts and the API server (6443) answer on it. */
  readonly nodeAddress: string
  /** The test's own end of the pair: servers listening on it are reachable from pods. */
  readonly hostAddress: string
  /** Logs of the components, `audit.log` among them. */
  readonly logs: string
  readonly kubectl: Kubectl
  /** An OCI archive; the names that pods can use are those that it carries. */
  importImage(path: string): Promise<void>
  /** A command inside all namespaces of the node; standard output. */
  readonly nodeExec: NodeExec
}

export interface ClusterOptions {
  readonly name: string
  /** The first free one when absent. */
  readonly slot?: number
  /** OCI archives imported before the node starts, beside those of pods' sandboxes and DNS. */
  readonly images?: readonly string[]
  /** `disk` for measuring memory: in a file system in memory the page cache of images counts as containerd's. */
  readonly storage?: 'memory' | 'disk'
  /** Outlives this process; stopped by stopCluster(name). */
  readonly detached?: boolean
}

/** A Ready node with DNS. Disposing ends it, and so does the end of this process, however it ends. */
export async function openCluster(options: ClusterOptions): Promise<Cluster & AsyncDisposable> {
  const tools = await openTools(PROGRAMS)
  const images = [...(await openBaseImages()), ...(options.images ?? [])]
  const { layout, started } = await startSomewhere(options, tools, images)
  const dispose = async () => {
    started.unshare.stdin?.destroy()
    await stopCluster(layout.name)
  }
  try {
    const cluster = createCluster(layout, tools)
    await waitUntilReady(cluster, layout, started)
    return { ...cluster, [Symbol.asyncDispose]: options.detached ? async () => undefined : dispose }
  } catch (cause) {
    const tails = tailsOf(layout)
    await dispose()
    throw new Error(`cluster ${layout.name} did not become ready\n${tails}`, { cause })
  }
}

async function startSomewhere(
  options: ClusterOptions,
  tools: Tools<ProgramName>,
  images: readonly string[],
): Promise<{ readonly layout: Layout; readonly started: Started }> {
  const slots = options.slot === undefined ? Array.from({ length: SLOTS }, (_, slot) => slot) : [options.slot]
  let last: unknown
  for (const slot of slots) {
    const layout = layoutOf(options.name, slot)
    const material = { layout, tools, images, storage: options.storage ?? 'memory' } as const
    try {
      const started = await startNode(material, options.detached === true)
      return { layout, started }
    } catch (cause) {
      if (!(cause instanceof Taken) || cause.what === 'name') throw cause
      last = cause
    }
  }
  throw last
}

function createCluster(layout: Layout, tools: Tools<ProgramName>): Cluster {
  const nodeExec: NodeExec = async (args) => {
    const init = livingInit(layout.state)
    if (!init) throw new Error(`cluster ${layout.name} has ended`)
    const { stdout } = await run('nsenter', ['-t', String(init.pid), '--all', '--wd=/', '--', ...args], {
      maxBuffer: 32 << 20,
    })
    return stdout
  }
  return {
    name: layout.name,
    slot: layout.slot,
    kubeconfig: layout.kubeconfig,
    nodeAddress: layout.nodeAddress,
    hostAddress: layout.hostAddress,
    logs: join(layout.state, 'logs'),
    kubectl: createKubectl(tools.kubectl, layout.kubeconfig, join(layout.state, 'kubectl-cache')),
    nodeExec,
    importImage: async (path) => {
      await nodeExec([tools.ctr, '-n', 'k8s.io', 'images', 'import', path])
    },
    ...createComponents(layout, nodeExec),
  }
}

async function waitUntilReady(cluster: Cluster, layout: Layout, { unshare }: Started): Promise<void> {
  const failed = join(layout.state, 'failed')
  await eventually(
    'API server',
    async () => {
      if (existsSync(failed)) throw new Error(readFileSync(failed, 'utf8').trim())
      if (unshare.exitCode !== null) throw new Error(`PID 1 of the node ended with ${unshare.exitCode}`)
      return (await cluster.kubectl(['get', '--raw', '/readyz']).catch(() => undefined)) ?? undefined
    },
    { everyMs: 100 },
  )
  await applyDns(cluster.kubectl)
  const wait = (...args: readonly string[]) =>
    cluster.kubectl(['wait', '--timeout=60s', ...args], { timeoutMs: 90_000 })
  await wait('--for=create', `node/${layout.name}`)
  await wait('--for=condition=Ready', `node/${layout.name}`)
  await wait('--for=create', '-n', 'default', 'serviceaccount/default')
  await wait('--for=condition=Available', '-n', 'kube-system', 'deployment/coredns')
}

function tailsOf({ state }: Layout): string {
  const logs = join(state, 'logs')
  if (!existsSync(logs)) return ''
  return readdirSync(logs)
    .filter((file) => file.endsWith('.log') && file !== 'audit.log')
    .map((file) => {
      const lines = readFileSync(join(logs, file), 'utf8').trimEnd().split('\n')
      return `--- ${basename(file)}\n${lines.slice(-8).join('\n')}`
    })
    .join('\n')
}
