import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Authority, Pki } from './pki.ts'

// Arguments of kube-apiserver and etcd, as far as a cluster with a node and the API server alone agree.

export const ISSUER = 'https://kubernetes.default.svc.cluster.local'
export const SERVICE_CIDR = '10.96.0.0/16'
/** What a pod can be given to prove itself with: beta, served and enabled in every test cluster. */
export const FEATURES = 'PodCertificateRequest=true,ClusterTrustBundle=true,ClusterTrustBundleProjection=true'

/** Metadata of every request once it is answered: who did what, no bodies, so no secrets. */
export const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata' }],
} as const

export const COMMON_APISERVER_ARGS: readonly string[] = [
  '--authorization-mode=Node,RBAC',
  '--enable-admission-plugins=NodeRestriction',
  // Else the API's validation, not the policy under test, refuses a privileged pod.
  '--allow-privileged=true',
  '--profiling=false',
  `--service-cluster-ip-range=${SERVICE_CIDR}`,
  `--service-account-issuer=${ISSUER}`,
  '--runtime-config=certificates.k8s.io/v1beta1=true',
  `--feature-gates=${FEATURES}`,
]

export interface ApiPlan {
  readonly directory: string
  readonly pki: Pki
  readonly ca: Authority
  readonly port: number
  readonly etcdUrl: string
}

export async function apiserverArgs({
  directory,
  pki,
  ca,
  port,
  etcdUrl,
}: ApiPlan): Promise<readonly string[]> {
  const names = ['DNS:localhost', 'DNS:kubernetes.default.svc', 'IP:127.0.0.1']
  const [serving, accounts] = await Promise.all([
    pki.sign('apiserver', { commonName: 'kube-apiserver', usage: 'serverAuth', names }, ca),
    pki.serviceAccountKeys(),
  ])
  const audit = join(directory, 'audit.yaml')
  writeFileSync(audit, JSON.stringify(AUDIT_POLICY))
  return [
    ...COMMON_APISERVER_ARGS,
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    // A loopback address is not allowed in the endpoints of the kubernetes Service.
    '--endpoint-reconciler-type=none',
    `--secure-port=${port}`,
    `--client-ca-file=${ca.cert}`,
    `--tls-cert-file=${serving.cert}`,
    `--tls-private-key-file=${serving.key}`,
    `--service-account-signing-key-file=${accounts.privateKey}`,
    `--service-account-key-file=${accounts.publicKey}`,
    `--audit-policy-file=${audit}`,
    `--audit-log-path=${join(directory, 'audit.log')}`,
  ]
}

export function etcdArgs(dataDir: string, clientPort: number, peerPort: number): readonly string[] {
  const [client, peer] = [`http://127.0.0.1:${clientPort}`, `http://127.0.0.1:${peerPort}`]
  return [
    '--name=test',
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=test=${peer}`,
    // Survives a killed process, not a power cut.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ]
}
