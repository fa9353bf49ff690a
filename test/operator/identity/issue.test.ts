import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createCsr } from '../../../contracts/csr.ts'
import { verifyX509Svid } from '../../../contracts/spiffe.ts'
import { createBuckets } from '../../../operator/buckets.ts'
import type { DenialReason } from '../../../operator/identity/denial.ts'
import type { Grant } from '../../../operator/identity/entitlement.ts'
import { createIssue, type Issue } from '../../../operator/identity/issue.ts'
import { collectPins } from '../../../operator/identity/pin.ts'
import type { Pod } from '../../../operator/identity/ports.ts'
import type { Peer } from '../../../operator/mesh/peers.ts'
import { type Domain, HOUR, never, openDomain, TD } from './domain.ts'
import { AUDIENCE, type MemoryRegistry, memoryRegistry, POD, reviewFor, tokenFor } from './registry.ts'

let domain: Domain
beforeAll(async () => {
  domain = await openDomain()
})
let registry: MemoryRegistry
let grants: readonly Grant[]
let issue: Issue
beforeEach(() => {
  registry = memoryRegistry(POD)
  grants = []
  const generous = createBuckets({ burst: 1_000, perSecond: 1 }, () => 0)
  issue = issuing(generous)
})
const firstImage = (image: string): boolean => image === 'sidecar@sha256:1'
function issuing(perPod: ReturnType<typeof createBuckets>, vouched = firstImage): Issue {
  const rules = {
    trustDomain: TD,
    audience: AUDIENCE,
    systemNamespace: 'portcullis-system',
    sidecarOf: (pod: Pod) =>
      pod.containers.find(({ name, init, image }) => init && name === 'portcullis' && vouched(image))?.name,
    perPod,
    perNode: createBuckets({ burst: 1_000, perSecond: 1 }, () => 0),
    controlTtlMs: HOUR,
    svidTtlMs: HOUR,
    jwtTtlMs: 300_000,
  }
  const { authority } = domain
  return createIssue({ authority, registry, rules: () => rules, grants: () => grants, now: () => domain.now })
}

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const control = (key: KeyObject, client?: Peer, token = tokenFor()) =>
  issue.control({ token, csr: createCsr(key), client }, never)
const outcome = async (
  given: Promise<{ readonly ok: true } | { readonly ok: false; readonly reason: DenialReason }>,
) => {
  const said = await given
  return said.ok ? 'issued' : said.reason
}
/** Bootstraps with a key, and is the caller that then shows what it got. */
async function peerWith(key: KeyObject, client?: Peer): Promise<Peer> {
  const given = await control(key, client)
  if (!given.ok || !given.value.svid) throw new Error(`not issued: ${given.ok || given.reason}`)
  const svid = verifyX509Svid(given.value.svid.chain, domain.trust(), domain.now)
  if (!svid.ok) throw new Error(svid.why)
  return svid
}
const alter = (change: Partial<Pod>) =>
  registry.pods.set(`${POD.namespace}/${POD.name}`, { ...POD, ...change })

interface Shown {
  readonly token?: string
  readonly csr?: Uint8Array
}
type Forgery = readonly [reason: DenialReason, name: string, change: () => void, shown?: Shown]

const FORGERIES = (
  [
    ['token_size', 'no token', nothing, { token: '' }],
    ['token_size', 'a token beyond 8 KiB', nothing, { token: 'a'.repeat(8_193) }],
    ['token_form', 'a token that is no JWT', nothing, { token: 'abc' }],
    ['token_form', 'a payload that is no JSON', nothing, { token: 'a.b.c' }],
    ['token_form', 'no audience', nothing, { token: tokenFor({ sub: 'x' }) }],
    [
      'token_audience',
      'the audience of the API server',
      nothing,
      { token: tokenFor({ aud: ['https://kubernetes'] }) },
    ],
    [
      'token_audience',
      'our audience and another',
      nothing,
      { token: tokenFor({ aud: [AUDIENCE, 'other'] }) },
    ],
    ['csr', 'a request that is none', nothing, { csr: Buffer.from('x') }],
    ['csr', 'a request that proves nothing', nothing, { csr: tampered() }],
    ['review_error', 'an error beside the verdict', () => bend({ error: 'audience mismatch' })],
    ['token_refused', 'a token the API server refuses', () => bend({ authenticated: false })],
    ['review_audience', 'no audience in the answer', () => bend({ audiences: [] })],
    ['review_audience', 'another audience in the answer', () => bend({ audiences: ['other'] })],
    ['not_service_account', 'a user', () => bend({ username: 'alice' })],
    ['not_service_account', 'a node', () => bend({ username: 'system:node:node-1' })],
    ['token_unbound', 'a token not bound to a pod', () => bend({ extra: {} })],
    ['pod_gone', 'no such pod', () => registry.pods.clear()],
    ['pod_replaced', 'another pod of the name', () => alter({ uid: 'other' })],
    ['pod_service_account', 'another service account', () => alter({ serviceAccount: 'admin' })],
    ['pod_node', 'another node', () => alter({ nodeName: 'node-2' })],
    ['pod_deleting', 'a pod that is going', () => alter({ deleting: true })],
    ['pod_ended', 'a pod that failed', () => alter({ phase: 'Failed' })],
    ['pod_ended', 'a pod that ended', () => alter({ phase: 'Succeeded' })],
    ['sidecar_missing', 'no sidecar', () => alter({ containers: POD.containers.slice(1) })],
    [
      'sidecar_missing',
      'a look-alike',
      () => alter({ containers: [{ name: 'portcullis', image: 'evil', init: true }] }),
    ],
    [
      'sidecar_missing',
      'one that is an ordinary container',
      () => alter({ containers: [{ name: 'portcullis', image: 'sidecar@sha256:1', init: false }] }),
    ],
  ] satisfies readonly Forgery[] as readonly Forgery[]
).map(([reason, name, change, shown = {}]) => ({ reason, name, change, shown }))

describe('attestation', () => {
  test('gives the control identity of the very pod, and nothing that the request wished for', async () => {
    const peer = await peerWith(newKey())
    expect(peer.id.uri).toBe(`spiffe://${TD}/portcullis/pod/${POD.uid}`)
  })

  test.each(FORGERIES)('$reason: $name is denied', async ({ reason, change, shown }) => {
    change()
    const { token = tokenFor(), csr = createCsr(newKey()) } = shown
    expect(await outcome(issue.control({ token, csr, client: undefined }, never))).toBe(reason)
    expect(registry.pinned.size).toBe(0)
  })

  test('does not trouble the API server with what cannot be good', async () => {
    await control(newKey(), undefined, tokenFor({ aud: ['other'] }))
    await issue.control({ token: tokenFor(), csr: tampered(), client: undefined }, never)
    expect(registry.reviews).toBe(0)
  })

  test('stops a pod that asks too often', async () => {
    issue = issuing(createBuckets({ burst: 3, perSecond: 1 }, () => 0))
    const key = newKey()
    const said = []
    for (let tries = 0; tries < 5; tries += 1) said.push(await outcome(control(key)))
    expect(said).toEqual(['issued', 'issued', 'issued', 'rate_limited', 'rate_limited'])
  })

  test('knows the replicas of the operator by service account and namespace, and nobody else', async () => {
    const replica = {
      ...POD,
      namespace: 'portcullis-system',
      serviceAccount: 'portcullis-control',
      containers: POD.containers.slice(1),
    }
    registry = memoryRegistry(replica)
    issue = issuing(createBuckets({ burst: 9, perSecond: 1 }, () => 0))
    expect((await peerWith(newKey())).id.path).toBe(`/portcullis/operator/control/${POD.uid}`)
    registry = memoryRegistry({ ...replica, namespace: 'evil' })
    issue = issuing(createBuckets({ burst: 9, perSecond: 1 }, () => 0))
    expect(await outcome(control(newKey()))).toBe('sidecar_missing')
  })
})

describe('a pod from before its SidecarProfile moved on', () => {
  const exchange = (image: string) =>
    alter({
      containers: [{ name: 'portcullis', image, init: true }],
      statuses: [status(9, 'containerd://z')],
    })

  test('keeps its identity with the image that was vouched for, and loses it with any other', async () => {
    let profile = 'sidecar@sha256:1'
    issue = issuing(
      createBuckets({ burst: 99, perSecond: 1 }, () => 0),
      (image) => image === profile,
    )
    const first = await peerWith(newKey())
    profile = 'sidecar@sha256:2'
    const second = await peerWith(newKey(), first)
    exchange('sidecar@sha256:1')
    expect(await outcome(control(newKey()))).toBe('issued')
    exchange('evil@sha256:3')
    expect(await outcome(control(newKey()))).toBe('sidecar_missing')
    expect(await outcome(control(newKey(), second))).toBe('sidecar_missing')
  })
})

describe('the pin', () => {
  test('lets one of two keys in that race with one token', async () => {
    const said = await Promise.all([outcome(control(newKey())), outcome(control(newKey()))])
    expect(said.toSorted()).toEqual(['issued', 'key_pinned'])
  })

  test('refuses a second key, and answers the first again', async () => {
    const key = newKey()
    await peerWith(key)
    expect(await outcome(control(newKey()))).toBe('key_pinned')
    expect(await outcome(control(key))).toBe('issued')
  })

  test.each<readonly [string, Partial<Pod>, string]>([
    ['a container that was started again', { statuses: [status(1, 'containerd://b')] }, 'issued'],
    ['another container with the same count', { statuses: [status(0, 'containerd://b')] }, 'issued'],
    ['the same container', {}, 'key_pinned'],
    [
      'another container that was started again',
      { statuses: [status(0, 'containerd://a'), { ...status(4, 'x'), name: 'app' }] },
      'key_pinned',
    ],
    ['no status any more', { statuses: [] }, 'key_pinned'],
  ])('of %s: %j, %s', async (_name, change, want) => {
    await peerWith(newKey())
    alter(change)
    expect(await outcome(control(newKey()))).toBe(want)
  })

  test('made before the kubelet named the container learns the name, and is not opened by it', async () => {
    alter({ statuses: [] })
    const key = newKey()
    await peerWith(key)
    alter({})
    expect(await outcome(control(newKey()))).toBe('key_pinned')
    await peerWith(key)
    alter({ statuses: [status(0, 'containerd://b')] })
    expect(await outcome(control(newKey()))).toBe('issued')
  })

  test('moves with renewals that show the present SVID, even when answers are lost', async () => {
    const first = await peerWith(newKey())
    const second = await peerWith(newKey(), first)
    for (let lost = 0; lost < 3; lost += 1) await control(newKey(), second)
    const third = await peerWith(newKey(), second)
    expect(await outcome(control(newKey(), third))).toBe('issued')
    expect(await outcome(control(newKey(), first))).toBe('client_key')
  })

  test('is not moved by the SVID of another pod', async () => {
    const other = domain.svid('/portcullis/pod/99999999-0000-0000-0000-000000000000')
    const { id, notAfterMs } = other
    const peer = { id, notAfterMs, publicKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey }
    expect(await outcome(control(newKey(), peer))).toBe('client_identity')
  })

  test('is removed with its pod, and not before', async () => {
    await peerWith(newKey())
    expect(await collectPins(registry, never)).toBe(0)
    alter({ uid: 'a-new-pod' })
    expect(await collectPins(registry, never)).toBe(1)
    expect(registry.pinned.size).toBe(0)
  })
})

describe('workload identities', () => {
  const ids = async (client: Peer | undefined, key = newKey()) => {
    const given = await issue.workload(createCsr(key), client, never)
    return given.ok ? given.value.svids.map(({ spiffeId }) => spiffeId) : given.reason
  }

  test('004-21: follow the service account, and what was granted within the namespace', async () => {
    const client = await peerWith(newKey())
    expect(await ids(client)).toEqual([`spiffe://${TD}/ns/shop/sa/cart`])
    grants = [
      { name: 'b', path: '/ns/{namespace}/{serviceAccount}/{pod}', hint: 'pod' },
      { name: 'a', path: '/ns/shop/db' },
      { name: 'c', path: '/ns/bank/sa/till' },
      { name: 'd', path: '/portcullis/pod/x' },
      { name: 'e', path: '/ns/shop/../bank/sa/till' },
      { name: 'f', path: '/ns/shop/db', hint: 'pod' },
      { name: 'g', path: '/ns/shop' },
    ]
    expect(await ids(client)).toEqual(
      ['/ns/shop/sa/cart', '/ns/shop/db', '/ns/shop/cart/cart-1'].map((path) => `spiffe://${TD}${path}`),
    )
  })

  test('all certify the key of the request and verify', async () => {
    const client = await peerWith(newKey())
    const given = await issue.workload(createCsr(newKey()), client, never)
    if (!given.ok) throw new Error(given.reason)
    for (const { chain } of given.value.svids)
      expect(verifyX509Svid(chain, domain.trust(), domain.now)).toMatchObject({ ok: true })
    expect(given.value.bundle?.sequence).toBeGreaterThan(0)
  })

  test.each<readonly [string, DenialReason, (peer: Peer) => Peer | undefined]>([
    ['nobody', 'client_missing', () => undefined],
    ['a workload', 'client_identity', (peer) => as(peer, '/ns/shop/sa/cart')],
    ['a replica of the operator', 'client_identity', (peer) => as(peer, '/portcullis/operator/control/1')],
    ['a pod without pin', 'client_key', (peer) => as(peer, '/portcullis/pod/99999999')],
    [
      'a key that is not pinned',
      'client_key',
      (peer) => ({ ...peer, publicKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey }),
    ],
  ])('are not given to %s', async (_name, reason, change) => {
    const client = change(await peerWith(newKey()))
    expect(await ids(client)).toBe(reason)
    expect(await outcome(issue.jwt({ audience: ['a'], spiffeId: '' }, client, never))).toBe(reason)
  })

  test.each<readonly [DenialReason, Partial<Pod>]>([
    ['pod_deleting', { deleting: true }],
    ['pod_ended', { phase: 'Failed' }],
    ['pod_replaced', { uid: 'other' }],
  ])('end with the pod: %s', async (reason, change) => {
    const client = await peerWith(newKey())
    alter(change)
    expect(await ids(client)).toBe(reason)
  })

  test('are not given for the key of the control identity', async () => {
    const key = newKey()
    const client = await peerWith(key)
    expect(await ids(client, key)).toBe('key_reused')
  })

  test.each<readonly [string, readonly string[], string, string]>([
    ['one audience', ['a'], '', 'issued'],
    ['its own identity by name', ['a'], `spiffe://${TD}/ns/shop/sa/cart`, 'issued'],
    ['an identity of another', ['a'], `spiffe://${TD}/ns/bank/sa/till`, 'not_entitled'],
    ['the control identity', ['a'], `spiffe://${TD}/portcullis/pod/${POD.uid}`, 'not_entitled'],
    ['no audience', [], '', 'audience'],
    ['an empty audience', [''], '', 'audience'],
    ['nine audiences', Array.from({ length: 9 }, (_, n) => `${n}`), '', 'audience'],
    ['an audience of 513 bytes', ['a'.repeat(513)], '', 'audience'],
  ])('as JWT, asked for with %s: %j %s', async (_name, audience, spiffeId, want) => {
    const client = await peerWith(newKey())
    expect(await outcome(issue.jwt({ audience: [...audience], spiffeId }, client, never))).toBe(want)
  })
})

function nothing(): void {}
function bend(change: Parameters<typeof reviewFor>[1]): void {
  registry.verdict = reviewFor(POD, change)
}
const as = (peer: Peer, path: string): Peer => ({
  ...peer,
  id: { uri: `spiffe://${TD}${path}`, trustDomain: TD, path },
})
function status(restartCount: number, containerId: string) {
  return { name: 'portcullis', restartCount, containerId }
}
function tampered(): Buffer {
  const csr = createCsr(newKey())
  const last = csr.length - 1
  csr[last] = (csr[last] ?? 0) ^ 1
  return csr
}
