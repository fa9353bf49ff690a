import { createHash } from 'node:crypto'
import type { SidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import { CREDENTIALS_ARGS, CREDENTIALS_MOUNT, CREDENTIALS_VOLUME } from './credentials.ts'
import type { Container, Json, JsonObject, Mount, Named } from './pod.ts'

/**
 * The sidecar container and its volumes, as they stand in the final pod, API defaults written out: the guard policy
 * (charts/portcullis/templates/admission/guard.yaml) demands the very same, so the two change together.
 */

export const SIDECAR = 'portcullis'
/** uid and gid of the sidecar, and of nothing else in a cluster. */
export const SIDECAR_UID = 64_531
export const VOLUMES = {
  socket: 'portcullis-socket',
  spiffe: 'portcullis-spiffe',
  token: 'portcullis-token',
} as const

export interface Profile {
  readonly name: string
  readonly spec: SidecarProfile['spec']
}

/** What is the same for every pod of the installation. */
export interface Facts {
  readonly systemNamespace: string
  readonly trustDomain: string
  /** Roots the sidecar may trust the operator by, one PEM certificate each, as `pemOf` leaves them; the first four count. */
  readonly trustAnchors: readonly string[]
}

/** What SidecarProfile.status.injection says and the guard compares pods with. */
export interface Injection {
  readonly image: string
  readonly args: readonly string[]
  readonly trustAnchors: readonly string[]
  /** Names of the sidecar's environment variables. */
  readonly env: readonly string[]
}

export function injectionOf({ spec }: Profile, facts: Facts): Injection {
  const { systemNamespace, trustDomain } = facts
  return {
    image: spec.image,
    args: [
      '--injected',
      ...['--feed', `portcullis-control.${systemNamespace}.svc:8443`],
      ...['--issuer', `portcullis-issuer.${systemNamespace}.svc:8444`],
      ...['--trust-domain', trustDomain],
      ...['--audience', audienceOf(trustDomain)],
      ...['--decision-log', spec.decisionLog],
      ...['--check-port', String(spec.checkPort)],
      ...['--admin-port', String(spec.adminPort)],
      ...redisArgs(spec.redis),
    ],
    trustAnchors: facts.trustAnchors.slice(0, 4).map(pemOf),
    env: [...Object.keys(DOWNWARD), TRUST_ANCHORS],
  }
}

/** @param credentials whether somebody in the pod asked for the second socket */
export function sidecarOf(profile: Profile, facts: Facts, credentials = false): Container {
  const { image, args, trustAnchors } = injectionOf(profile, facts)
  const { imagePullPolicy, adminPort } = profile.spec
  const admin = (path: string, rhythm: Rhythm): JsonObject => ({
    httpGet: { path, port: adminPort, scheme: 'HTTP' },
    successThreshold: 1,
    ...rhythm,
  })
  return {
    name: SIDECAR,
    image,
    imagePullPolicy,
    args: credentials ? [...args, ...CREDENTIALS_ARGS] : args,
    // A native sidecar: later init containers and the application start after its startup probe, and it ends after them.
    restartPolicy: 'Always',
    env: [...downward(), { name: TRUST_ANCHORS, value: trustAnchors.join('') }],
    ports: [{ name: SIDECAR, containerPort: adminPort, protocol: 'TCP' }],
    resources: resourcesOf(profile.spec.resources),
    startupProbe: admin('/readyz', { periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 120 }),
    readinessProbe: admin('/readyz', { periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 2 }),
    livenessProbe: admin('/livez', { periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3 }),
    securityContext: SECURITY,
    volumeMounts: credentials ? [...SIDECAR_MOUNTS, CREDENTIALS_MOUNT.own] : SIDECAR_MOUNTS,
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'FallbackToLogsOnError',
  }
}

export function volumesOf({ trustDomain }: Facts, credentials = false): readonly Named[] {
  const memory = { medium: 'Memory', sizeLimit: '1Mi' }
  const token = { audience: audienceOf(trustDomain), expirationSeconds: 600, path: 'token' }
  return [
    { name: VOLUMES.socket, emptyDir: memory },
    { name: VOLUMES.spiffe, emptyDir: memory },
    { name: VOLUMES.token, projected: { defaultMode: 420, sources: [{ serviceAccountToken: token }] } },
    ...(credentials ? [{ name: CREDENTIALS_VOLUME, emptyDir: memory }] : []),
  ]
}

/** What every other container gets: where to ask, read-only, so that no neighbour can put another socket there. */
export const NEIGHBOUR = {
  mounts: [
    { name: VOLUMES.socket, mountPath: '/run/portcullis', readOnly: true },
    { name: VOLUMES.spiffe, mountPath: '/run/spiffe', readOnly: true },
  ],
  env: [
    { name: 'PORTCULLIS_TARGET', value: 'unix:///run/portcullis/check.sock' },
    { name: 'SPIFFE_ENDPOINT_SOCKET', value: 'unix:///run/spiffe/workload.sock' },
  ],
} as const satisfies { readonly mounts: readonly Mount[]; readonly env: readonly Named[] }

/** Value of the annotation portcullis.dev/injected. Trust anchors are left out: a running sidecar learns new roots by itself. */
export function markOf(profile: Profile, facts: Facts): string {
  const content = { sidecar: sidecarOf(profile, { ...facts, trustAnchors: [] }), volumes: volumesOf(facts) }
  const hash = createHash('sha256').update(canonical(content)).digest('hex').slice(0, 16)
  return `${profile.name}@${hash}`
}

/** A certificate in the one form that can be compared as text: no blanks around it, one line feed at its end. */
export function pemOf(certificate: string): string {
  return `${certificate.replaceAll('\r', '').trim()}\n`
}

/** Audience of projected tokens that the issuer accepts. */
function audienceOf(trustDomain: string): string {
  return `portcullis.dev/${trustDomain}`
}

// The members of the section `redis` of the sidecar's file, as one argument: so the guard compares all of it at once.
function redisArgs(redis: SidecarProfile['spec']['redis']): readonly string[] {
  if (!redis) return []
  const { mode, endpoints, sentinelName, username, keyPrefix, replicas, tls, caBundle, serverName } = redis
  const section = {
    mode: mode.toLowerCase(),
    nodes: [...endpoints].sort(),
    sentinelName,
    username,
    keyPrefix,
    replicas,
    tls: tls === 'Required' ? { caPem: caBundle?.replaceAll(/\s*\n\s*/g, '\n'), serverName } : undefined,
  }
  return ['--redis', JSON.stringify(section)]
}

const TRUST_ANCHORS = 'PORTCULLIS_TRUST_ANCHORS'
const DOWNWARD = {
  POD_UID: 'metadata.uid',
  POD_NAME: 'metadata.name',
  POD_NAMESPACE: 'metadata.namespace',
  POD_SERVICE_ACCOUNT: 'spec.serviceAccountName',
  POD_IP: 'status.podIP',
} as const

function downward(): readonly Named[] {
  return Object.entries(DOWNWARD).map(([name, fieldPath]) => ({
    name,
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
  }))
}

interface Rhythm extends JsonObject {
  readonly periodSeconds: number
  readonly timeoutSeconds: number
  readonly failureThreshold: number
}

const SECURITY = {
  runAsNonRoot: true,
  runAsUser: SIDECAR_UID,
  runAsGroup: SIDECAR_UID,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
} as const

const SIDECAR_MOUNTS = [
  { name: VOLUMES.socket, mountPath: '/run/portcullis' },
  { name: VOLUMES.spiffe, mountPath: '/run/spiffe' },
  { name: VOLUMES.token, mountPath: '/var/run/secrets/portcullis', readOnly: true },
  // Where the API server would mount the application's own token if nothing were there: the sidecar shall not have it.
  { name: VOLUMES.token, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true },
] as const satisfies readonly Mount[]

function resourcesOf(resources: SidecarProfile['spec']['resources']): JsonObject {
  const { cpuRequest, cpuLimit, memoryRequest, memoryLimit } = resources
  return {
    requests: { cpu: cpuRequest, memory: memoryRequest },
    limits: { cpu: cpuLimit, memory: memoryLimit },
  }
}

function canonical(value: Json | undefined): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  const sorted = members.toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${sorted.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}
