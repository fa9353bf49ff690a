import { createHash } from 'node:crypto'
import type { Pin, PinStored, Pod, Registry, Review } from '../../../operator/identity/ports.ts'
import { TD } from './domain.ts'

export const AUDIENCE = `portcullis.dev/${TD}`
export const POD: Pod = {
  namespace: 'shop',
  name: 'cart-1',
  uid: '11111111-2222-3333-4444-555555555555',
  serviceAccount: 'cart',
  nodeName: 'node-1',
  phase: 'Running',
  deleting: false,
  labels: { app: 'cart' },
  containers: [
    { name: 'portcullis', image: 'sidecar@sha256:1', init: true },
    { name: 'app', image: 'app', init: false },
  ],
  statuses: [{ name: 'portcullis', restartCount: 0, containerId: 'containerd://a' }],
}

export function tokenFor(claims: object = { aud: [AUDIENCE] }): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'RS256' })}.${part(claims)}.${createHash('sha256').update('s').digest('base64url')}`
}

export function reviewFor(pod: Pod, change: Partial<Review> = {}): Review {
  const extra = {
    'authentication.kubernetes.io/pod-name': [pod.name],
    'authentication.kubernetes.io/pod-uid': [pod.uid],
    'authentication.kubernetes.io/node-name': [pod.nodeName],
  }
  const username = `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}`
  return { authenticated: true, error: '', audiences: [AUDIENCE], username, extra, ...change }
}

/** The API server as attestation sees it, in memory, with compare-and-swap; what it says can be bent. */
export interface MemoryRegistry extends Registry {
  readonly pods: Map<string, Pod>
  readonly pinned: Map<string, PinStored>
  verdict: Review
  reviews: number
}

export function memoryRegistry(...pods: readonly Pod[]): MemoryRegistry {
  let versions = 0
  const registry: MemoryRegistry = {
    pods: new Map(pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod])),
    pinned: new Map<string, PinStored>(),
    verdict: reviewFor(pods[0] ?? POD),
    reviews: 0,
    pod: async (namespace, name) => registry.pods.get(`${namespace}/${name}`),
    review: async () => {
      registry.reviews += 1
      return registry.verdict
    },
    pin: async (podUid) => registry.pinned.get(podUid),
    setPin: async (podUid, pin: Pin, version) => {
      if (registry.pinned.get(podUid)?.version !== version) return 'conflict'
      versions += 1
      registry.pinned.set(podUid, { pin, version: `${versions}` })
      return 'stored'
    },
    pins: async () => [...registry.pinned].map(([podUid, stored]) => ({ podUid, stored })),
    removePin: async (podUid) => void registry.pinned.delete(podUid),
  }
  return registry
}
