import { durationMs } from '../../contracts/crd/duration.ts'
import type { KeyRotation } from '../../contracts/crd/key-rotation.ts'
import type { SidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import type { TrustDomain } from '../../contracts/crd/trust-domain.ts'
import type { WorkloadIdentity } from '../../contracts/crd/workload-identity.ts'
import { API_VERSION } from '../../contracts/crd.ts'
import { parseTime } from '../../contracts/time.ts'
import type { Config } from '../config.ts'
import type { Parsed } from '../control/cluster-watch.ts'
import { resourceOf } from '../control/resources.ts'
import { FLEET_SEQUENCE } from '../control/verifying.ts'
import { DENIALS, type Denied } from '../identity/denial.ts'
import type { Grant } from '../identity/entitlement.ts'
import type { DueRotation } from '../identity/expiry.ts'
import type { Entropy, Pod } from '../identity/ports.ts'
import type { Rotation } from '../identity/rotation.ts'
import type { IssuerOptions } from '../identity/run-issuer.ts'
import { SIDECAR } from '../inject/sidecar.ts'
import { faultOf } from '../kube/answer.ts'
import type { Events } from '../kube/events.ts'
import type { Presences } from '../kube/presence.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import { create } from '../kube/verbs.ts'
import type { Watched } from '../kube/watch.ts'
import type { Metrics } from '../record/metrics.ts'

export interface IssuerPorts extends KubePorts {
  readonly record: Metrics
  readonly entropy: Entropy
}

export interface Mirrors {
  readonly domains: Watched<Parsed<TrustDomain>>
  readonly rotations: Watched<Parsed<KeyRotation>>
  readonly identities: Watched<Parsed<WorkloadIdentity>>
  readonly profiles: Watched<Parsed<SidecarProfile>>
}

export interface Needs {
  readonly config: Config
  readonly ports: IssuerPorts
  readonly mirrors: Mirrors
  readonly presences: Presences
  readonly events: Events
  readonly transport: Transport
}

const LIMITS = {
  connections: 4_000,
  streams: 32,
  requestBytes: 64 * 1024,
  responseBytes: 256 * 1024,
  connectionAgeMs: 10 * 60_000,
  connectionGraceMs: 10_000,
}

const OVER = new Set(['Complete', 'Revoked', 'Failed'])

/** What the issuer goes by: objects of the cluster, as they are now. `record` is told of every step of a rotation. */
export function optionsOf(needs: Needs, recordStep: IssuerOptions['rotation']['record']): IssuerOptions {
  const { config, ports, mirrors, presences } = needs
  const { record } = ports
  const { pod, namespace } = config
  return {
    trustDomain: config.trustDomain,
    audience: config.audience,
    systemNamespace: namespace,
    replica: { pod: pod.name, podUid: pod.uid, identity: `${pod.name}_${pod.uid}_${ports.now()}` },
    listen: { host: '0.0.0.0', port: config.ports.issuer },
    limits: LIMITS,
    rules: () => rulesOf(servedDomain(mirrors, config.trustDomain), config.trustDomain),
    sidecarOf: (one) => sidecarOf(one, mirrors),
    grants: (one) => grantsOf(one, mirrors),
    rotation: {
      rotations: () => rotationsOf(needs),
      verifiers: ({ uid }) => rotationWith(mirrors, uid)?.status?.verifiers,
      fleetSequence: () =>
        Math.max(0, ...presences.live().map(({ annotations }) => Number(annotations[FLEET_SEQUENCE] ?? 0))),
      record: recordStep,
      request: (due, signal) => requestRotation(needs, due, signal),
    },
    record: {
      issued: (kind, count) => record.add('portcullis_svid_issued_total', { kind }, count),
      denied: (kind, denied) => tellDenied(needs, kind, denied),
      failed: (kind, problem) => {
        record.add('portcullis_svid_failed_total', { kind })
        ports.report('svid_failed', { kind, problem })
      },
      refused: (why) => record.add('portcullis_mesh_refused_total', { why: why.split(':', 1)[0] ?? '' }),
      pinsCollected: (count) => record.add('portcullis_pins_collected_total', {}, count),
    },
  }
}

/** A key nears its end: a KeyRotation, as people would write it, follows the same road. */
async function requestRotation(
  { config, mirrors, transport }: Needs,
  { name, use }: DueRotation,
  signal: AbortSignal,
): Promise<void> {
  const trustDomain = servedDomain(mirrors, config.trustDomain)?.metadata.name
  if (!trustDomain) return
  const spec = { trustDomain, use, action: 'Rotate' }
  const body = { apiVersion: API_VERSION, kind: 'KeyRotation', metadata: { name }, spec }
  const made = await create(transport, { resource: resourceOf('KeyRotation') }, body, signal)
  if (!made.ok && made.refused.status !== 409) throw faultOf(made.refused, `create KeyRotation ${name}`)
}

function tellDenied({ ports, events }: Needs, kind: string, { reason, pod }: Denied): void {
  ports.record.add('portcullis_svid_denied_total', { kind, reason })
  if (!pod) return
  events.tell({
    regarding: { apiVersion: 'v1', kind: 'Pod', ...pod },
    type: 'Warning',
    reason: 'IdentityDenied',
    action: 'IssueIdentity',
    note: `${reason}: ${DENIALS[reason][1]}`,
  })
}

const HOUR_MS = 3_600_000
const DEFAULTS = { rootTtlMs: 8_760 * HOUR_MS, svidTtlMs: HOUR_MS, jwtTtlMs: 5 * 60_000, refreshHintS: 300 }

function servedDomain({ domains }: Mirrors, name: string): TrustDomain | undefined {
  return domains.store.list().find(({ parsed }) => parsed.spec.name === name)?.parsed
}

function rulesOf(domain: TrustDomain | undefined, trustDomain: string) {
  const { rootTtlMs, svidTtlMs, jwtTtlMs, refreshHintS } = domain
    ? {
        rootTtlMs: durationMs(domain.spec.x509.rootTTL),
        svidTtlMs: durationMs(domain.spec.x509.svidTTL),
        jwtTtlMs: durationMs(domain.spec.jwt.svidTTL),
        refreshHintS: Math.floor(durationMs(domain.spec.bundle.refreshHint) / 1000),
      }
    : DEFAULTS
  return {
    trustDomain,
    rootTtlMs,
    refreshHintS,
    svidTtlMs,
    controlTtlMs: svidTtlMs,
    jwtTtlMs,
    // A bundle's signature has no end; it is made anew as soon as another key signs.
    maxTtlMs: { X509CA: svidTtlMs, JWTSVID: jwtTtlMs, BundleSigning: 60_000 },
  }
}

// The sidecar is who its SidecarProfile says: another image may not speak for the pod. Images of earlier profiles are told to restart.
function sidecarOf(pod: Pod, { profiles }: Mirrors): string | undefined {
  const images = new Set(profiles.store.list().map(({ parsed }) => parsed.spec.image))
  return pod.containers.find(({ name, init, image }) => init && name === SIDECAR && images.has(image))?.name
}

function grantsOf(pod: Pod, { identities }: Mirrors): readonly Grant[] {
  return identities.store.list().flatMap(({ parsed: { metadata, spec } }) => {
    const selected = Object.entries(spec.selector.matchLabels).every(
      ([label, value]) => pod.labels[label] === value,
    )
    if (metadata.namespace !== pod.namespace || !selected) return []
    const { path, hint, svidTTL } = spec
    return [
      {
        name: metadata.name,
        path,
        ...(hint === undefined ? {} : { hint }),
        ...(svidTTL === undefined ? {} : { svidTtlMs: durationMs(svidTTL) }),
      },
    ]
  })
}

/** The KeyRotation with this UID. */
export function rotationWith({ rotations }: Mirrors, uid: string): KeyRotation | undefined {
  return rotations.store.list().find(({ parsed }) => parsed.metadata.uid === uid)?.parsed
}

function rotationsOf({ config, mirrors }: Needs): readonly Rotation[] {
  const domain = servedDomain(mirrors, config.trustDomain)?.metadata.name
  return mirrors.rotations.store.list().flatMap(({ parsed: { metadata, spec, status } }) => {
    if (spec.trustDomain !== domain || OVER.has(status?.phase ?? '')) return []
    const { use, action, keyId, override } = spec
    return [
      {
        uid: metadata.uid,
        name: metadata.name,
        use,
        action,
        override: override !== undefined,
        createdMs: parseTime(metadata.creationTimestamp) ?? 0,
        ...(keyId === undefined ? {} : { keyId }),
      },
    ]
  })
}
