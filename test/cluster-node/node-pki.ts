import type { Layout } from './layout.ts'
import type { Authority, KeyPair, Leaf, Pki } from './pki.ts'

// Who is who in a cluster, by the names that kube-apiserver's default roles expect.

export interface NodePki {
  readonly ca: Authority
  readonly clients: Readonly<
    Record<'admin' | 'controllerManager' | 'scheduler' | 'proxy' | 'kubelet', KeyPair>
  >
}

export async function signAll(pki: Pki, { name, nodeAddress }: Layout): Promise<NodePki> {
  const [ca, frontProxyCa] = await Promise.all([
    pki.authority('kubernetes'),
    pki.authority('front-proxy-ca'),
    pki.serviceAccountKeys(),
  ])
  const client = (file: string, commonName: string, ...organizations: readonly string[]) =>
    pki.sign(file, { commonName, organizations, usage: 'clientAuth' }, ca)
  const server = (file: string, commonName: string, names: readonly string[]) =>
    pki.sign(file, { commonName, usage: 'serverAuth', names }, ca)
  const frontProxy: Leaf = { commonName: 'front-proxy-client', usage: 'clientAuth' }
  const [admin, controllerManager, scheduler, proxy, kubelet] = await Promise.all([
    client('admin', 'kubernetes-admin', 'system:masters'),
    client('controller-manager', 'system:kube-controller-manager'),
    client('scheduler', 'system:kube-scheduler'),
    client('proxy', 'system:kube-proxy'),
    client('kubelet', `system:node:${name}`, 'system:nodes'),
    client('apiserver-kubelet', 'kube-apiserver-kubelet-client', 'system:masters'),
    server('apiserver', 'kube-apiserver', [...SERVICE_NAMES, `IP:${nodeAddress}`]),
    server('kubelet-serving', `system:node:${name}`, [`DNS:${name}`, `IP:${nodeAddress}`]),
    pki.sign('front-proxy', frontProxy, frontProxyCa),
  ])
  return { ca, clients: { admin, controllerManager, scheduler, proxy, kubelet } }
}

const SERVICE_NAMES = [
  'DNS:kubernetes',
  'DNS:kubernetes.default',
  'DNS:kubernetes.default.svc',
  'DNS:kubernetes.default.svc.cluster.local',
  'DNS:localhost',
  'IP:10.96.0.1',
  'IP:127.0.0.1',
] as const
