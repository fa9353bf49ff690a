import type { Config } from '../config.ts'
import { faultOf } from '../kube/answer.ts'
import type { Resource } from '../kube/resource.ts'
import { MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS } from '../kube/resources.ts'
import { type KubePorts, openTransport, type Transport } from '../kube/transport.ts'
import { get, remove } from '../kube/verbs.ts'

const BINDINGS: Resource = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'validatingadmissionpolicybindings',
  kind: 'ValidatingAdmissionPolicyBinding',
  namespaced: false,
}

/** What admission of ours there is: the names are those of charts/portcullis (portcullis.guardBindings). */
const ADMISSION: readonly (readonly [Resource, string])[] = [
  [MUTATING_WEBHOOK_CONFIGURATIONS, 'portcullis-inject'],
  [VALIDATING_WEBHOOK_CONFIGURATIONS, 'portcullis-validate'],
  ...['namespace', 'pod', 'required'].map((one) => [BINDINGS, `portcullis-guard-${one}`] as const),
  ...['outside', 'labels', 'exec', 'token'].map((one) => [BINDINGS, `portcullis-${one}`] as const),
]

const GONE_MS = 200

/** Takes admission away and waits until it is gone, so that an uninstall leaves nothing that refuses pods. */
export async function cleanUp(config: Config, ports: KubePorts, signal: AbortSignal): Promise<void> {
  await using transport = await openTransport(config.kubeconfig, ports)
  for (const [resource, name] of ADMISSION) {
    const answer = await remove(transport, { resource, name }, {}, signal)
    if (!answer.ok && answer.refused.status !== 404) throw faultOf(answer.refused, `delete ${name}`)
    while (await exists(transport, resource, name, signal)) await ports.sleep(GONE_MS, signal)
    ports.report('removed', { kind: resource.kind, name, was: answer.ok })
  }
}

async function exists(
  transport: Transport,
  resource: Resource,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await get(transport, { resource, name }, signal)
  if (answer.ok) return true
  if (answer.refused.status === 404) return false
  throw faultOf(answer.refused, `get ${name}`)
}
