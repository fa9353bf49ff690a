import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { KubeObject } from '../kube/resource.ts'
import type { Watched } from '../kube/watch.ts'
import { assemble, type BundleHead, type BundlePart } from '../ledger/bundle-facts.ts'
import { GENERATIONS_NAME, TRUST_BUNDLE_NAME } from '../ledger/facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { ServedPod, World } from '../publish/world.ts'
import { type Cluster, EMPTY_CLUSTER, type KeyDocument, type StoredBundle } from '../state/cluster.ts'
import { EMPTY_TABLE, type GenerationTable } from '../state/generations.ts'
import { type Projections, projectAll } from '../state/projections.ts'
import type { RevocationLog } from '../state/revocation-log.ts'
import { loadLog } from '../state/revocation-segments.ts'
import type { ClusterWatch, Parsed } from './cluster-watch.ts'

/** What this replica knows, worked out anew from the mirrors whenever somebody asks after a change. */
export interface View {
  readonly cluster: Cluster
  readonly projections: Projections
  readonly table: GenerationTable
  /** The revocation log, or why it cannot be read: then nobody may vouch for it. */
  readonly log: RevocationLog | string
  readonly trustBundle: TrustBundle | undefined
  readonly heads: ReadonlyMap<string, BundleHead>
  /** What is published; undefined while something of it cannot be read. */
  readonly world: World | undefined
}

export interface Views {
  /** Never older than the last change of the mirrors or the last write of our own: who writes what it decided on an older view undoes. */
  current(): View
}

export function createViews(watch: ClusterWatch, ledger: Ledger): Views {
  let known: View | undefined
  const blobs = createBlobs(ledger)
  const forget = (): void => {
    known = undefined
  }
  // First of all listeners, so that nobody who is told of a change still sees what was before it.
  watch.subscribe(forget)
  ledger.subscribe(forget)
  return {
    current() {
      known ??= look(watch, ledger, blobs)
      return known
    },
  }
}

function look(watch: ClusterWatch, ledger: Ledger, blobs: Blobs): View {
  const heads = new Map([...ledger.facts('bundle').values()].map(({ head }) => [head.key, head]))
  const cluster: Cluster = {
    ...EMPTY_CLUSTER,
    pods: new Map(watch.pods.store.list().map(({ pod }) => [pod.uid, pod])),
    accessPolicies: byKey(watch.kinds.AccessPolicy),
    tokenIssuers: byKey(watch.kinds.TokenIssuer),
    revocations: byKey(watch.kinds.Revocation),
    profiles: byKey(watch.kinds.SidecarProfile),
    keySets: keySets(ledger),
    bundles: new Map(
      [...heads].flatMap(([key, head]) => {
        const bundle = blobs.complete(head) ? storedBundle(head) : undefined
        return bundle ? [[key, bundle] as const] : []
      }),
    ),
  }
  const projections = projectAll(cluster)
  const table = ledger.facts('generations').get(GENERATIONS_NAME)?.table ?? EMPTY_TABLE
  const loaded = loadLog([...ledger.facts('revocations').values()].map(({ segment }) => segment))
  const log = loaded.ok ? loaded.value : loaded.problems.join('; ')
  const trustBundle = ledger.facts('trust-bundle').get(TRUST_BUNDLE_NAME)?.bundle
  const world: World | undefined =
    typeof log === 'string'
      ? undefined
      : {
          pods: servedPods(cluster, projections),
          trustBundle,
          log,
          table,
          projections: projections.byKey,
          blob: blobs.content,
        }
  return { cluster, projections, table, log, trustBundle, heads, world }
}

function byKey<T>(watched: Watched<Parsed<T>>): ReadonlyMap<string, T> {
  return new Map(watched.store.list().map((object) => [nameOf(object), object.parsed]))
}

function nameOf({ metadata }: KubeObject): string {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name
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

function storedBundle({ revision, files, signature }: BundleHead): StoredBundle {
  return {
    revision,
    files: files.map(({ path, sha256, size }) => ({ path, sha256: Buffer.from(sha256, 'hex'), size })),
    signature,
  }
}

function servedPods(cluster: Cluster, { byPod }: Projections): ReadonlyMap<string, ServedPod> {
  const served = [...byPod].flatMap(([uid, projection]) => {
    const pod = cluster.pods.get(uid)
    return pod ? [[uid, { uid, namespace: pod.namespace, name: pod.name, projection }] as const] : []
  })
  return new Map(served)
}

interface Blobs {
  complete(head: BundleHead): boolean
  content(sha256: string): Buffer | undefined
}

/** Files put together from their parts; each once, for as long as some head names it. */
function createBlobs(ledger: Ledger): Blobs {
  const whole = new Map<string, Buffer>()
  const find = (file: BundleHead['files'][number], parts: readonly BundlePart[]): boolean => {
    if (whole.has(file.sha256)) return true
    const content = assemble(file, parts)
    if (content) whole.set(file.sha256, content)
    return content !== undefined
  }
  return {
    content: (sha256) => whole.get(sha256),
    complete(head) {
      if (head.files.every(({ sha256 }) => whole.has(sha256))) return true
      const parts = [...ledger.facts('bundle-part').values()]
        .map(({ part }) => part)
        .filter(({ key }) => key === head.key)
      const complete = head.files.map((file) => find(file, parts)).every(Boolean)
      if (complete) forgetOthers(whole, ledger)
      return complete
    },
  }
}

function forgetOthers(whole: Map<string, Buffer>, ledger: Ledger): void {
  const named = new Set(
    [...ledger.facts('bundle').values()].flatMap(({ head }) => head.files.map(({ sha256 }) => sha256)),
  )
  for (const sha256 of whole.keys()) if (!named.has(sha256)) whole.delete(sha256)
}
