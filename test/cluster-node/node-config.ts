import { DNS_ADDRESS, type Layout } from './layout.ts'

// Configuration files of the node's components; JSON where they read YAML.

export const PAUSE_IMAGE = 'portcullis.test/pause:1'

export function kubeletConfig(): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: '0.0.0.0',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true, cacheTTL: '2s' },
      x509: { clientCAFile: '/run/pc/pki/kubernetes.crt' },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: '/run/pc/pki/kubelet-serving.crt',
    tlsPrivateKeyFile: '/run/pc/pki/kubelet-serving.key',
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    cgroupsPerQOS: true,
    enforceNodeAllocatable: ['pods'],
    failSwapOn: false,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    clusterDNS: [DNS_ADDRESS],
    clusterDomain: 'cluster.local',
    resolvConf: '/run/pc/resolv.conf',
    serializeImagePulls: false,
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
      'imagefs.inodesFree': '0%',
    },
    // Never collects the images that were put there.
    imageGCHighThresholdPercent: 100,
    nodeStatusUpdateFrequency: '4s',
    featureGates: {
      PodCertificateRequest: true,
      ClusterTrustBundle: true,
      ClusterTrustBundleProjection: true,
    },
  }
}

export function kubeProxyConfig({ name, podCidr }: Layout): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clientConnection: { kubeconfig: '/run/pc/proxy.kubeconfig' },
    clusterCIDR: podCidr,
    hostnameOverride: name,
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    // nf_conntrack_max is read-only outside the machine's first network namespace.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    nftables: { minSyncPeriod: '0s', syncPeriod: '30s' },
  }
}

export function conflist({ podCidr }: Layout): object {
  const ipam = {
    type: 'host-local',
    dataDir: '/run/pc-ipam',
    ranges: [[{ subnet: podCidr }]],
    routes: [{ dst: '0.0.0.0/0' }],
  }
  const bridge = { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: false, hairpinMode: true, ipam }
  const portmap = { type: 'portmap', capabilities: { portMappings: true } }
  return { cniVersion: '1.0.0', name: 'pc', plugins: [bridge, portmap] }
}

export function containerdToml(runc: string): string {
  const cri = `io.containerd.cri.v1`
  return `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
# opt would make a directory on the host
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'${cri}.images']
  snapshotter = "overlayfs"
  [plugins.'${cri}.images'.pinned_images]
    sandbox = "${PAUSE_IMAGE}"
[plugins.'${cri}.runtime']
  # Where the machine withholds CAP_SYS_RESOURCE the kernel refuses a lower score, and every sandbox would fail.
  restrict_oom_score_adj = true
  [plugins.'${cri}.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'${cri}.runtime'.containerd.runtimes.runc.options]
      BinaryName = ${JSON.stringify(runc)}
      SystemdCgroup = false
  [plugins.'${cri}.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "/run/pc/net.d"
`
}
