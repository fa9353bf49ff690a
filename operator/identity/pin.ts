import type { DenialReason } from './denial.ts'
import type { ContainerStatus, Pin, PinStored, Pod, Registry } from './ports.ts'

/** What is asked to be pinned: hashes of keys, and of the client certificate's when one was presented. */
export interface PinRequest {
  readonly podUid: string
  readonly container: string
  readonly image: string
  readonly key: string
  readonly client: string | undefined
}

const TRIES = 3

/**
 * The first key of a pod is pinned, so that a stolen token cannot be used beside the sidecar without one of the two being refused.
 * The pin moves in two ways only: a renewal that shows the SVID of a pinned key, and a container that was really started again,
 * as the kubelet reports it. Asking again for a pinned key is asking for the same: an answer may have been lost.
 */
export async function pinKey(
  request: PinRequest,
  pod: Pod,
  registry: Registry,
  signal: AbortSignal,
): Promise<DenialReason | undefined> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const stored = await registry.pin(request.podUid, signal)
    const pin = nextPin(request, pod, stored?.pin)
    if (typeof pin === 'string') return pin
    if (stored && samePin(stored, pin)) return undefined
    if ((await registry.setPin(request.podUid, pin, stored?.version, signal)) === 'stored') return undefined
  }
  // Others kept winning: that many keys at once for one pod is what the pin is there to stop.
  return 'key_pinned'
}

function nextPin(request: PinRequest, pod: Pod, pin: Pin | undefined): Pin | DenialReason {
  const { key, client, container, image } = request
  const running = statusOf(pod, container)
  const fresh = {
    namespace: pod.namespace,
    pod: pod.name,
    serviceAccount: pod.serviceAccount,
    container,
    image,
    restartCount: running.restartCount,
    containerId: running.containerId,
  }
  // Pins lost with an older copy of the state are made again; an SVID of the pod itself is as good as the first key.
  if (!pin) return { ...fresh, current: key, previous: client ?? '' }
  const known = (hash: string) => hash === pin.current || hash === pin.previous
  if (client !== undefined) {
    // What asked stays good until its successor was seen to be used: the answer may be lost, several times.
    return known(client) ? { ...fresh, current: key, previous: client } : 'client_key'
  }
  if (known(key)) return { ...pin, image, ...named(pin, running) }
  return restarted(pin, running) ? { ...fresh, current: key, previous: '' } : 'key_pinned'
}

function restarted(pin: Pin, { restartCount, containerId }: ContainerStatus): boolean {
  if (restartCount > pin.restartCount) return true
  return pin.containerId !== '' && containerId !== '' && containerId !== pin.containerId
}

// The kubelet names a container only some time after it asked for its key.
function named(pin: Pin, { restartCount, containerId }: ContainerStatus): Partial<Pin> {
  return pin.containerId === '' && restartCount === pin.restartCount ? { containerId } : {}
}

function statusOf(pod: Pod, container: string): ContainerStatus {
  return (
    pod.statuses.find(({ name }) => name === container) ?? {
      name: container,
      restartCount: 0,
      containerId: '',
    }
  )
}

function samePin({ pin }: PinStored, next: Pin): boolean {
  return (Object.keys(next) as (keyof Pin)[]).every((name) => pin[name] === next[name])
}

/** Removes the pins of pods that are gone. For the leader; a pod is asked for by name and compared by UID. */
export async function collectPins(registry: Registry, signal: AbortSignal): Promise<number> {
  let removed = 0
  for (const { podUid, stored } of await registry.pins(signal)) {
    const pod = await registry.pod(stored.pin.namespace, stored.pin.pod, signal)
    if (pod?.uid === podUid) continue
    await registry.removePin(podUid, stored.version, signal)
    removed += 1
  }
  return removed
}
