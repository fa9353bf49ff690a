import { bundleDigest } from '../../contracts/bundle-digest.ts'
import type { Kind } from '../../contracts/crd.ts'
import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { entitlementsOf } from '../identity/entitlement.ts'
import { audit } from '../inject/audit.ts'
import type { Injection } from '../inject/sidecar.ts'
import { faultOf } from '../kube/answer.ts'
import { applyStatus } from '../kube/apply.ts'
import type { ObjectMeta } from '../kube/resource.ts'
import type { Transport } from '../kube/transport.ts'
import { Fault, type Report } from '../ports.ts'
import { holdsProjection, holdsRevocations, propagation, shortDigest } from '../publish/aggregate.ts'
import { planAccessPolicy } from '../reconcile/access-policy.ts'
import { demandsOf } from '../reconcile/advice.ts'
import { type Attempt, planPolicyBundle } from '../reconcile/policy-bundle.ts'
import { planRevocation } from '../reconcile/revocation.ts'
import { planRollback, ROLLED_BACK } from '../reconcile/rollback.ts'
import { planSidecarProfile } from '../reconcile/sidecar-profile.ts'
import { type KeysSeen, planTokenIssuer } from '../reconcile/token-issuer.ts'
import { planWorkloadIdentity } from '../reconcile/workload-identity.ts'
import { lives, type Pod } from '../state/cluster.ts'
import { diffRevocations, positionOf, unbacked } from '../state/revocation-diff.ts'
import { believersOf, knownOfPolicy } from './advising.ts'
import type { ClusterWatch } from './cluster-watch.ts'
import { ROLLBACK_MANAGER } from './recalling.ts'
import { resourceOf } from './resources.ts'
import type { View } from './view.ts'

/** What the leader knows beside the view. */
export interface StatusNeeds {
  readonly watch: ClusterWatch
  readonly states: () => ReadonlyMap<string, SidecarState>
  readonly keysSeen: (key: string) => KeysSeen | undefined
  readonly attempt: (key: string) => Attempt | undefined
  readonly revocationProblem: (key: string) => string
  /** Of the profile that is injected; undefined while there are no trust anchors. */
  readonly injection: () =>
    | { readonly profile: string; readonly mark: string; readonly injection: Injection }
    | undefined
  readonly exempt: ReadonlySet<string>
  readonly trustDomain: string
  readonly report: Report
}

const MANAGER = 'portcullis-control'

interface Due {
  readonly kind: Kind
  readonly metadata: Pick<ObjectMeta, 'name' | 'namespace' | 'uid'>
  readonly before: unknown
  readonly status: object
  readonly manager?: string
}

/** Writes every status that differs from what it should be. One that cannot be written is reported, and the others are written. */
export async function writeStatuses(
  view: View,
  needs: StatusNeeds,
  at: number,
  { transport, signal }: { readonly transport: Transport; readonly signal: AbortSignal },
): Promise<void> {
  for (const { kind, metadata, before, status, manager = MANAGER } of dueStatuses(view, needs, at)) {
    if (canonical(before) === canonical(status)) continue
    const { name, namespace, uid } = metadata
    const intent = {
      resource: resourceOf(kind),
      metadata: { name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) },
      fields: { status },
      manager,
      force: true,
    }
    try {
      const applied = await applyStatus(transport, intent, signal)
      if (!applied.ok && applied.refused.status !== 404)
        throw faultOf(applied.refused, `status of ${kind} ${name}`)
    } catch (cause) {
      signal.throwIfAborted()
      needs.report('status_not_written', {
        kind,
        object: `${namespace ?? ''}/${name}`,
        problem: Fault.from(cause).message,
      })
    }
  }
}

function* dueStatuses(view: View, needs: StatusNeeds, at: number): Generator<Due> {
  const states = needs.states()
  const { kinds } = needs.watch
  const fleet = createFleetView(view, states)
  for (const { parsed } of kinds.TokenIssuer.store.list()) {
    const key = `${parsed.metadata.namespace}/${parsed.metadata.name}`
    yield due(
      'TokenIssuer',
      parsed,
      planTokenIssuer(
        parsed,
        { keys: needs.keysSeen(key), demands: demandsOf(believersOf(view, key)) },
        fleet.ofTokenIssuer(key),
        at,
      ),
    )
  }
  for (const { parsed } of kinds.PolicyBundle.store.list()) {
    const key = `${parsed.metadata.namespace}/${parsed.metadata.name}`
    const head = view.heads.get(key)
    const wasm = head?.files.find(({ path }) => path === 'policy.wasm')
    const inForce =
      head && wasm ? { revision: head.revision, wasm: { sha256: wasm.sha256, bytes: wasm.size } } : undefined
    yield due(
      'PolicyBundle',
      parsed,
      planPolicyBundle(parsed, { attempt: needs.attempt(key), inForce }, fleet.ofBundle(key), at),
    )
  }
  for (const { parsed } of kinds.AccessPolicy.store.list()) {
    const key = `${parsed.metadata.namespace}/${parsed.metadata.name}`
    const projection = view.projections.byKey.get(key)
    const conflicts = [...(view.projections.conflicts.get(key) ?? [])].map((one) =>
      one.slice(one.indexOf('/') + 1),
    )
    const pods = view.projections.selection.byPolicy.get(key)?.length ?? 0
    const known = knownOfPolicy(view, parsed)
    const served = { problems: projection?.problems ?? [], conflictsWith: conflicts, pods, ...known }
    const rollout = fleet.ofPolicies((policy) => policy === key, shortDigest(projection?.digest ?? ''))
    yield due('AccessPolicy', parsed, planAccessPolicy(parsed, served, rollout, at))
  }
  const pending = notLogged(view, at)
  for (const { parsed } of kinds.Revocation.store.list()) {
    const { namespace, name, uid } = parsed.metadata
    const problem = needs.revocationProblem(`${namespace}/${name}`)
    const position = typeof view.log === 'string' ? undefined : positionOf(view.log, uid)
    const inForce = position !== undefined && !pending.has(uid)
    const rollout = fleet.ofRevocation(`${namespace}/${parsed.spec.issuerRef.name}`, position ?? 0)
    yield due('Revocation', parsed, planRevocation(parsed, { problem, inForce }, rollout, at))
  }
  yield* identityStatuses(view, needs, at)
  yield* profileStatuses(needs, at)
  yield* rollbackStatuses(view, needs, at)
}

function* rollbackStatuses({ log, forgotten }: View, { watch }: StatusNeeds, at: number): Generator<Due> {
  // Until all is taken back nobody can tell what is left.
  if (typeof log === 'string' || forgotten) return
  for (const { parsed } of watch.kinds.TrustDomain.store.list()) {
    const conditions = planRollback(parsed, unbacked(log, at), at)
    if (!conditions) continue
    const before = parsed.status?.conditions?.filter(({ type }) => type === ROLLED_BACK)
    const written = due('TrustDomain', { ...parsed, status: { conditions: before } }, { conditions })
    yield { ...written, manager: ROLLBACK_MANAGER }
  }
}

function* identityStatuses(
  { cluster }: View,
  { watch, trustDomain }: StatusNeeds,
  at: number,
): Generator<Due> {
  for (const { parsed } of watch.kinds.WorkloadIdentity.store.list()) {
    const { metadata, spec } = parsed
    const mine = [...cluster.pods.values()].filter(
      (pod) => lives(pod) && pod.namespace === metadata.namespace && labelled(pod, spec.selector.matchLabels),
    )
    // As the issuer fills it in; the first identity is that of the service account.
    const grant = { name: metadata.name, path: spec.path }
    const paths = mine.map((pod) => entitlementsOf(pod, [grant]).at(1)?.path)
    const refused = paths.some((path) => path === undefined)
    const problem = refused
      ? `spec.path: gives some of the selected pods no identity of their own under /ns/${metadata.namespace}/; write another`
      : ''
    const ids = paths.flatMap((path) => (path === undefined ? [] : [`spiffe://${trustDomain}${path}`]))
    yield due('WorkloadIdentity', parsed, planWorkloadIdentity(parsed, { ids, problem }, at))
  }
}

function labelled({ labels }: Pod, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([label, value]) => labels[label] === value)
}

function* profileStatuses(needs: StatusNeeds, at: number): Generator<Due> {
  const current = needs.injection()
  const labels = new Map(
    needs.watch.namespaces.store.list().map(({ metadata }) => [metadata.name, metadata.labels ?? {}]),
  )
  const running = needs.watch.pods.store.list().map((pod) => pod.running)
  for (const { parsed } of needs.watch.kinds.SidecarProfile.store.list()) {
    const mine = current?.profile === parsed.metadata.name ? current : undefined
    const expected = {
      mark: mine?.mark ?? '',
      image: parsed.spec.image,
      exempt: needs.exempt,
      namespaceLabels: (namespace: string) => labels.get(namespace),
    }
    const audited = audit(mine ? running : [], expected)
    const { args, trustAnchors, env, image } = mine?.injection ?? {
      args: [],
      trustAnchors: [],
      env: [],
      image: '',
    }
    const injection = mine
      ? { image, args: [...args], trustAnchors: [...trustAnchors], env: [...env] }
      : undefined
    yield due('SidecarProfile', parsed, planSidecarProfile(parsed, audited, injection, at))
  }
}

interface Parsed {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string }
  readonly status?: unknown
}

function due(kind: Kind, { metadata, status: before }: Parsed, status: object): Due {
  const { name, namespace, uid } = metadata
  return { kind, metadata: { name, uid, ...(namespace ? { namespace } : {}) }, before, status }
}

/** UIDs of the Revocations of which the log lacks something. */
function notLogged({ log, cluster }: View, at: number): ReadonlySet<string> {
  if (typeof log === 'string') return new Set(cluster.revocations.keys())
  const issuerNamed = (key: string) => cluster.tokenIssuers.get(key)?.spec.issuer
  const { changes } = diffRevocations(log, [...cluster.revocations.values()], issuerNamed, at)
  return new Set(changes.flatMap((change) => (change.op === 'add' ? idOwner(change.entry.id) : [])))
}

// An id of the log begins with the UID of its object.
const idOwner = (id: string): string => id.slice(0, id.indexOf('/'))

function createFleetView(view: View, states: ReadonlyMap<string, SidecarState>) {
  const { cluster, projections, table } = view
  const podsOf = (uids: Iterable<string>): readonly Pod[] =>
    [...new Set(uids)].flatMap((uid) => cluster.pods.get(uid) ?? [])
  const uidsWhere = (wanted: (policy: string) => boolean): readonly string[] =>
    [...projections.selection.byPolicy].flatMap(([policy, uids]) => (wanted(policy) ? uids : []))
  const trusts = (policy: string, issuer: string): boolean => {
    const found = cluster.accessPolicies.get(policy)
    return (found?.spec.issuers ?? []).some(
      ({ name, namespace }) => `${namespace || found?.metadata.namespace}/${name}` === issuer,
    )
  }
  return {
    ofTokenIssuer(key: string) {
      // By what is served with it, and not by the counter, which moves with every policy of the cluster.
      const served = [...table.projections].filter(([policy]) => trusts(policy, key))
      const generation = Math.max(0, ...served.map(([, allocated]) => allocated.generation))
      return this.ofPolicies((policy) => trusts(policy, key), `generation ${generation}`)
    },
    ofPolicies(wanted: (policy: string) => boolean, what: string) {
      const holds = (state: SidecarState) =>
        holdsProjection(table, projections.byPod.get(state.podUid) ?? '')(state)
      return propagation(podsOf(uidsWhere(wanted)), states, holds, what)
    },
    ofBundle(key: string) {
      const head = view.heads.get(key)
      const files =
        head?.files.map(({ path, sha256 }) => ({ path, sha256: Buffer.from(sha256, 'hex') })) ?? []
      const digest = bundleDigest(files).toString('hex')
      const uses = (policy: string) => {
        const found = cluster.accessPolicies.get(policy)
        return found !== undefined && `${found.metadata.namespace}/${found.spec.bundle.name}` === key
      }
      const what = head ? shortDigest(head.revision.replace(/^sha256:/, '')) : 'no revision'
      return propagation(podsOf(uidsWhere(uses)), states, (state) => state.policyDigest === digest, what)
    },
    ofRevocation(issuer: string, position: number) {
      const pods = podsOf(uidsWhere((policy) => trusts(policy, issuer)))
      return propagation(pods, states, holdsRevocations(position), `position ${position}`)
    },
  }
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  )
}
