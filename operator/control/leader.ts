import type { TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import { API_VERSION, RESOURCES } from '../../contracts/crd.ts'
import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { Compile } from '../gather/compile.ts'
import type { FetchVersion } from '../gather/jwks.ts'
import { expectValue } from '../kube/answer.ts'
import { openController, type Reconciled } from '../kube/controller.ts'
import type { Events } from '../kube/events.ts'
import { fenced, type Term } from '../kube/leadership.ts'
import { CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS } from '../kube/resources.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import { get } from '../kube/verbs.ts'
import type { OpenLedger } from '../ledger/ledger.ts'
import type { OpenLogStore } from '../ledger/log-store.ts'
import { Fault } from '../ports.ts'
import { CANARY, canaryAt } from '../state/canary.ts'
import { type Appending, createAppending } from './appending.ts'
import { type Bell, createBell } from './bell.ts'
import { type BundleSignature, createBundleKeeping } from './bundles.ts'
import type { ClusterWatch } from './cluster-watch.ts'
import { createKeyKeeping, type KeyKeeping } from './keys.ts'
import { createNumbering } from './numbering.ts'
import { resourceOf } from './resources.ts'
import { createRevoking, type KindState, type Named, type Revoking } from './revoking.ts'
import { type StatusNeeds, writeStatuses } from './statuses.ts'
import type { Verifying } from './verifying.ts'
import type { Views } from './view.ts'

/** What the replica that leads needs to do its work. */
export interface LeaderNeeds {
  readonly transport: Transport
  readonly ledger: OpenLedger
  readonly logs: OpenLogStore
  readonly watch: ClusterWatch
  readonly views: Views
  readonly events: Events
  readonly ports: KubePorts
  readonly compile: Compile
  readonly fetch: FetchVersion
  readonly sign: (digest: Buffer, signal: AbortSignal) => Promise<BundleSignature>
  readonly states: () => ReadonlyMap<string, SidecarState>
  /** Grows when the states have news. */
  readonly revision: () => number
  readonly status: Pick<StatusNeeds, 'injection' | 'exempt' | 'trustDomain'>
  /** For one term: who was not heard in it may have been heard by the leader before. */
  readonly verifying: () => Verifying
  /** Who fetches keys now, for whoever asks on behalf of a sidecar. */
  readonly fetching: (keys: KeyKeeping | undefined) => void
  /** Who appends now to the log what machines revoke. */
  readonly appending: (appending: Appending | undefined) => void
}

const ROUND_MS = 1_000
const SETTLE_MS = 20
const RETRY_MS = 500
const STATUS_MS = 500
const STATUS_EVERY_MS = 10_000

/** The work of one term: gathers, numbers, revokes, compiles, and says in status what came of it. Ends with the term. */
export async function lead(term: Term, needs: LeaderNeeds): Promise<void> {
  const { ports, views, watch } = needs
  const transport = fenced(needs.transport, term)
  const ledger = needs.ledger.through(transport)
  const { signal } = term
  const changed = createBell(ports.sleep)
  const told = createBell(ports.sleep)
  const kindExists = (one: AbortSignal) => revocationsExist(transport, one)
  const stands = (object: Named, one: AbortSignal) => revocationStands(transport, object, one)
  const logs = needs.logs.through(ledger, term.transitions)
  const revoking = createRevoking({ logs, views, random: ports.random, kindExists, stands })
  needs.appending(createAppending({ ...ports, revoking, term: signal }))
  const numbering = createNumbering(ledger, views, ports.random)
  const verifying = needs.verifying()
  const keys = createKeyKeeping({
    ...ports,
    fetch: needs.fetch,
    ledger,
    term: signal,
    changed: () => told.ring(),
    news: (issuer, note, warning) => needs.events.tell(aboutKeys(issuer, note, warning)),
  })
  needs.fetching(keys)
  const bundles = createBundleKeeping({
    ...needs,
    ledger,
    configMap: (namespace, name, one) => configMap(transport, namespace, name, one),
  })
  await using _compiling = await compiling(bundles, { needs, told, signal })
  using _watching = subscribed(needs, changed, told)
  const statuses: StatusNeeds = {
    ...needs.status,
    watch,
    states: needs.states,
    keysSeen: keys.seen,
    attempt: bundles.attempt,
    revocationProblem: (key) => revoking.problems().get(key) ?? '',
    report: ports.report,
  }
  const settle = async (): Promise<void> => {
    // Denying first: whatever else is to be done can wait for it.
    await until(() => revoking.settle(ports.now(), signal), ports, signal)
    keys.want(watch.kinds.TokenIssuer.store.list().map(({ parsed }) => parsed))
    await until(() => numbering.settle(needs.states().values(), signal), ports, signal)
  }
  try {
    await Promise.all([
      rounds(settle, changed, { ports, signal, everyMs: ROUND_MS, restMs: SETTLE_MS }),
      rounds(() => writeStatuses(views.current(), statuses, ports.now(), { transport, signal }), told, {
        ports,
        signal,
        everyMs: STATUS_EVERY_MS,
        restMs: STATUS_MS,
      }),
      rounds(() => verifying.write(transport, signal), told, {
        ports,
        signal,
        everyMs: ROUND_MS,
        restMs: ROUND_MS,
      }),
      ringOnNews(needs.revision, told, ports, signal),
      singCanary(revoking, needs, signal),
    ])
  } finally {
    needs.fetching(undefined)
    needs.appending(undefined)
  }
}

/** Again until nobody was faster; a breakage is reported and tried again, for as long as the term lasts. */
async function until(
  act: () => Promise<boolean>,
  { sleep, report }: KubePorts,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      if (await act()) return
    } catch (cause) {
      if (signal.aborted) return
      report('leader_work_failed', { problem: Fault.from(cause).message })
    }
    await sleep(RETRY_MS, signal).catch(() => undefined)
  }
}

interface Rhythm {
  readonly ports: KubePorts
  readonly signal: AbortSignal
  /** Without a ring. */
  readonly everyMs: number
  /** After each round. */
  readonly restMs: number
}

async function rounds(
  act: () => Promise<void>,
  bell: Bell,
  { ports, signal, everyMs, restMs }: Rhythm,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await act()
    } catch (cause) {
      if (!signal.aborted) ports.report('leader_work_failed', { problem: Fault.from(cause).message })
    }
    await ports.sleep(restMs, signal).catch(() => undefined)
    await bell.rung(everyMs, signal)
  }
}

/** While there are sidecars to hear it. */
async function singCanary(
  revoking: Revoking,
  { ports, states }: LeaderNeeds,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await ports.sleep(CANARY.everyMs, signal).catch(() => undefined)
    if (signal.aborted || states().size === 0) continue
    const at = ports.now()
    await revoking.append([canaryAt(at)], at, signal).catch((cause: unknown) => {
      if (!signal.aborted) ports.report('leader_work_failed', { problem: Fault.from(cause).message })
    })
  }
}

async function ringOnNews(
  revision: () => number,
  bell: Bell,
  { sleep }: KubePorts,
  signal: AbortSignal,
): Promise<void> {
  let seen = -1
  while (!signal.aborted) {
    await sleep(100, signal).catch(() => undefined)
    if (revision() === seen) continue
    seen = revision()
    bell.ring()
  }
}

interface CompilingNeeds {
  readonly needs: LeaderNeeds
  readonly told: Bell
  readonly signal: AbortSignal
}

async function compiling(
  bundles: ReturnType<typeof createBundleKeeping>,
  { needs, told, signal }: CompilingNeeds,
) {
  const { watch, ledger, ports } = needs
  const reconcile = async (key: string, one: AbortSignal): Promise<Reconciled> => {
    const within = AbortSignal.any([one, signal])
    const bundle = watch.kinds.PolicyBundle.store.get(key)?.parsed
    try {
      if (!bundle) {
        await bundles.forget(key, within)
        return undefined
      }
      const { againMs } = await bundles.settle(bundle, within)
      await bundles.signAgain(key, within)
      return againMs === undefined ? undefined : { requeueAfterMs: againMs }
    } finally {
      told.ring()
    }
  }
  const controller = await openController({ name: 'policybundle', reconcile }, ports)
  const stop = watch.kinds.PolicyBundle.subscribe((_type, key) => controller.enqueue(key))
  const stopKeys = ledger.subscribe((kind) => {
    if (kind !== 'trust-bundle') return
    for (const { parsed } of watch.kinds.PolicyBundle.store.list()) {
      controller.enqueue(`${parsed.metadata.namespace}/${parsed.metadata.name}`)
    }
  })
  // Also what was left behind of bundles that nobody wants any more.
  for (const { head } of ledger.facts('bundle').values()) controller.enqueue(head.key)
  for (const { part } of ledger.facts('bundle-part').values()) controller.enqueue(part.key)
  return {
    async [Symbol.asyncDispose]() {
      stop()
      stopKeys()
      await controller[Symbol.asyncDispose]()
    },
  }
}

function subscribed({ watch, views, ledger }: LeaderNeeds, changed: Bell, told: Bell): Disposable {
  const stops = [
    views.subscribe(changed.ring),
    // A status tells more than what is published.
    watch.subscribe(told.ring),
    ledger.subscribe(told.ring),
  ]
  return {
    [Symbol.dispose]() {
      for (const stop of stops) stop()
    },
  }
}

async function revocationsExist(transport: Transport, signal: AbortSignal): Promise<KindState> {
  const { plural } = RESOURCES.Revocation
  const place = { resource: CUSTOM_RESOURCE_DEFINITIONS, name: `${plural}.portcullis.dev` }
  try {
    const answer = await get(transport, place, signal)
    if (answer.ok) return answer.value.metadata.deletionTimestamp === undefined ? 'there' : 'gone'
    return answer.refused.status === 404 ? 'gone' : 'unknown'
  } catch {
    // Nothing is lifted now, and what is to be denied waits for nobody.
    return 'unknown'
  }
}

async function revocationStands(
  transport: Transport,
  { namespace, name, uid }: Named,
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await get(transport, { resource: resourceOf('Revocation'), namespace, name }, signal)
  return answer.ok && answer.value.metadata.uid === uid
}

async function configMap(transport: Transport, namespace: string, name: string, signal: AbortSignal) {
  const answer = await get(transport, { resource: CONFIG_MAPS, namespace, name }, signal)
  if (!answer.ok && answer.refused.status === 404) return undefined
  return expectValue(answer, 'get')
}

function aboutKeys({ metadata }: TokenIssuer, note: string, warning: boolean) {
  const { namespace, name, uid } = metadata
  return {
    regarding: { apiVersion: API_VERSION, kind: 'TokenIssuer', namespace, name, uid },
    type: warning ? ('Warning' as const) : ('Normal' as const),
    reason: warning ? 'FetchFailed' : 'KeysChanged',
    action: 'FetchKeys',
    note,
  }
}
