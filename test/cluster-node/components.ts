import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Layout } from './layout.ts'
import { answered, eventually } from './ready.ts'

// Stopping and starting the parts of a running node. The state directory is the node's /run/pc, so a file made here is
// seen by the restart loops of node/init.sh.

export const COMPONENTS = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'containerd',
] as const
export type Component = (typeof COMPONENTS)[number]

export type NodeExec = (args: readonly string[]) => Promise<string>

export interface Components {
  /** SIGKILL; its restart loop brings it back after 0.3 s. */
  killComponent(name: Component): Promise<void>
  /** SIGTERM, SIGKILL after 3 s; resolves when it has gone, and it stays so. */
  stopComponent(name: Component): Promise<void>
  /** Ends a stop or a pause; for kube-apiserver and etcd resolves when the API server is ready again, if it may run. */
  startComponent(name: Component): Promise<void>
  /** SIGSTOP: connections stay open and nothing answers. */
  pauseComponent(name: Component): Promise<void>
  /** A copy of etcd's data inside the node, taken while etcd and the API server are stopped for a moment. */
  snapshotEtcd(label: string): Promise<void>
  /** Back to that copy; every component that keeps a cache of the API is restarted, as after a real restore. */
  restoreEtcd(label: string): Promise<void>
}

export function createComponents(layout: Layout, nodeExec: NodeExec): Components {
  const file = (folder: string, name: string) => join(layout.state, folder, name)
  const pidOf = (name: Component): string | undefined => {
    const path = file('pid', name)
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
  }
  const signal = async (name: Component, which: string): Promise<void> => {
    const pid = pidOf(name)
    if (pid) await nodeExec(['kill', `-${which}`, pid]).catch(() => undefined)
  }
  const held = (name: Component) => existsSync(file('held', name)) && pidOf(name) === undefined

  async function stopComponent(name: Component): Promise<void> {
    writeFileSync(file('hold', name), '')
    const end = performance.now() + STOP_GRACE_MS
    await signal(name, 'TERM')
    await signal(name, 'CONT')
    await eventually(`end of ${name}`, async () => {
      if (held(name)) return true
      if (performance.now() > end) await signal(name, 'KILL')
      return undefined
    })
  }

  async function startComponent(name: Component): Promise<void> {
    rmSync(file('hold', name), { force: true })
    await signal(name, 'CONT')
    await eventually(`start of ${name}`, () => pidOf(name))
    if (CARRIES_API.includes(name) && !existsSync(file('hold', 'kube-apiserver'))) await apiReady(layout)
  }

  async function whileStopped(names: readonly Component[], act: () => Promise<unknown>): Promise<void> {
    for (const name of names) await stopComponent(name)
    await act()
    for (const name of names.toReversed()) await startComponent(name)
  }

  const copy = (from: string, to: string) =>
    nodeExec(['sh', '-c', 'rm -rf -- "$2" && cp -a -- "$1" "$2"', 'sh', from, to])
  return {
    killComponent: (name) => signal(name, 'KILL'),
    stopComponent,
    startComponent,
    pauseComponent: (name) => signal(name, 'STOP'),
    snapshotEtcd: (label) =>
      whileStopped(['kube-apiserver', 'etcd'], () => copy(ETCD_DATA, snapshotOf(label))),
    restoreEtcd: (label) => whileStopped(API_CLIENTS, () => copy(snapshotOf(label), ETCD_DATA)),
  }
}

const STOP_GRACE_MS = 3000
const ETCD_DATA = '/var/lib/etcd'
const CARRIES_API: readonly Component[] = ['etcd', 'kube-apiserver']
const API_CLIENTS: readonly Component[] = [
  'kube-proxy',
  'kubelet',
  'kube-scheduler',
  'kube-controller-manager',
  'kube-apiserver',
  'etcd',
]

export async function apiReady({ nodeAddress, state }: Layout): Promise<void> {
  const ca = join(state, 'pki/kubernetes.crt')
  await eventually('API server', () => answered(`https://${nodeAddress}:6443/readyz`, ca))
}

function snapshotOf(label: string): string {
  if (!/^[a-z0-9-]{1,40}$/.test(label)) throw new Error(`'${label}' is no label of a snapshot`)
  return `/run/pc-etcd-${label}`
}
