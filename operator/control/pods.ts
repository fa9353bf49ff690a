import type { RunningPod } from '../inject/audit.ts'
import { INJECTED } from '../inject/patch.ts'
import { SIDECAR } from '../inject/sidecar.ts'
import { listOf, recordOf, textOf } from '../kube/answer.ts'
import type { KubeObject } from '../kube/resource.ts'
import type { Pod } from '../state/cluster.ts'

/** A pod as far as anybody here wants to know it. */
export interface PodSeen extends KubeObject {
  readonly pod: Pod
  readonly running: RunningPod
}

const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed'] as const
const MIRROR = 'kubernetes.io/config.mirror'

export function podSeen({ metadata, spec, status }: KubeObject): PodSeen {
  const [wanted, observed] = [recordOf(spec), recordOf(status)]
  const { namespace = '', name, uid = '', labels = {}, annotations = {}, resourceVersion } = metadata
  const phase = PHASES.find((one) => one === observed['phase']) ?? 'Unknown'
  const initContainers = listOf(wanted['initContainers']).map((one) => ({
    name: textOf(recordOf(one)['name']),
    image: textOf(recordOf(one)['image']),
  }))
  const pod: Pod = {
    uid,
    namespace,
    name,
    labels,
    serviceAccount: textOf(wanted['serviceAccountName']),
    phase,
    deleting: metadata.deletionTimestamp !== undefined,
    node: textOf(wanted['nodeName']),
    ips: listOf(observed['podIPs']).map((one) => textOf(recordOf(one)['ip'])),
    sidecar: initContainers.some((one) => one.name === SIDECAR),
    profile: (annotations[INJECTED] ?? '').split('@', 1)[0] ?? '',
  }
  return {
    metadata: { namespace, name, uid, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    pod,
    running: { namespace, name, labels, annotations, initContainers, phase, mirror: MIRROR in annotations },
  }
}
