import { layoutOf } from '../cluster-node/layout.ts'
import { ip } from '../cluster-node/start.ts'
import { conditionOf } from './pods.ts'
import { accessPolicy, policyBundle, tokenIssuer } from './shop.ts'
import { eventually, NAMESPACE, openWorld, SYSTEM, type World } from './world.ts'

// A world with Portcullis in it, for the proofs that begin where the road has already been walked.

const SECURITY = `securityContext: { runAsNonRoot: true, runAsUser: 65532, allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, seccompProfile: { type: RuntimeDefault } }`

/** `settings` as `--set` takes them. Resolves when pods can be injected and the policies of the shop are compiled. */
export async function openInstalled(name: string, settings: readonly string[] = []): Promise<World> {
  const world = await openWorld(name)
  try {
    // Beside another cluster the pods of this one have other addresses; the route ends with the node's interface.
    const { podCidr } = layoutOf(name, world.cluster.slot)
    ip('route', 'replace', podCidr, 'via', world.cluster.nodeAddress)
    await world.helm([
      ...['install', 'portcullis', 'charts/portcullis', '-n', SYSTEM, '--create-namespace'],
      ...['--wait', '--timeout', '240s'],
      ...world.values,
      ...settings.flatMap((one) => ['--set', one]),
    ])
    await untilReady(world, 'sidecarprofile', 'default')
    await world.apply(`${tokenIssuer(world)}---${policyBundle()}---${accessPolicy()}---${probes()}`)
    await untilReady(world, 'accesspolicy', 'shop')
    await untilReady(world, 'accesspolicy', 'probes')
    return world
  } catch (cause) {
    await world[Symbol.asyncDispose]()
    throw cause
  }
}

/** The rules of the shop for pods that are no shop. */
function probes(): string {
  return accessPolicy().replace('name: shop', 'name: probes').replace('app: shop', 'app: probe')
}

async function untilReady(world: World, kind: string, name: string): Promise<void> {
  await eventually(`${kind} ${name}`, async () => {
    const { status, message } = await conditionOf(world, kind, name, 'Ready')
    return status === 'True' ? undefined : message
  })
}

export interface PodPlan {
  readonly name: string
  readonly image: string
  readonly args?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly serviceAccount?: string
}

/** An injected pod under the AccessPolicy `probes`, whose one other container runs this image. */
export function injectedPod({ name, image, args = [], labels = {}, serviceAccount }: PodPlan): string {
  const all = { app: 'probe', 'portcullis.dev/inject': 'enabled', role: name, ...labels }
  return `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${NAMESPACE}, labels: ${JSON.stringify(all)} }
spec:
  terminationGracePeriodSeconds: 2${serviceAccount ? `\n  serviceAccountName: ${serviceAccount}` : ''}
  containers:
    - name: app
      image: ${image}
      imagePullPolicy: IfNotPresent
      args: ${JSON.stringify(args)}
      resources: { requests: { cpu: 10m, memory: 32Mi } }
      ${SECURITY}
`
}

/** Of a Ready pod. */
export async function addressOf(world: World, pod: string, timeoutS = 180): Promise<string> {
  await world.kubectl([
    'wait',
    '--for=condition=Ready',
    `pod/${pod}`,
    '-n',
    NAMESPACE,
    `--timeout=${timeoutS}s`,
  ])
  const { status } = await world.get('pod', pod, NAMESPACE)
  return String(status['podIP'])
}

export interface Rotation {
  readonly phase?: string
  readonly steps?: readonly { readonly step: string; readonly at: string; readonly detail: string }[]
  readonly verifiers?: { readonly total: number; readonly acknowledged: number; readonly lapsed: number }
}

export async function rotationOf(world: World, name: string): Promise<Rotation> {
  return ((await world.get('keyrotation', name)).status as unknown as Rotation | undefined) ?? {}
}

export function revocation(name: string, type: string, value: string): string {
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z$/, 'Z')
  return `
apiVersion: portcullis.dev/v1alpha1
kind: Revocation
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  issuerRef: { name: idp }
  entries: [{ type: ${type}, value: "${value}" }]
  expiresAt: "${expiresAt}"
`
}
