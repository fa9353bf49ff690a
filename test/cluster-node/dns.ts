import type { Kubectl } from './kubectl.ts'
import { DNS_ADDRESS } from './layout.ts'

// CoreDNS: names of Services for pods, and nothing else (it forwards no question).

export const DNS_IMAGE = 'portcullis.test/coredns:1'
// Not 53: a process that is not root may not listen there.
const PORT = 5353
const COREFILE = `.:${PORT} {
  errors
  health :8080
  ready :8181
  kubernetes cluster.local in-addr.arpa {
    pods insecure
    ttl 5
  }
  cache 5
}
`

export async function applyDns(kubectl: Kubectl): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: [...access(), corefile(), deployment(), service()] }
  await kubectl(['apply', '--server-side', '-f', '-'], { stdin: JSON.stringify(list) })
}

const meta = (name: string) => ({ name, namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } })

function access(): readonly object[] {
  const role = 'system:coredns'
  const subjects = [{ kind: 'ServiceAccount', name: 'coredns', namespace: 'kube-system' }]
  const verbs = ['list', 'watch']
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta('coredns') },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: role },
      rules: [
        { apiGroups: [''], resources: ['services', 'pods', 'namespaces', 'endpoints'], verbs },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: role },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects,
    },
  ]
}

function corefile(): object {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta('coredns'), data: { Corefile: COREFILE } }
}

function deployment(): object {
  const container = {
    name: 'coredns',
    image: DNS_IMAGE,
    imagePullPolicy: 'Never',
    args: ['-conf', '/etc/coredns/Corefile'],
    ports: [
      { name: 'dns', containerPort: PORT, protocol: 'UDP' },
      { name: 'dns-tcp', containerPort: PORT, protocol: 'TCP' },
    ],
    readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
    volumeMounts: [{ name: 'config', mountPath: '/etc/coredns', readOnly: true }],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
  }
  const template = {
    metadata: { labels: { 'k8s-app': 'kube-dns' } },
    spec: {
      serviceAccountName: 'coredns',
      dnsPolicy: 'Default',
      securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [container],
      volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
    },
  }
  const spec = { replicas: 1, selector: { matchLabels: { 'k8s-app': 'kube-dns' } }, template }
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: meta('coredns'), spec }
}

function service(): object {
  const port = (name: string, protocol: string) => ({ name, protocol, port: 53, targetPort: PORT })
  const ports = [port('dns', 'UDP'), port('dns-tcp', 'TCP')]
  const spec = { clusterIP: DNS_ADDRESS, selector: { 'k8s-app': 'kube-dns' }, ports }
  return { apiVersion: 'v1', kind: 'Service', metadata: meta('kube-dns'), spec }
}
