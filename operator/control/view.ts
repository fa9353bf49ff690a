import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { type KubeObject, keyOf } from '../kube/resource.ts'
import type { Watched } from '../kube/watch.ts'
import type { BundleHead } from '../ledger/bundle-facts.ts'
import { type FactKind, GENERATIONS_NAME, TRUST_BUNDLE_NAME } from '../ledger/facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { LogStore } from '../ledger/log-store.ts'
import { Fault, type Report } from '../ports.ts'
import { type World, worldOf } from '../publish/world.ts'
import { type Cluster, EMPTY_CLUSTER, type KeyDocument, type StoredBundle } from '../state/cluster.ts'
import { EMPTY_TABLE, type GenerationTable } from '../state/generations.ts'
import { type Projections, projectAll } from '../state/projections.ts'
import type { RevocationLog } from '../state/revocation-log.ts'
import { type Blobs, createBlobs } from './blobs.ts'
import type { Changed, ClusterWatch, Parsed } from './cluster-watch.ts'
import { createMemory, type Remembered } from './memory.ts'

/** What this replica knows, worked out anew from the mirrors whenever somebody asks after a change. */
export interface View {
  readonly cluster: Cluster
  readonly projections: Projections
  readonly table: GenerationTable
  /** The revocation log, or why it cannot be read: then nobody may vouch for it. */
  readonly log: RevocationLog | string
  readonly trustBundle: TrustBundle | undefined
  readonly heads: ReadonlyMap<string, BundleHead>
  /** What the database held before and holds no more, and was not taken back yet. */
  readonly forgotten: Remembered | undefined
  /** What is published; undefined while something of it cannot be read, or was forgotten. */
  readonly world: World | undefined
}

export interface Views {
  /** Never older than the last change of the mirrors or the last write of our own: who writes what it decided on an older view undoes. */
  current(): View
  /** Called after something has changed that a view tells. */
  subscribe(changed: () => void): () => void
  /** What was forgotten is stored again, or more than it: what is stored now is the present. */
  relearned(): void
}

type Part = Changed | FactKind
type Found = Omit<View, 'forgotten' | 'world'>

export interface ViewNeeds {
  readonly watch: ClusterWatch
  readonly ledger: Ledger
  readonly logs: LogStore
  readonly report: Report
}

export function createViews({ watch, ledger, logs, report }: ViewNeeds): Views {
  const listeners = new Set<() => void>()
  const blobs = createBlobs(ledger)
  const memory = createMemory()
  let stale = new Set<Part>(ALL)
  let found: Found | undefined
  let known: View | undefined

  const changed = (part: Part): void => {
    stale.add(part)
    known = undefined
    for (const listener of listeners) listener()
  }
  // First of all listeners, so that nobody who is told of a change still sees what was before it.
  watch.subscribe((what) => {
    if (what !== 'Pod' && what !== 'Namespace') changed(what)
  })
  ledger.subscribe((kind) => {
    if (kind !== 'revocations') changed(kind)
  })
  logs.subscribe(() => changed('revocations'))
  followPods(watch, () => changed('Pod'))

  const look = (): View => {
    try {
      found = find(found, stale, { watch, ledger, logs, blobs })
      stale = new Set()
      const forgotten = typeof found.log === 'string' ? undefined : memory.compare(found.log, found.table)
      return { ...found, forgotten, world: forgotten ? undefined : published(found, blobs) }
    } catch (cause) {
      const why = `what is published cannot be worked out: ${Fault.from(cause).message}`
      report('view_failed', { problem: why })
      return { ...(found ?? NOTHING), log: why, forgotten: undefined, world: undefined }
    }
  }
  return {
    current() {
      known ??= look()
      return known
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    relearned() {
      memory.forget()
      known = undefined
      for (const listener of listeners) listener()
    },
  }
}

/** Tells of pods with a sidecar, and only of what matters of them: most pods of a cluster, and most of what happens to them, do not. */
function followPods({ pods }: ClusterWatch, changed: () => void): void {
  const seen = new Map<string, string>()
  pods.subscribe((type, key, { pod }) => {
    const text = type !== 'removed' && pod.sidecar ? JSON.stringify(pod) : undefined
    if (seen.get(key) === text) return
    if (text === undefined) seen.delete(key)
    else seen.set(key, text)
    changed()
  })
}

const PARTS = {
  pods: ['Pod'],
  accessPolicies: ['AccessPolicy'],
  tokenIssuers: ['TokenIssuer'],
  revocations: ['Revocation'],
  profiles: ['SidecarProfile'],
  keySets: ['jwks'],
  bundles: ['bundle', 'bundle-part'],
} as const satisfies Readonly<Record<keyof Cluster, readonly Part[]>>
const ALL: readonly Part[] = [...Object.values(PARTS).flat(), 'generations', 'revocations', 'trust-bundle']

/** Of which Revocations are no part: they are denied by the log. */
const PROJECTED: readonly Part[] = Object.entries(PARTS).flatMap(([part, of]) =>
  part === 'revocations' ? [] : [...of],
)

const NOTHING: Found = {
  cluster: EMPTY_CLUSTER,
  projections: projectAll(EMPTY_CLUSTER),
  table: EMPTY_TABLE,
  log: 'not read yet',
  trustBundle: undefined,
  heads: new Map(),
}

interface Mirrors {
  readonly watch: ClusterWatch
  readonly ledger: Ledger
  readonly logs: LogStore
  readonly blobs: Blobs
}

/** What has not changed stays the same object. */
function find(before: Found | undefined, stale: ReadonlySet<Part>, mirrors: Mirrors): Found {
  const { watch, ledger, logs, blobs } = mirrors
  const old = before ?? NOTHING
  const anew = (parts: readonly Part[]): boolean => !before || parts.some((part) => stale.has(part))
  const heads = anew(['bundle'])
    ? new Map([...ledger.facts('bundle').values()].map(({ head }) => [head.key, head]))
    : old.heads
  const part = <P extends keyof Cluster>(name: P, read: () => Cluster[P]): Cluster[P] =>
    anew(PARTS[name]) ? read() : old.cluster[name]
  const cluster: Cluster = {
    pods: part('pods', () => podsOf(watch)),
    accessPolicies: part('accessPolicies', () => byKey(watch.kinds.AccessPolicy)),
    tokenIssuers: part('tokenIssuers', () => byKey(watch.kinds.TokenIssuer)),
    revocations: part('revocations', () => byKey(watch.kinds.Revocation)),
    profiles: part('profiles', () => byKey(watch.kinds.SidecarProfile)),
    keySets: part('keySets', () => keySets(ledger)),
    bundles: part('bundles', () => bundlesOf(heads, blobs)),
  }
  const trustBundle = ledger.facts('trust-bundle').get(TRUST_BUNDLE_NAME)?.bundle
  return {
    cluster,
    heads,
    projections: anew(PROJECTED) ? projectAll(cluster) : old.projections,
    table: ledger.facts('generations').get(GENERATIONS_NAME)?.table ?? EMPTY_TABLE,
    log: anew(['revocations']) ? logs.current() : old.log,
    // Never back to an older one: the issuer raises the number of a restored one above what the fleet has seen.
    trustBundle:
      (trustBundle?.sequence ?? 0) > (old.trustBundle?.sequence ?? 0) ? trustBundle : old.trustBundle,
  }
}

function published(
  { cluster, projections, trustBundle, log, table }: Found,
  blobs: Blobs,
): World | undefined {
  if (typeof log === 'string') return undefined
  return worldOf(cluster, projections, { trustBundle, log, table, blob: blobs.content() })
}

function podsOf({ pods }: ClusterWatch): Cluster['pods'] {
  return new Map(pods.store.list().flatMap(({ pod }) => (pod.sidecar ? [[pod.uid, pod] as const] : [])))
}

function byKey<T>(watched: Watched<Parsed<T>>): ReadonlyMap<string, T> {
  return new Map(
    watched.store.list().map((object: KubeObject & { readonly parsed: T }) => [keyOf(object), object.parsed]),
  )
}

function keySets(ledger: Ledger): ReadonlyMap<string, KeyDocument> {
  const stored = [...ledger.facts('jwks').values()]
  return new Map(
    stored.map(({ keySet }) => [
      keySet.key,
      { jwks: keySet.document, sha256: keySet.sha256, notAfterMs: keySet.notAfterMs },
    ]),
  )
}

function bundlesOf(heads: View['heads'], blobs: Blobs): Cluster['bundles'] {
  const complete = [...heads].filter(([, head]) => blobs.complete(head))
  return new Map(complete.map(([key, head]) => [key, storedBundle(head)]))
}

function storedBundle({ revision, files, signature }: BundleHead): StoredBundle {
  return {
    revision,
    files: files.map(({ path, sha256, size }) => ({ path, sha256: Buffer.from(sha256, 'hex'), size })),
    signature,
  }
}
