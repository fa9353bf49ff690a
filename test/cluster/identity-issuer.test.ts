import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCsr } from '../../contracts/csr.ts'
import { SignerService } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { IssuerService } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { parseSpiffeId, verifyX509Svid } from '../../contracts/spiffe.ts'
import { readKeys } from '../../operator/identity/key-keeper.ts'
import { kubeCabinet } from '../../operator/identity/kube-cabinet.ts'
import { activeOf } from '../../operator/identity/ring.ts'
import type { Rotation, Step } from '../../operator/identity/rotation.ts'
import { type RunningIssuer, runIssuer } from '../../operator/identity/run-issuer.ts'
import { openTransport, type Transport } from '../../operator/kube/transport.ts'
import { callUnary, createMeshChannel } from '../../operator/mesh/channel.ts'
import type { MeshIdentity } from '../../operator/mesh/identity.ts'
import { createLive } from '../../operator/mesh/live.ts'
import { type Api, apiUnavailable, openApi } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { createGround, eventually } from './kube-ground.ts'

const reason = notRun('cluster', 'test/cluster/identity-issuer.test.ts', apiUnavailable())

const TD = 'cluster.example'
const AUDIENCE = `portcullis.dev/${TD}`
const SYSTEM = 'portcullis-system'
const HOUR = 3_600_000
const never = new AbortController().signal
const ground = createGround()
const rotations: Rotation[] = []
const steps: Step['do'][] = []
const denials: string[] = []

const podYaml = (name: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop }
spec:
  serviceAccountName: cart
  initContainers: [{ name: portcullis, image: "sidecar@sha256:1", restartPolicy: Always }]
  containers: [{ name: app, image: app }]
`

describe.skipIf(reason)('two issuer replicas on a real API server', () => {
  let api: Api & AsyncDisposable
  let transport: Transport
  let replicas: [RunningIssuer, RunningIssuer]

  beforeAll(async () => {
    api = await openApi()
    const apply = (yaml: string) => api.kubectl(['apply', '-f', '-'], { stdin: yaml })
    await apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ${SYSTEM}}}`)
    await apply('{apiVersion: v1, kind: Namespace, metadata: {name: shop}}')
    await apply('{apiVersion: v1, kind: ServiceAccount, metadata: {name: cart, namespace: shop}}')
    for (const name of ['cart-1', 'cart-2', 'cart-3', 'cart-4']) await apply(podYaml(name))
    transport = await openTransport({ kind: 'file', path: api.kubeconfig }, ground)
    replicas = await Promise.all([open('a'), open('b')])
  }, 120_000)
  afterAll(async () => {
    for (const replica of replicas ?? []) await replica[Symbol.asyncDispose]()
    await transport?.[Symbol.asyncDispose]()
    await api?.[Symbol.asyncDispose]()
  }, 60_000)

  const open = (name: string) =>
    runIssuer(
      {
        trustDomain: TD,
        audience: AUDIENCE,
        systemNamespace: SYSTEM,
        replica: { pod: `issuer-${name}`, podUid: `0000000${name}`, identity: `issuer-${name}` },
        listen: { host: '127.0.0.1', port: 0 },
        limits: {
          connections: 100,
          streams: 10,
          requestBytes: 16_384,
          responseBytes: 1_048_576,
          connectionAgeMs: 600_000,
          connectionGraceMs: 1_000,
        },
        rules: () => ({
          trustDomain: TD,
          rootTtlMs: 8_760 * HOUR,
          refreshHintS: 300,
          maxTtlMs: { X509CA: HOUR, JWTSVID: 300_000, BundleSigning: 900_000 },
          controlTtlMs: HOUR,
          svidTtlMs: HOUR,
          jwtTtlMs: 300_000,
        }),
        sidecarOf: (pod) => pod.containers.find(({ name: one, init }) => init && one === 'portcullis')?.name,
        grants: () => [],
        rotation: {
          rotations: () => rotations,
          verifiers: () => ({ sequence: 1_000, total: 2, acknowledged: 2, lapsed: 0 }),
          fleetSequence: () => 0,
          record: async ({ rotation, step }) => {
            steps.push(step.do)
            if (step.do === 'complete') rotations.splice(rotations.indexOf(rotation), 1)
          },
        },
        record: {
          issued: () => undefined,
          denied: (_kind, denied) => void denials.push(denied.reason),
          failed: (_kind, why) => void denials.push(why),
          refused: () => undefined,
          pinsCollected: () => undefined,
        },
      },
      transport,
      { ...ground, entropy: randomBytes },
      never,
    )

  const trust = () => {
    const bundle = replicas[0].bundle.current()
    return { trustDomain: TD, roots: bundle.x509Roots }
  }
  const call = async <Q, A>(
    replica: RunningIssuer,
    identity: MeshIdentity | undefined,
    method: Parameters<typeof callUnary<Q, A>>[1],
    request: Q,
  ) => {
    using channel = createMeshChannel({
      target: `127.0.0.1:${replica.port}`,
      identity: createLive(identity),
      trust: createLive(trust()),
      expected: ({ path }) => path.startsWith('/portcullis/operator/issuer/'),
      requestBytes: 65_536,
      responseBytes: 1_048_576,
      now: Date.now,
    })
    return await callUnary(channel.client(), method, request, {
      deadlineMs: Date.now() + 10_000,
      signal: never,
    })
  }
  const tokenOf = async (pod: string, audience = AUDIENCE) => {
    const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod]
    return (
      await api.kubectl(['create', 'token', 'cart', '-n', 'shop', '--audience', audience, ...bound])
    ).trim()
  }
  const control = async (
    replica: RunningIssuer,
    token: string,
    privateKey: KeyObject,
    held?: MeshIdentity,
  ): Promise<MeshIdentity | string> => {
    const answer = await call(replica, held, IssuerService.issueControl, {
      token,
      csr: createCsr(privateKey),
    })
    if (!answer.ok) return `${status[answer.code]} ${answer.why}`
    const id = parseSpiffeId(answer.value.svid?.spiffeId ?? '')
    if (!id || !answer.value.svid) return 'no SVID'
    const { chain, notBeforeMs, notAfterMs } = answer.value.svid
    return { id, chain, privateKey, notBeforeMs, notAfterMs }
  }
  const must = (given: MeshIdentity | string): MeshIdentity => {
    if (typeof given === 'string') throw new Error(given)
    return given
  }
  const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

  test('share one set of keys, and one of them leads', async () => {
    expect(replicas[0].bundle.current()).toEqual(replicas[1].bundle.current())
    expect(replicas.filter((replica) => replica.leading())).toHaveLength(1)
    expect(replicas.map((replica) => replica.ready())).toEqual([true, true])
  })

  test('attest a pod by its bound token, renew by SVID, and give what follows from it', async () => {
    const key = newKey()
    const token = await tokenOf('cart-1')
    const first = must(await control(replicas[0], token, key))
    const uid = (
      await api.kubectl(['get', 'pod', 'cart-1', '-n', 'shop', '-o', 'jsonpath={.metadata.uid}'])
    ).trim()
    expect(first.id.path).toBe(`/portcullis/pod/${uid}`)
    // Another key, at the other replica, with the same token: the pin is in the API server, not in a process.
    expect(await control(replicas[1], token, newKey())).toMatch(/^PERMISSION_DENIED key_pinned/)
    const renewed = must(await control(replicas[1], token, newKey(), first))
    const workload = await call(replicas[0], renewed, IssuerService.issueWorkload, {
      csr: createCsr(newKey()),
    })
    if (!workload.ok) throw new Error(workload.why)
    const [svid] = workload.value.svids
    expect(verifyX509Svid(svid?.chain ?? [], trust(), Date.now())).toMatchObject({
      ok: true,
      id: { path: '/ns/shop/sa/cart' },
    })
    const jwt = await call(replicas[1], renewed, IssuerService.issueJwt, {
      audience: ['orders'],
      spiffeId: '',
    })
    if (!jwt.ok) throw new Error(jwt.why)
    const set = JSON.parse(replicas[0].bundle.current().jwtKeys.toString())
    const keys = { keys: set.keys.map(({ use: _, ...one }: { use: string }) => one) }
    const verified = await jwtVerify(jwt.value.svids[0]?.token ?? '', createLocalJWKSet(keys), {
      audience: 'orders',
    })
    expect(verified.payload.sub).toBe(`spiffe://${TD}/ns/shop/sa/cart`)
    // A workload is not the sidecar: with its own SVID nothing more is to be had.
    const [leaf] = svid?.chain ?? []
    expect(leaf).toBeDefined()
    const signing = await call(replicas[0], renewed, SignerService.signBundle, { digest: Buffer.alloc(32) })
    expect(signing).toMatchObject({ ok: false, code: status.PERMISSION_DENIED })
  })

  test('let one of two keys in that race with one token at two replicas', async () => {
    const token = await tokenOf('cart-2')
    const outcomes = await Promise.all(replicas.map((replica) => control(replica, token, newKey())))
    expect(outcomes.filter((one) => typeof one === 'object')).toHaveLength(1)
    expect(outcomes.filter((one) => typeof one === 'string')).toEqual([expect.stringMatching(/key_pinned/)])
  })

  test.each<readonly [string, () => Promise<string>, RegExp]>([
    [
      'a token for the API server',
      () => tokenOf('cart-3', 'https://kubernetes.default.svc'),
      /UNAUTHENTICATED token_audience/,
    ],
    [
      'a token that is not bound to a pod',
      async () =>
        (await api.kubectl(['create', 'token', 'cart', '-n', 'shop', '--audience', AUDIENCE])).trim(),
      /PERMISSION_DENIED token_unbound/,
    ],
    [
      'a token whose signature was changed',
      async () => `${(await tokenOf('cart-3')).slice(0, -8)}AAAAAAAA`,
      /UNAUTHENTICATED (token_refused|review_error)/,
    ],
  ])('refuse %s', async (_name, token, want) => {
    expect(await control(replicas[0], await token(), newKey())).toMatch(want)
  })

  test('refuse a pod that is gone, token and SVID alike', async () => {
    const token = await tokenOf('cart-3')
    const svid = must(await control(replicas[0], token, newKey()))
    await api.kubectl(['delete', 'pod', 'cart-3', '-n', 'shop', '--grace-period=0', '--force'])
    expect(await control(replicas[0], token, newKey())).toMatch(/token_refused|review_error|pod_gone/)
    const workload = await call(replicas[0], svid, IssuerService.issueWorkload, { csr: createCsr(newKey()) })
    expect(workload).toMatchObject({ ok: false, code: status.PERMISSION_DENIED })
  })

  test('keep private keys in three Secrets, and nowhere else', async () => {
    const found = await api.kubectl(['get', 'secrets,configmaps', '-A', '-o', 'json'])
    const items = JSON.parse(found).items as {
      kind: string
      metadata: { name: string }
      data?: object
      binaryData?: object
    }[]
    const holders = items
      .filter((one) => Object.keys({ ...one.data, ...one.binaryData }).some((name) => name.endsWith('.key')))
      .map((one) => `${one.kind} ${one.metadata.name}`)
    expect(holders.toSorted()).toEqual([
      'Secret portcullis-bundle-keys',
      'Secret portcullis-ca',
      'Secret portcullis-jwt-keys',
    ])
  })

  test('go on with a rotation when the leader leaves in the middle of it', async () => {
    const before = await readKeys(kubeCabinet(transport, SYSTEM), never)
    const old = before && activeOf(before.keys.X509CA.ring)?.id
    rotations.push({ uid: 'r1', name: 'r1', use: 'X509CA', action: 'Rotate', override: false, createdMs: 1 })
    await eventually(() => steps.includes('prepare'))
    const leader = replicas.findIndex((replica) => replica.leading())
    const gone = replicas[leader]
    await gone?.[Symbol.asyncDispose]()
    const other = replicas[1 - leader]
    if (!gone || !other) throw new Error('no leader')
    await eventually(() => other.leading(), 30_000)
    await eventually(async () => {
      const now = await readKeys(kubeCabinet(transport, SYSTEM), never)
      return now !== undefined && activeOf(now.keys.X509CA.ring)?.id !== old
    }, 30_000)
    // The replica that is left signs under the new root within its next reading, and serves on.
    await eventually(() => other.bundle.current().x509Roots.length === 3, 15_000)
    replicas = [other, await open('c')]
    const token = await tokenOf('cart-4')
    const svid = must(await control(replicas[0], token, newKey()))
    const again = must(await control(replicas[1], token, newKey(), svid))
    expect(verifyX509Svid(again.chain, trust(), Date.now()).ok).toBe(true)
  }, 90_000)
})
