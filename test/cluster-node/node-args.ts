import { COMMON_APISERVER_ARGS, etcdArgs, FEATURES } from './api-args.ts'
import type { Layout } from './layout.ts'

/** Arguments of each component, by its name; paths are those inside the node. */
export function argumentsOf(layout: Layout): Readonly<Record<string, readonly string[]>> {
  return {
    etcd: etcdArgs('/var/lib/etcd', 2379, 2380),
    'kube-apiserver': apiserver(layout),
    'kube-controller-manager': controllerManager(),
    'kube-scheduler': [...kubeconfigs('scheduler'), '--bind-address=127.0.0.1', '--leader-elect=false'],
    kubelet: [
      '--config=/run/pc/kubelet.json',
      '--kubeconfig=/run/pc/kubelet.kubeconfig',
      `--node-ip=${layout.nodeAddress}`,
      `--hostname-override=${layout.name}`,
      '--root-dir=/var/lib/kubelet',
      '--cert-dir=/var/lib/kubelet/pki',
    ],
  }
}

const PKI = '/run/pc/pki'

function apiserver({ nodeAddress }: Layout): readonly string[] {
  return [
    ...COMMON_APISERVER_ARGS,
    '--etcd-servers=http://127.0.0.1:2379',
    `--advertise-address=${nodeAddress}`,
    '--secure-port=6443',
    `--client-ca-file=${PKI}/kubernetes.crt`,
    `--tls-cert-file=${PKI}/apiserver.crt`,
    `--tls-private-key-file=${PKI}/apiserver.key`,
    `--kubelet-certificate-authority=${PKI}/kubernetes.crt`,
    `--kubelet-client-certificate=${PKI}/apiserver-kubelet.crt`,
    `--kubelet-client-key=${PKI}/apiserver-kubelet.key`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-signing-key-file=${PKI}/sa.key`,
    `--service-account-key-file=${PKI}/sa.pub`,
    `--requestheader-client-ca-file=${PKI}/front-proxy-ca.crt`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${PKI}/front-proxy.crt`,
    `--proxy-client-key-file=${PKI}/front-proxy.key`,
    '--audit-policy-file=/run/pc/audit.json',
    '--audit-log-path=/run/pc/logs/audit.log',
  ]
}

function controllerManager(): readonly string[] {
  return [
    ...kubeconfigs('controller-manager'),
    '--bind-address=127.0.0.1',
    '--leader-elect=false',
    '--use-service-account-credentials',
    `--service-account-private-key-file=${PKI}/sa.key`,
    `--root-ca-file=${PKI}/kubernetes.crt`,
    `--cluster-signing-cert-file=${PKI}/kubernetes.crt`,
    `--cluster-signing-key-file=${PKI}/kubernetes.key`,
    `--client-ca-file=${PKI}/kubernetes.crt`,
    `--requestheader-client-ca-file=${PKI}/front-proxy-ca.crt`,
    // With the defaults its own throttling makes it take 5 s to start.
    '--kube-api-qps=300',
    '--kube-api-burst=600',
    '--allocate-node-cidrs=false',
    '--controllers=*',
    `--feature-gates=${FEATURES}`,
  ]
}

function kubeconfigs(file: string): readonly string[] {
  const path = `/run/pc/${file}.kubeconfig`
  return ['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map(
    (one) => `--${one}=${path}`,
  )
}
