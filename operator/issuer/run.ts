import { openAdmin } from '../../contracts/admin.ts'
import { type KeyRotation, parseKeyRotation } from '../../contracts/crd/key-rotation.ts'
import { parseSidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import { parseTrustDomain, type TrustDomain } from '../../contracts/crd/trust-domain.ts'
import { parseWorkloadIdentity } from '../../contracts/crd/workload-identity.ts'
import { API_VERSION } from '../../contracts/crd.ts'
import type { Config } from '../config.ts'
import { openKind } from '../control/cluster-watch.ts'
import { POD_IP } from '../control/fleet-link.ts'
import { PRESENCE } from '../control/ground.ts'
import { resourceOf } from '../control/resources.ts'
import { TRUST_SEQUENCE } from '../control/verifying.ts'
import { type Progress, readKeys } from '../identity/key-keeper.ts'
import { kubeCabinet } from '../identity/kube-cabinet.ts'
import { type RunningIssuer, runIssuer } from '../identity/run-issuer.ts'
import { faultOf } from '../kube/answer.ts'
import { applyStatus } from '../kube/apply.ts'
import { openEvents } from '../kube/events.ts'
import { openPresence, openPresences, PRESENCE_TIMES } from '../kube/presence.ts'
import { type KubePorts, openTransport, type Transport } from '../kube/transport.ts'
import { Fault } from '../ports.ts'
import { type IssuerPorts, type Mirrors, type Needs, optionsOf, rotationWith } from './options.ts'
import { rotationStatus } from './rotation-status.ts'
import { trustDomainStatus } from './trust-domain-status.ts'

const DRAIN_MS = 10_000
const STATUS_MS = 2_000
const MANAGER = 'portcullis-issuer'

/** One replica of `issuer`: holds the keys, issues and signs, and, while it leads, moves rotations on. Resolves when the signal has aborted. */
export async function runIssuerRole(config: Config, ports: IssuerPorts, signal: AbortSignal): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const { namespace, pod } = config
  const transport = stack.use(await openTransport(config.kubeconfig, ports))
  const mirrors = await openMirrors(transport, ports, stack)
  const presences = stack.use(await openPresences(transport, { namespace, prefix: PRESENCE }, ports))
  const about = { controller: 'portcullis.dev/issuer', instance: pod.name, namespace }
  const events = stack.use(await openEvents(transport, about, ports))
  let issuer: RunningIssuer | undefined
  const notReadyBecause = () => (issuer?.ready() ? [] : ['the keys were not read lately, or not made yet'])
  stack.use(
    await openAdmin(
      { host: '0.0.0.0', port: config.ports.admin },
      {
        notReadyBecause,
        remarks: () => [],
        facts: () => ({
          leading: Number(issuer?.leading() ?? false),
          sequence: issuer?.bundle.current().sequence ?? 0,
        }),
        metrics: () => ports.record.text(),
        metricsType: ports.record.contentType,
      },
    ),
  )
  await Promise.all([
    ...Object.values(mirrors).map((one) => one.whenSynced(signal)),
    presences.whenSynced(signal),
  ])
  const needs: Needs = { config, ports, mirrors, presences, events, transport }
  const running = await runIssuer(
    optionsOf(needs, (progress, one) => recordProgress(needs, progress, one)),
    transport,
    ports,
    signal,
  )
  issuer = stack.use(running)
  const presence = stack.use(
    await openPresence(
      transport,
      {
        ...PRESENCE_TIMES,
        namespace,
        prefix: PRESENCE,
        pod: pod.name,
        identity: `${pod.name}_${pod.uid}`,
        annotations: () => ({
          [POD_IP]: pod.ip,
          [TRUST_SEQUENCE]: String(running.bundle.current().sequence),
        }),
      },
      ports,
    ),
  )
  stack.use(running.bundle.watch(presence.renew))
  ports.report('serving', { issuer: running.port, admin: config.ports.admin })
  await tellTrustDomains(needs, running, signal)
  await running.drain(DRAIN_MS, AbortSignal.timeout(DRAIN_MS))
}

async function openMirrors(
  transport: Transport,
  ports: KubePorts,
  stack: AsyncDisposableStack,
): Promise<Mirrors> {
  return {
    domains: stack.use(await openKind('TrustDomain', parseTrustDomain, transport, ports)),
    rotations: stack.use(await openKind('KeyRotation', parseKeyRotation, transport, ports)),
    identities: stack.use(await openKind('WorkloadIdentity', parseWorkloadIdentity, transport, ports)),
    profiles: stack.use(await openKind('SidecarProfile', parseSidecarProfile, transport, ports)),
  }
}

async function recordProgress(needs: Needs, progress: Progress, signal: AbortSignal): Promise<void> {
  const rotation = rotationWith(needs.mirrors, progress.rotation.uid)
  if (!rotation) return
  const { step } = progress
  if (step.do !== 'wait') {
    needs.events.tell({
      regarding: {
        apiVersion: API_VERSION,
        kind: 'KeyRotation',
        name: rotation.metadata.name,
        uid: rotation.metadata.uid,
      },
      type: step.do === 'fail' ? 'Warning' : 'Normal',
      reason: `${step.do.charAt(0).toUpperCase()}${step.do.slice(1)}`,
      action: 'RotateKey',
      note: `${rotation.spec.use}: ${step.do}${'id' in step ? ` ${step.id}` : ''}`,
    })
  }
  await writeStatus(
    needs,
    { kind: 'KeyRotation', object: rotation, status: rotationStatus(rotation, progress) },
    signal,
  )
}

/** TrustDomains say which keys there are; the leader writes. Until the signal aborts. */
async function tellTrustDomains(needs: Needs, running: RunningIssuer, signal: AbortSignal): Promise<void> {
  const cabinet = kubeCabinet(needs.transport, needs.config.namespace)
  while (!signal.aborted) {
    try {
      if (running.leading()) {
        const read = await readKeys(cabinet, signal)
        const stored = read && { keys: read.keys, sequence: read.bundle.sequence }
        for (const { parsed } of needs.mirrors.domains.store.list()) {
          const status = trustDomainStatus(parsed, stored, needs.config.trustDomain, needs.ports.now())
          await writeStatus(needs, { kind: 'TrustDomain', object: parsed, status }, signal)
        }
      }
    } catch (cause) {
      if (!signal.aborted)
        needs.ports.report('status_not_written', { kind: 'TrustDomain', problem: Fault.from(cause).message })
    }
    await needs.ports.sleep(STATUS_MS, signal).catch(() => undefined)
  }
}

interface Due {
  readonly kind: 'TrustDomain' | 'KeyRotation'
  readonly object: TrustDomain | KeyRotation
  readonly status: object
}

const written = new WeakMap<object, string>()

async function writeStatus(
  { transport }: Needs,
  { kind, object, status }: Due,
  signal: AbortSignal,
): Promise<void> {
  const text = JSON.stringify(status)
  if (written.get(object) === text) return
  const { name, uid } = object.metadata
  const intent = {
    resource: resourceOf(kind),
    metadata: { name, uid },
    fields: { status },
    manager: MANAGER,
    force: true,
  }
  const applied = await applyStatus(transport, intent, signal)
  if (!applied.ok && applied.refused.status !== 404)
    throw faultOf(applied.refused, `status of ${kind} ${name}`)
  written.set(object, text)
}
