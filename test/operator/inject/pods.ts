import { parseSidecarProfile } from '../../../contracts/crd/sidecar-profile.ts'
import { inject, type Operation } from '../../../operator/inject/patch.ts'
import { type Pod, parsePod } from '../../../operator/inject/pod.ts'
import type { Facts, Profile } from '../../../operator/inject/sidecar.ts'

export const PEM = '-----BEGIN CERTIFICATE-----\nZmlyc3Q=\n-----END CERTIFICATE-----\n'
export const NEXT_PEM = '-----BEGIN CERTIFICATE-----\nc2Vjb25k\n-----END CERTIFICATE-----\n'
export const IMAGE = `registry.example/portcullis-sidecar@sha256:${'a'.repeat(64)}`

export const FACTS: Facts = {
  systemNamespace: 'portcullis-system',
  trustDomain: 'cluster.example',
  trustAnchors: [PEM],
}

export function profile(spec: object = {}): Profile {
  const parsed = parseSidecarProfile({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'SidecarProfile',
    metadata: { name: 'default' },
    spec: { image: IMAGE, ...spec },
  })
  if (!parsed.ok) throw new Error(parsed.problems.join('; '))
  return { name: 'default', spec: parsed.value.spec }
}

/** A pod as people write it: everything but the name of its one container is absent. */
export function written(
  spec: object = {},
  labels: object = { 'portcullis.dev/inject': 'enabled' },
  metadata: object = {},
): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'app', namespace: 'shop', labels, ...metadata },
    spec: { containers: [{ name: 'app', image: 'app.example/app:1' }], ...spec },
  }
}

export function read(object: unknown): Pod {
  const pod = parsePod(object)
  if (!pod) throw new Error('not a pod')
  return pod
}

/** Made by the same code as the webhook uses, so what is tested with it cannot come apart from it unnoticed. */
// biome-ignore lint/suspicious/noExplicitAny: tests break it in ways that types forbid
export function injected(pod: Record<string, unknown> = written()): any {
  const result = inject(read(pod), {}, profile(), FACTS)
  if (!('patch' in result)) throw new Error(JSON.stringify(result))
  return patched(pod, result.patch)
}

/** RFC 6902 add and remove, on a copy: another hand than the one that writes patches. */
export function patched<T>(object: T, patch: readonly Operation[]): T {
  const root = structuredClone(object)
  for (const { op, path, value } of patch) {
    const steps = path.split('/').slice(1)
    const last = steps.pop() ?? ''
    const decode = (step: string) => step.replaceAll('~1', '/').replaceAll('~0', '~')
    let at: unknown = root
    for (const step of steps) {
      at = (at as Record<string, unknown>)[decode(step)]
      if (at === undefined) throw new Error(`${path}: no ${step}`)
    }
    place(at, { op, key: decode(last), value: structuredClone(value) })
  }
  return root
}

interface Step {
  readonly op: string
  readonly key: string
  readonly value: unknown
}

function place(at: unknown, { op, key, value }: Step): void {
  if (Array.isArray(at)) {
    const index = key === '-' ? at.length : Number(key)
    if (!(index >= 0 && index <= at.length)) throw new Error(`no index ${key}`)
    if (op === 'remove') at.splice(index, 1)
    else at.splice(index, 0, value)
    return
  }
  const map = at as Record<string, unknown>
  if (op === 'remove') delete map[key]
  else map[key] = value
}
