import { createHash } from 'node:crypto'
import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import { durationMs } from '../../contracts/crd/duration.ts'
import { type Leases, Snapshot, Staleness } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Cluster } from './cluster.ts'
import { type ResolvedIssuer, resolveIssuers } from './issuers.ts'
import { requirementsOf, tokenRulesOf } from './token-rules.ts'

/** What all pods of one AccessPolicy, or all pods that are denied for one reason, are sent. */
export interface Projection {
  /** `namespace/accesspolicy`; `namespace/` for pods that none selects, `namespace/one+other` for pods with a conflict. */
  readonly key: string
  /** Generation 0: numbers are allocated (`generations.ts`). */
  readonly snapshot: Snapshot
  /** SHA-256 over the snapshot without the terms of keys, hex: a term that moves is no change of content. */
  readonly digest: string
  /** Why it is withheld, complete; empty when it is not. */
  readonly problems: readonly string[]
  /** SHA-256, hex, to size of the files that the snapshot references. */
  readonly blobs: ReadonlyMap<string, number>
  /** By `iss`. */
  readonly issuers: ReadonlyMap<string, ProjectedIssuer>
  /** `namespace/name` of the TokenIssuers that the AccessPolicy may use, by `iss`: also while it is withheld for another reason. */
  readonly named: ReadonlyMap<string, string>
}

export interface ProjectedIssuer {
  /** `namespace/name` of the TokenIssuer. */
  readonly tokenIssuer: string
  /** Of its key set, hex; empty when there is none yet. */
  readonly sha256: string
  readonly notAfterMs: number
}

/**
 * What the sidecars of one AccessPolicy must believe. Whatever cannot be resolved withholds the whole: a snapshot that lacks one issuer
 * or one rule would be another policy than the one that was written.
 */
export function project(cluster: Cluster, policy: AccessPolicy, pods: readonly string[]): Projection {
  const { namespace, name } = policy.metadata
  const key = `${namespace}/${name}`
  const issuers = resolveIssuers(cluster, policy)
  const named = new Map(issuers.resolved.map(({ message, tokenIssuer }) => [message.issuer, tokenIssuer]))
  const bundle = cluster.bundles.get(`${namespace}/${policy.spec.bundle.name}`)
  const noBundle = `spec.bundle.name: PolicyBundle ${policy.spec.bundle.name} of namespace ${namespace} has no compiled and signed revision; see its status`
  const problems = [...issuers.problems, ...(bundle ? [] : [noBundle])]
  if (!bundle || problems.length > 0) {
    return withhold(key, problems, `AccessPolicy ${key} cannot be served: ${problems.join('; ')}`, named)
  }
  const snapshot: Snapshot = {
    generation: 0,
    profile: {
      audience: policy.spec.audience,
      exclusiveAudience: policy.spec.exclusiveAudience === 'Required',
      maxTokenLifetimeS: Math.floor(durationMs(policy.spec.maxTokenLifetime) / 1000),
      leases: leasesOf(cluster, pods),
      routes: (policy.spec.routes ?? []).map(({ actions, staleness, requirements }) => ({
        actions: [...actions].sort(),
        staleness: STALENESS[staleness],
        requirements: requirementsOf(requirements),
      })),
      tokens: tokenRulesOf(policy.spec.tokens),
    },
    issuers: issuers.resolved.map(({ message }) => message),
    policy: {
      revision: bundle.revision,
      files: bundle.files.toSorted((one, other) => (one.path < other.path ? -1 : 1)),
      signature: bundle.signature,
    },
    withheld: '',
  }
  const blobs = new Map(bundle.files.map(({ sha256, size }) => [sha256.toString('hex'), size]))
  return {
    key,
    snapshot,
    digest: digestOf(snapshot),
    problems,
    blobs,
    issuers: byIss(issuers.resolved),
    named,
  }
}

const WITHHELD_BYTES = 512

/** A snapshot that denies everything and says why. */
export function withhold(
  key: string,
  problems: readonly string[],
  why: string,
  named: Projection['named'] = new Map(),
): Projection {
  const snapshot: Snapshot = {
    generation: 0,
    profile: undefined,
    issuers: [],
    policy: undefined,
    withheld: cut(why, WITHHELD_BYTES),
  }
  return { key, snapshot, digest: digestOf(snapshot), problems, blobs: new Map(), issuers: new Map(), named }
}

function cut(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text
  const end = '…'
  let kept = text.slice(0, bytes)
  while (Buffer.byteLength(kept + end) > bytes) kept = kept.slice(0, -1)
  return kept + end
}

const DOMAIN = 'portcullis projection v1\n'

function digestOf(snapshot: Snapshot): string {
  const timeless = snapshot.issuers.map((issuer) => ({
    ...issuer,
    keys: issuer.keys && { ...issuer.keys, notAfterMs: issuer.keys.notAfterMs === 0 ? 0 : 1 },
  }))
  const canonical = Snapshot.encode({ ...snapshot, generation: 0, issuers: timeless }).finish()
  return createHash('sha256').update(DOMAIN).update(canonical).digest('hex')
}

function byIss(resolved: readonly ResolvedIssuer[]): ReadonlyMap<string, ProjectedIssuer> {
  return new Map(
    resolved.map(({ message, tokenIssuer, sha256 }) => [
      message.issuer,
      { tokenIssuer, sha256, notAfterMs: message.keys?.notAfterMs ?? 0 },
    ]),
  )
}

const STALENESS = {
  Strict: Staleness.STALENESS_STRICT,
  Standard: Staleness.STALENESS_STANDARD,
  ReadDegraded: Staleness.STALENESS_READ_DEGRADED,
} as const satisfies Readonly<Record<'Strict' | 'Standard' | 'ReadDegraded', Staleness>>

/** The defaults of SidecarProfile; also for pods whose profile is gone. */
const LEASES: Leases = { strictMs: 5_000, standardMs: 60_000, readDegradedMs: 900_000 }

/** Of several profiles among the pods the shortest of each: a shorter lease can only deny more. */
function leasesOf({ profiles, pods }: Cluster, uids: readonly string[]): Leases {
  const named = new Set(uids.map((uid) => pods.get(uid)?.profile ?? ''))
  const used = [...(named.size > 0 ? named : profiles.keys())].flatMap((name) => profiles.get(name) ?? [])
  if (used.length === 0) return LEASES
  const shortest = (of: 'strict' | 'standard' | 'readDegraded'): number =>
    Math.min(...used.map(({ spec }) => durationMs(spec.leases[of])))
  return {
    strictMs: shortest('strict'),
    standardMs: shortest('standard'),
    readDegradedMs: shortest('readDegraded'),
  }
}
