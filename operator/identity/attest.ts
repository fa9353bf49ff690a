import { createHash, type KeyObject } from 'node:crypto'
import { type ProvenKey, proveCsr } from '../../contracts/csr.ts'
import type { Buckets } from '../buckets.ts'
import type { Peer } from '../mesh/peers.ts'
import { type DenialReason, type Denied, deny } from './denial.ts'
import { pinKey } from './pin.ts'
import type { Container, Pod, Registry, Review } from './ports.ts'

/** Where and for whom we issue. */
export interface AttestRules {
  readonly trustDomain: string
  readonly audience: string
  readonly systemNamespace: string
  /** The container that asks, by what the pod's spec says: the sidecar as its SidecarProfile wants it. `undefined`: there is none. */
  readonly sidecarOf: (pod: Pod) => string | undefined
  readonly perPod: Buckets
  readonly perNode: Buckets
}

export interface Asked {
  readonly token: string
  readonly csr: Uint8Array
  /** Verified client certificate, if one was presented. */
  readonly client: Peer | undefined
}

export interface Attested {
  readonly ok: true
  readonly pod: Pod
  /** Of the control SVID. */
  readonly path: string
  readonly publicKey: KeyObject
}

const TOKEN_BYTES = 8 * 1024
const EXTRA = 'authentication.kubernetes.io/'
/** Our own service accounts, in the system namespace, and what their replicas are. */
const OPERATORS = { 'portcullis-control': 'control', 'portcullis-issuer': 'issuer' } as const

/**
 * The identity of whoever holds this token and this key. Everything is derived from what the API server says; nothing but the public
 * key comes from the request. The order is the cost: what needs no API server is judged first. Rejects when it does not answer.
 */
export async function attest(
  asked: Asked,
  rules: AttestRules,
  registry: Registry,
  signal: AbortSignal,
): Promise<Attested | Denied> {
  const form = tokenProblem(asked.token, rules.audience)
  if (form) return deny(form)
  const proven = proveCsr(asked.csr)
  if (!proven.ok) return deny('csr')
  const caller = callerOf(await registry.review(asked.token, rules.audience, signal), rules)
  if ('reason' in caller) return caller
  if (!rules.perPod.take(caller.uid) || !rules.perNode.take(caller.node)) return deny('rate_limited')
  const pod = await registry.pod(caller.namespace, caller.name, signal)
  const problem = podProblem(pod, caller)
  if (problem) return deny(problem, problem === 'pod_gone' || problem === 'pod_replaced' ? undefined : pod)
  if (!pod) return deny('pod_gone')
  const place = placeOf(pod, rules) ?? (await earlierPlace(pod, registry, signal))
  if (!place) return deny('sidecar_missing', pod)
  const { client } = asked
  if (client && client.id.uri !== `spiffe://${rules.trustDomain}${place.path}`)
    return deny('client_identity', pod)
  const pin = {
    podUid: pod.uid,
    container: place.container.name,
    image: place.container.image,
    key: keyHash(proven),
    client: client && hashOf(client.publicKey),
  }
  const pinned = await pinKey(pin, pod, registry, signal)
  if (pinned) return deny(pinned, pod)
  return { ok: true, pod, path: place.path, publicKey: proven.key }
}

/** The pod of a control SVID's path, and nothing for any other path. */
export function podUidOf(path: string): string | undefined {
  return /^\/portcullis\/pod\/([a-f0-9-]{1,64})$/.exec(path)?.[1]
}

/** Judged before the API server is troubled; the signature is what TokenReview is for. */
function tokenProblem(token: string, audience: string): DenialReason | undefined {
  if (token === '' || token.length > TOKEN_BYTES) return 'token_size'
  const [header, payload, signature, more] = token.split('.')
  if (!header || !payload || !signature || more !== undefined) return 'token_form'
  const claims = jsonOf(payload)
  if (typeof claims !== 'object' || claims === null || !('aud' in claims)) return 'token_form'
  const { aud } = claims
  // One audience and it is ours: a token that others may also be shown is one that others may have shown to us.
  const ours = Array.isArray(aud) ? aud.length === 1 && aud[0] === audience : aud === audience
  return ours ? undefined : 'token_audience'
}

function jsonOf(base64url: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64url, 'base64url').toString())
  } catch {
    return undefined
  }
}

interface Caller {
  readonly namespace: string
  readonly serviceAccount: string
  readonly name: string
  readonly uid: string
  readonly node: string
}

function callerOf(review: Review, { audience }: AttestRules): Caller | Denied {
  if (review.error !== '') return deny('review_error')
  if (!review.authenticated) return deny('token_refused')
  if (review.audiences.length !== 1 || review.audiences[0] !== audience) return deny('review_audience')
  const [, namespace, serviceAccount] =
    /^system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)$/.exec(review.username) ?? []
  if (!namespace || !serviceAccount) return deny('not_service_account')
  const extra = (name: string) => only(review.extra[`${EXTRA}${name}`])
  const [name, uid, node] = [extra('pod-name'), extra('pod-uid'), extra('node-name')]
  if (!name || !uid) return deny('token_unbound')
  return { namespace, serviceAccount, name, uid, node: node ?? '' }
}

function only(values: readonly string[] | undefined): string | undefined {
  return values?.length === 1 ? values[0] : undefined
}

function podProblem(pod: Pod | undefined, caller: Caller): DenialReason | undefined {
  if (!pod) return 'pod_gone'
  if (pod.uid !== caller.uid || pod.namespace !== caller.namespace) return 'pod_replaced'
  if (pod.serviceAccount !== caller.serviceAccount) return 'pod_service_account'
  // Clusters before 1.32 do not say the node; then the pod's own is not compared.
  if (caller.node !== '' && pod.nodeName !== caller.node) return 'pod_node'
  return livingProblem(pod)
}

/** What must hold of a pod whenever anything is issued for it. */
export function livingProblem(pod: Pod): DenialReason | undefined {
  if (pod.deleting) return 'pod_deleting'
  return pod.phase === 'Pending' || pod.phase === 'Running' ? undefined : 'pod_ended'
}

interface Position {
  readonly path: string
  readonly container: Container
}

function placeOf(pod: Pod, { systemNamespace, sidecarOf }: AttestRules): Position | undefined {
  const [role] = Object.entries(OPERATORS)
    .filter(([account]) => pod.namespace === systemNamespace && pod.serviceAccount === account)
    .map(([, one]) => one)
  if (role) return at(`/portcullis/operator/${role}/${pod.uid}`, pod, ({ init }) => !init)
  const sidecar = sidecarOf(pod)
  return at(`/portcullis/pod/${pod.uid}`, pod, ({ name }) => name === sidecar)
}

/**
 * A pod that was there before its SidecarProfile moved on to another image keeps its identity, as long as its sidecar is the very
 * one that was vouched for then; one whose image was exchanged in place does not.
 */
async function earlierPlace(
  pod: Pod,
  registry: Registry,
  signal: AbortSignal,
): Promise<Position | undefined> {
  const pin = (await registry.pin(pod.uid, signal))?.pin
  return at(
    `/portcullis/pod/${pod.uid}`,
    pod,
    ({ name, image, init }) => init && name === pin?.container && image === pin.image,
  )
}

function at(path: string, pod: Pod, which: (container: Container) => boolean): Position | undefined {
  const container = pod.containers.find(which)
  return container && { path, container }
}

function keyHash({ spki }: ProvenKey & { readonly ok: true }): string {
  return createHash('sha256').update(spki).digest('hex')
}

export function hashOf(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}
