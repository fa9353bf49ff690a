import { createHash } from 'node:crypto'
import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import { durationMs } from '../../contracts/crd/duration.ts'
import type { TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import type { Issuer } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Cluster } from './cluster.ts'
import { termsOf } from './token-rules.ts'

export interface ResolvedIssuer {
  readonly message: Issuer
  /** `namespace/name`. */
  readonly tokenIssuer: string
  /** Of the key set, hex; empty when there is none yet. */
  readonly sha256: string
}

export interface ResolvedIssuers {
  /** Sorted by `iss`. */
  readonly resolved: readonly ResolvedIssuer[]
  readonly problems: readonly string[]
}

/** The TokenIssuers that an AccessPolicy names, each of its own namespace or shared with it. */
export function resolveIssuers(cluster: Cluster, { metadata, spec }: AccessPolicy): ResolvedIssuers {
  const problems: string[] = []
  const resolved = new Map<string, ResolvedIssuer>()
  spec.issuers.forEach(({ name, namespace }, index) => {
    const home = namespace || metadata.namespace
    const key = `${home}/${name}`
    const issuer = cluster.tokenIssuers.get(key)
    const shared = issuer?.spec.allowedNamespaces ?? []
    // What is not shared is told like what is not there: names of another namespace are nobody's business.
    if (
      !issuer ||
      !(home === metadata.namespace || shared.includes('*') || shared.includes(metadata.namespace))
    ) {
      problems.push(
        `spec.issuers[${index}]: there is no TokenIssuer ${name} in namespace ${home}${home === metadata.namespace ? '' : `, or its spec.allowedNamespaces does not name ${metadata.namespace}`}`,
      )
      return
    }
    const twin = resolved.get(issuer.spec.issuer)
    if (twin) {
      problems.push(
        `spec.issuers[${index}]: ${key} and ${twin.tokenIssuer} have the same issuer ${issuer.spec.issuer}; keep one`,
      )
      return
    }
    resolved.set(issuer.spec.issuer, resolve(issuer, key, cluster))
  })
  const sorted = [...resolved.values()].sort((one, other) =>
    one.message.issuer < other.message.issuer ? -1 : 1,
  )
  return { resolved: sorted, problems }
}

function resolve({ spec }: TokenIssuer, key: string, { keySets }: Cluster): ResolvedIssuer {
  const inline = spec.jwks.inline === undefined ? undefined : Buffer.from(spec.jwks.inline)
  const fetched = keySets.get(key)
  const jwks = inline ?? fetched?.jwks ?? Buffer.alloc(0)
  return {
    tokenIssuer: key,
    sha256: inline ? createHash('sha256').update(inline).digest('hex') : (fetched?.sha256 ?? ''),
    message: {
      issuer: spec.issuer,
      algorithms: [...spec.algorithms].sort(),
      skewS: Math.floor(durationMs(spec.clockSkew) / 1000),
      tenant: tenantOf(spec.tenant),
      keys: { jwks, notAfterMs: inline ? 0 : (fetched?.notAfterMs ?? 0), refreshable: inline === undefined },
      revokedKids: [...(spec.revokedKids ?? [])].sort(),
      source: key,
      ...termsOf(spec),
    },
  }
}

function tenantOf({ type, fixed, claim }: TokenIssuer['spec']['tenant']): Issuer['tenant'] {
  if (type === 'Fixed') return fixed === undefined ? undefined : { $case: 'fixedTenant', fixedTenant: fixed }
  if (!claim) return undefined
  return { $case: 'tenantClaim', tenantClaim: { claim: claim.name, allowed: [...claim.allowed].sort() } }
}
