import { createHash } from 'node:crypto'
import { type AccessPolicy, parseAccessPolicy } from '../../../contracts/crd/access-policy.ts'
import { parseRevocation, type Revocation } from '../../../contracts/crd/revocation.ts'
import { parseSidecarProfile, type SidecarProfile } from '../../../contracts/crd/sidecar-profile.ts'
import { parseTokenIssuer, type TokenIssuer } from '../../../contracts/crd/token-issuer.ts'
import type { Cluster, KeyDocument, Pod, StoredBundle } from '../../../operator/state/cluster.ts'
import { EMPTY_CLUSTER } from '../../../operator/state/cluster.ts'

/** Objects as the API server would hand them over, through the real parsers. */

type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly string[] }

function taken<T>(parsed: Parsed<T>): T {
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'))
  return parsed.value
}

function object(kind: string, [namespace, name]: readonly [string, string], spec: object, more: object = {}) {
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind,
    metadata: { name, namespace, uid: uidOf(`${kind}/${namespace}/${name}`), ...more },
    spec,
  }
}

export function uidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

export function pod(namespace: string, name: string, more: Partial<Pod> = {}): Pod {
  return {
    uid: uidOf(`${namespace}/${name}`),
    namespace,
    name,
    labels: { app: 'shop' },
    serviceAccount: 'default',
    phase: 'Running',
    deleting: false,
    node: 'n1',
    ips: ['10.0.0.1'],
    sidecar: true,
    profile: '',
    ...more,
  }
}

export function accessPolicy(namespace: string, name: string, spec: object = {}): AccessPolicy {
  return taken(
    parseAccessPolicy(
      object('AccessPolicy', [namespace, name], {
        selector: { matchLabels: { app: 'shop' } },
        audience: 'https://shop.example',
        issuers: [{ name: 'idp' }],
        bundle: { name: 'rules' },
        ...spec,
      }),
    ),
  )
}

export function tokenIssuer(namespace: string, name: string, spec: object = {}): TokenIssuer {
  return taken(
    parseTokenIssuer(
      object('TokenIssuer', [namespace, name], {
        issuer: `https://${name}.example`,
        jwks: { uri: `https://${name}.example/keys` },
        algorithms: ['RS256'],
        tenant: { type: 'Fixed', fixed: 'acme' },
        ...spec,
      }),
    ),
  )
}

export function revocation(
  namespace: string,
  name: string,
  spec: object = {},
  metadata: object = {},
): Revocation {
  return taken(
    parseRevocation(
      object(
        'Revocation',
        [namespace, name],
        {
          issuerRef: { name: 'idp' },
          entries: [{ type: 'Jti', value: 'j1' }],
          expiresAt: '2030-01-01T00:00:00Z',
          ...spec,
        },
        metadata,
      ),
    ),
  )
}

export function sidecarProfile(name: string, leases: object): SidecarProfile {
  const image = `sidecar@sha256:${'0'.repeat(64)}`
  return taken(parseSidecarProfile(object('SidecarProfile', ['', name], { image, leases })))
}

export function keys(document: string, notAfterMs = 1_900_000_000_000): KeyDocument {
  const jwks = Buffer.from(document)
  return { jwks, sha256: createHash('sha256').update(jwks).digest('hex'), notAfterMs }
}

export function bundle(revision: string, files: Readonly<Record<string, Buffer>> = {}): StoredBundle {
  return {
    revision,
    files: Object.entries({ 'policy.wasm': Buffer.from(revision), ...files }).map(([path, content]) => ({
      path,
      sha256: createHash('sha256').update(content).digest(),
      size: content.length,
    })),
    signature: { keyId: 'k', value: Buffer.alloc(64, 1) },
  }
}

/** One object that is there now, or (without `value`) is gone. */
export type Observed = {
  readonly [P in keyof Cluster]: {
    readonly part: P
    readonly key: string
    readonly value?: Cluster[P] extends ReadonlyMap<string, infer V> ? V : never
  }
}[keyof Cluster]

/** The cluster after these observations. Parts that none of them touches stay the same objects. */
export function fold(cluster: Cluster, observed: readonly Observed[]): Cluster {
  const next: Record<string, Map<string, unknown>> = {}
  for (const { part, key, value } of observed) {
    const map = next[part] ?? new Map<string, unknown>(cluster[part])
    next[part] = map
    if (value === undefined) map.delete(key)
    else map.set(key, value)
  }
  return { ...cluster, ...next }
}

export const put = <P extends keyof Cluster>(part: P, key: string, value: unknown): Observed =>
  ({ part, key, value }) as unknown as Observed

/** Namespace `shop` with one issuer, one bundle, one AccessPolicy `front` and the named pods. */
export function shop(pods: readonly string[], ...more: readonly Observed[]): Cluster {
  return fold(EMPTY_CLUSTER, [
    put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp')),
    put('keySets', 'shop/idp', keys('{"keys":[]}')),
    put('bundles', 'shop/rules', bundle('r1')),
    put('accessPolicies', 'shop/front', accessPolicy('shop', 'front')),
    ...pods.map((name) => put('pods', uidOf(`shop/${name}`), pod('shop', name))),
    ...more,
  ])
}
