import {
  askersIn,
  CREDENTIALS,
  CREDENTIALS_ENV,
  CREDENTIALS_MOUNT,
  CREDENTIALS_VOLUME,
} from './credentials.ts'
import { type Container, isObject, type Json, type Mount, type Named, type Pod } from './pod.ts'
import { NEIGHBOUR, SIDECAR, VOLUMES } from './sidecar.ts'

/** What in a pod stands in the way of the sidecar. Each is the user's own, so it is named and never overwritten. */
export function conflictsOf(pod: Pod, sidecar: Container, volumes: readonly Named[]): readonly string[] {
  const { spec } = pod
  const others = [
    ...spec.containers.map((container, index) => ({ container, at: `spec.containers[${index}]` })),
    ...(spec.initContainers ?? []).map((container, index) => ({
      container,
      at: `spec.initContainers[${index}]`,
    })),
  ]
  return [
    ...ofPod(pod),
    ...(spec.volumes ?? []).flatMap((volume, index) => ofVolume(volume, `spec.volumes[${index}]`, volumes)),
    ...(spec.volumes ?? []).flatMap((volume, index) => ofNobody(volume, `spec.volumes[${index}]`, volumes)),
    ...others.flatMap(({ container, at }) =>
      container.name === SIDECAR
        ? ofLookAlike(container, at, sidecar)
        : [...ofNeighbour(container, at, sidecar), ...ofCredentials(container, at, askersIn(pod))],
    ),
  ]
}

/** Whether everything of `wanted` is in `present`: what the API server or a newer version of it adds does not matter. */
export function covers(present: Json | undefined, wanted: Json | undefined): boolean {
  if (Array.isArray(wanted))
    return (
      Array.isArray(present) &&
      present.length === wanted.length &&
      wanted.every((item, index) => covers(present[index], item))
    )
  if (isObject(wanted))
    return isObject(present) && Object.entries(wanted).every(([name, value]) => covers(present[name], value))
  return present === wanted
}

function ofPod({ spec }: Pod): readonly string[] {
  const rows: readonly (readonly [boolean, string])[] = [
    [
      spec.hostNetwork,
      'spec.hostNetwork: a pod on the network of its node shares localhost with every other one there, so the sidecar would answer strangers; take hostNetwork away, or label the pod portcullis.dev/inject=disabled',
    ],
    [
      spec.hostPID || spec.shareProcessNamespace,
      `spec.${spec.hostPID ? 'hostPID' : 'shareProcessNamespace'}: other containers would see the memory and files of the sidecar; take it away, or label the pod portcullis.dev/inject=disabled`,
    ],
    [
      spec.os === 'windows',
      'spec.os.name: the sidecar runs on Linux only; label the pod portcullis.dev/inject=disabled',
    ],
  ]
  return rows.filter(([broken]) => broken).map(([, says]) => says)
}

function ofVolume(volume: Named, at: string, volumes: readonly Named[]): readonly string[] {
  const ours = volumes.find(({ name }) => name === volume.name)
  if (!ours || covers(volume, ours)) return []
  return [`${at}: the name ${volume.name} is that of a volume of the sidecar; give yours another name`]
}

// The name is kept free where nobody asked: the guard lets no such volume through.
function ofNobody(volume: Named, at: string, volumes: readonly Named[]): readonly string[] {
  if (volume.name !== CREDENTIALS_VOLUME || volumes.some(({ name }) => name === volume.name)) return []
  return [
    `${at}: the name ${CREDENTIALS_VOLUME} is that of a volume of the sidecar, for containers that the annotation ${CREDENTIALS} names; give yours another name`,
  ]
}

function ofCredentials(container: Container, at: string, askers: readonly string[]): readonly string[] {
  const asks = askers.includes(container.name)
  const { asked } = CREDENTIALS_MOUNT
  const mounts = (container.volumeMounts ?? []).flatMap((mount, index) => {
    const there = mount.mountPath.replace(/\/+$/, '') === asked.mountPath
    const ours = mount.name === CREDENTIALS_VOLUME
    if (!(ours || (there && asks))) return []
    if (asks && there && covers({ ...mount, mountPath: asked.mountPath }, asked)) return []
    return [
      `${at}.volumeMounts[${index}]: ${CREDENTIALS_VOLUME} is mounted at ${asked.mountPath}, read-only, into containers that the annotation ${CREDENTIALS} names, and nowhere else; take the mount out, it is injected`,
    ]
  })
  const variables = asks ? (container.env ?? []) : []
  const other = variables.flatMap((variable, index) =>
    variable.name === CREDENTIALS_ENV.name && !covers(variable, CREDENTIALS_ENV)
      ? [`${at}.env[${index}]: ${variable.name} is set to something else; take it out, it is injected`]
      : [],
  )
  return [...mounts, ...other]
}

function ofLookAlike(present: Container, at: string, sidecar: Container): readonly string[] {
  if (!at.startsWith('spec.initContainers'))
    return [`${at}.name: "${SIDECAR}" is the name of the sidecar; give your container another one`]
  const differing = Object.keys(sidecar).filter((field) => !covers(present[field], sidecar[field]))
  if (differing.length === 0) return []
  return [
    `${at}: a container called "${SIDECAR}" is there already and differs from the sidecar in ${differing.join(', ')}; take it out of the manifest (it is injected), and portcullis.dev/injected with it`,
  ]
}

function ofNeighbour(container: Container, at: string, sidecar: Container): readonly string[] {
  return [
    ...(container.env ?? []).flatMap((variable, index) => ofVariable(variable, `${at}.env[${index}]`)),
    ...(container.volumeMounts ?? []).flatMap((mount, index) =>
      ofMount(mount, `${at}.volumeMounts[${index}]`),
    ),
    ...(container.ports ?? []).flatMap((port, index) => ofPort(port, `${at}.ports[${index}]`, sidecar)),
  ]
}

function ofVariable(variable: Named, at: string): readonly string[] {
  const ours = NEIGHBOUR.env.find(({ name }) => name === variable.name)
  if (!ours || covers(variable, ours)) return []
  return [`${at}: ${variable.name} is set to something else than ${ours.value}; take it out, it is injected`]
}

function ofMount(mount: Mount, at: string): readonly string[] {
  const path = mount.mountPath.replace(/\/+$/, '')
  const ours = NEIGHBOUR.mounts.find(({ mountPath }) => mountPath === path)
  if (ours && !covers({ ...mount, mountPath: path }, ours))
    return [
      `${at}: ${path} is where the sockets of the sidecar are mounted, read-only; mount yours elsewhere`,
    ]
  if (mount.name === VOLUMES.token)
    return [`${at}: ${VOLUMES.token} is the credential of the sidecar alone; take the mount out`]
  const socket = mount.name === VOLUMES.socket || mount.name === VOLUMES.spiffe
  if (socket && mount['readOnly'] !== true)
    return [`${at}: ${mount.name} may be mounted read-only only; add readOnly: true, or take it out`]
  return []
}

function ofPort(
  port: { readonly [member: string]: Json | undefined },
  at: string,
  sidecar: Container,
): readonly string[] {
  const taken = [...(sidecar.ports ?? []).map((one) => one['containerPort']), checkPortOf(sidecar)]
  if (!taken.includes(port['containerPort'])) return []
  return [
    `${at}.containerPort: ${port['containerPort']} is a port of the sidecar in the same pod; choose another one, or other ports in the SidecarProfile`,
  ]
}

function checkPortOf(sidecar: Container): number {
  const args = Array.isArray(sidecar['args']) ? sidecar['args'] : []
  return Number(args[args.indexOf('--check-port') + 1])
}
