import { CLIENT_KEY, forgeProof, jktOf, type ProofForge } from '../fixtures/proofs.ts'
import { eventually, NAMESPACE, post, type World } from './world.ts'

export interface AppPod {
  readonly name: string
  readonly ip: string
  readonly uid: string
}

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string }
    readonly status: {
      readonly podIP?: string
      readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    }
  }[]
}

/** Ready pods of one application. */
export async function podsOf(world: World, app: string, namespace = NAMESPACE): Promise<readonly AppPod[]> {
  const list = JSON.parse(
    await world.kubectl(['get', 'pods', '-n', namespace, '-l', `app=${app}`, '-o', 'json']),
  ) as PodList
  return list.items.flatMap(({ metadata, status }) => {
    const ready = status.conditions?.some(({ type, status: now }) => type === 'Ready' && now === 'True')
    if (!ready || metadata.deletionTimestamp !== undefined || !status.podIP) return []
    return [{ name: metadata.name, uid: metadata.uid, ip: status.podIP }]
  })
}

/** So many of them, once they are all Ready: on a busy machine one may lose it for a moment. */
export async function readyPods(world: World, app: string, count: number): Promise<readonly AppPod[]> {
  let pods: readonly AppPod[] = []
  await eventually(`${count} pods of ${app} that are Ready`, async () => {
    pods = await podsOf(world, app)
    return pods.length === count ? undefined : `${pods.length}`
  })
  return pods
}

export interface Asked {
  readonly token: string
  readonly action?: string
  readonly stored?: object
}

const INVOICE = {
  type: 'invoice',
  id: 'inv-1',
  tenant: 'acme',
  owner: 'alice',
  attributes: { amount: 10, status: 'sent', visibility: 'private' },
}

export interface Told {
  readonly outcome: string
  readonly nonce: string
}

/** As the sample application states it of every request. */
export const SEEN_BY_CALLERS = 'https://api.demo.example'

/** A token bound to the key that signs `proofFor`. */
export function boundToken(world: World): Promise<string> {
  return world.idp.mint({ cnf: { jkt: jktOf(CLIENT_KEY) } })
}

export function proofFor(token: string, wish: ProofForge = {}): string {
  const at = Math.floor(Date.now() / 1000)
  return forgeProof({ token, url: `${SEEN_BY_CALLERS}/`, at, jti: crypto.randomUUID(), ...wish })
}

/** What one pod's sidecar says of a token with a DPoP proof. */
export function askProven({ ip }: AppPod, asked: Asked & { readonly proof: string }): Promise<Told> {
  return post<Told>(ip, '/check', { action: 'invoice:read', stored: INVOICE, ...asked })
}

/** What each pod's sidecar says: `allow` or the reason of the denial. */
export async function askAll(
  pods: readonly AppPod[],
  { token, action = 'invoice:read', stored = INVOICE }: Asked,
): Promise<readonly string[]> {
  return Promise.all(
    pods.map(
      async ({ ip }) => (await post<{ outcome: string }>(ip, '/check', { token, action, stored })).outcome,
    ),
  )
}

/** Until every pod says so; the seconds that it took. */
export function untilAll(
  pods: readonly AppPod[],
  asked: Asked,
  wanted: string,
  limitMs?: number,
): Promise<number> {
  return eventually(
    `${wanted} on ${pods.length} pods`,
    async () => {
      const outcomes = await askAll(pods, asked)
      return outcomes.every((one) => one === wanted) ? undefined : outcomes.join(', ')
    },
    limitMs,
  )
}

export interface Stream {
  readonly counts: Readonly<Record<string, number>>
  readonly changes: readonly { readonly at: number; readonly outcome: string }[]
}

/** Questions that go on in every pod, each remembering what it was told. */
export function traffic(pods: readonly AppPod[], name: string) {
  const each = <T>(path: string, body: object) =>
    Promise.all(pods.map(({ ip }) => post<T>(ip, path, { name, ...body })))
  return {
    start: (asked: Asked, everyMs = 50) =>
      each('/traffic/start', { action: 'invoice:read', stored: INVOICE, ...asked, everyMs }).then(
        () => undefined,
      ),
    reset: () => each('/traffic/reset', {}).then(() => undefined),
    stop: () => each('/traffic/stop', {}).then(() => undefined),
    read: () => each<Stream>('/traffic/read', {}),
    /** Of all pods together. */
    async totals(): Promise<Readonly<Record<string, number>>> {
      const sums: Record<string, number> = {}
      for (const { counts } of await each<Stream>('/traffic/read', {})) {
        for (const [outcome, count] of Object.entries(counts)) sums[outcome] = (sums[outcome] ?? 0) + count
      }
      return sums
    },
  }
}

/** Condition of an object, by type. */
export async function conditionOf(
  world: World,
  kind: string,
  name: string,
  type: string,
): Promise<{ readonly status: string; readonly message: string; readonly reason: string }> {
  const namespaced = ['keyrotation', 'trustdomain', 'sidecarprofile'].includes(kind) ? undefined : NAMESPACE
  const object = await world.get(kind, name, namespaced)
  const conditions =
    (
      object.status as unknown as {
        conditions?: {
          type: string
          status: string
          message: string
          reason: string
          observedGeneration?: number
        }[]
      }
    )?.conditions ?? []
  const found = conditions.find((one) => one.type === type)
  if (!found) throw new Error(`${kind} ${name} has no condition ${type}`)
  if (found.observedGeneration !== object.metadata.generation)
    throw new Error(`${type} is of generation ${found.observedGeneration}`)
  return found
}
