import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AUDIT_POLICY } from './api-args.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import type { Layout } from './layout.ts'
import { argumentsOf } from './node-args.ts'
import { conflist, containerdToml, kubeletConfig, kubeProxyConfig } from './node-config.ts'
import { type NodePki, signAll } from './node-pki.ts'
import { createPki } from './pki.ts'
import type { Tools } from './tool.ts'

export const PROGRAMS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kubelet',
  'kube-scheduler',
  'kube-proxy',
  'etcd',
  'containerd',
  'containerd-shim-runc-v2',
  'ctr',
  'runc',
  'kubectl',
] as const
export type ProgramName = (typeof PROGRAMS)[number]

export interface Material {
  readonly layout: Layout
  readonly tools: Tools<ProgramName>
  /** OCI archives to import before the node starts. */
  readonly images: readonly string[]
  readonly storage: 'memory' | 'disk'
}

// The node mounts fresh file systems over these.
const HIDDEN = ['/run/', '/var/run/', '/var/lib/', '/var/log/', '/sys/', '/proc/']

/** Everything the node reads, written to `staged`, which becomes `layout.state`; the node sees it as /run/pc. */
export async function writeMaterial(staged: string, material: Material): Promise<void> {
  const { layout, tools } = material
  for (const path of [...Object.values(tools), ...material.images]) refuseHidden(path)
  for (const folder of ['args', 'images', 'net.d', 'logs']) {
    mkdirSync(join(staged, folder), { recursive: true, mode: 0o700 })
  }
  const pki = await signAll(createPki(join(staged, 'pki')), layout)
  writeAccess(staged, pki, layout)
  for (const [component, args] of Object.entries(argumentsOf(layout))) {
    writeFileSync(join(staged, 'args', component), args.map((one) => `${one}\n`).join(''))
  }
  const write = (file: string, tree: unknown) => writeFileSync(join(staged, file), JSON.stringify(tree))
  write('audit.json', AUDIT_POLICY)
  write('kubelet.json', kubeletConfig())
  write('kube-proxy.json', kubeProxyConfig(layout))
  write('net.d/10-bridge.conflist', conflist(layout))
  writeFileSync(join(staged, 'containerd.toml'), containerdToml(tools.runc))
  material.images.forEach((path, at) => {
    symlinkSync(resolve(path), join(staged, 'images', `${String(at).padStart(3, '0')}-${basename(path)}`))
  })
  writeFileSync(join(staged, 'node.env'), environment(material))
  writeFileSync(join(staged, 'slot'), `${layout.slot}\n`)
}

// In the node these paths are /run/pc/...; for the administrator, the state directory.
function writeAccess(staged: string, pki: NodePki, { nodeAddress }: Layout): void {
  const caFile = pki.ca.cert
  const [inside, outside] = ['https://127.0.0.1:6443', `https://${nodeAddress}:6443`]
  const write = (file: string, server: string, as: NodePki['clients'][keyof NodePki['clients']]) =>
    writeKubeconfig(join(staged, `${file}.kubeconfig`), { server, caFile, as })
  write('controller-manager', inside, pki.clients.controllerManager)
  write('scheduler', inside, pki.clients.scheduler)
  write('kubelet', inside, pki.clients.kubelet)
  write('proxy', outside, pki.clients.proxy)
  write('admin', outside, pki.clients.admin)
}

function environment({ layout, tools, storage }: Material): string {
  const values: Readonly<Record<string, string>> = {
    ...Object.fromEntries(
      PROGRAMS.map((name) => [name.toUpperCase().replaceAll('-', '_'), tools[name]] as const),
    ),
    BIN: dirname(tools['containerd-shim-runc-v2']),
    HOST_ADDRESS: layout.hostAddress,
    NODE_ADDRESS: layout.nodeAddress,
    STORAGE: storage,
  }
  const quoted = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`
  return Object.entries(values)
    .map(([key, value]) => `${key}=${quoted(value)}\n`)
    .join('')
}

function refuseHidden(path: string): void {
  const hidden = HIDDEN.find((prefix) => resolve(path).startsWith(prefix))
  if (!hidden) return
  throw new Error(`${path} is below ${hidden}, which the node hides: set XDG_CACHE_HOME to another place`)
}
