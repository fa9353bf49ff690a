import { randomBytes } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  RefreshFamiliesService as Families,
  RefusalReason,
} from '../../contracts/gen/portcullis/tokens/v1/refresh_families.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { CLIENT_KEY, jktOf } from '../fixtures/proofs.ts'
import { addressOf, openInstalled } from './installed.ts'
import {
  type AppPod,
  askAll,
  askProven,
  boundToken,
  proofFor,
  readyPods,
  SEEN_BY_CALLERS,
  untilAll,
} from './pods.ts'
import { accessPolicy, deployment, tokenIssuer } from './shop.ts'
import { createTable } from './table.ts'
import { AUDIENCE, eventually, ISSUER, NAMESPACE, post, SYSTEM, type World } from './world.ts'

// Tokens in depth on a real cluster: what is asked of them is said in an AccessPolicy, and three replicas that share no store agree.

const reason = notRun('e2e', 'tokens.test.ts', clusterUnavailable())
const table = createTable('Tokens')

let world: World
let pods: readonly AppPod[]
// Address of a pod whose one container has the socket for credentials, and whose other has not.
let bff: string

describe.skipIf(reason)('tokens on the cluster', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    world = await openInstalled('e2e-tokens', ['logout.enabled=true'])
    await world.apply(`${tokenIssuer(world).trimEnd()}\n  logout: { clientIds: [demo-web] }\n`)
    await world.apply(
      accessPolicy(AUDIENCE, [
        `tokens: { externalBaseURL: "${SEEN_BY_CALLERS}", requirements: { senderConstraints: [DPoP] } }`,
      ]),
    )
    await world.apply(deployment(world.images.sample.pinned))
    await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '240s'])
    pods = await readyPods(world, 'shop', 3)
    await world.apply(backend(world.images.sample.pinned))
    bff = await addressOf(world, 'bff')
  }, 900_000)
  afterAll(async () => {
    table.print()
    await world?.[Symbol.asyncDispose]()
  }, 120_000)

  test('a route that asks for DPoP takes no bearer token', async () => {
    const took = await untilAll(pods, { token: await world.idp.mint() }, 'cnf_required')
    table.row('bearer token where DPoP is asked for', took, 'cnf_required on 3/3')
  })

  test('a bound token without its key is of no use', async () => {
    const token = await boundToken(world)
    expect(await askAll(pods, { token })).toEqual(Array(3).fill('cnf_scheme_mismatch'))
  })

  test('each replica takes only proofs with a nonce of its own, so that a captured request passes nowhere', async () => {
    const [first, ...others] = pods
    if (!first) throw new Error('no pod')
    const token = await boundToken(world)
    const challenged = await askProven(first, { token, proof: proofFor(token) })
    expect(challenged).toEqual({ outcome: 'dpop_nonce_required', nonce: expect.stringMatching(/./) })
    const proof = proofFor(token, { claims: { nonce: challenged.nonce } })
    expect((await askProven(first, { token, proof })).outcome).toBe('allow')
    expect((await askProven(first, { token, proof })).outcome).toBe('dpop_replay')
    const elsewhere = await Promise.all(others.map((pod) => askProven(pod, { token, proof })))
    expect(elsewhere.map(({ outcome }) => outcome)).toEqual(others.map(() => 'dpop_nonce_invalid'))
    table.row('a DPoP request, captured and sent to 3 replicas', undefined, 'refused on 3/3')
  })

  test('the credentials services are on the second socket alone, and only the named container has it', async () => {
    const message = Families.revoke.requestSerialize({ family: 'nobody', accessTokens: undefined })
    const from = async (port: number, target: string) =>
      (await called(port, { target, method: Families.revoke.path, message })).code
    expect(await from(NAMED, SOCKET)).toBe(status.OK)
    expect(await from(OTHER, SOCKET)).toBe(status.UNAVAILABLE)
    for (const port of [NAMED, OTHER]) {
      expect(await from(port, '127.0.0.1:7070')).toBe(status.UNIMPLEMENTED)
      expect(await from(port, 'unix:///run/portcullis/check.sock')).toBe(status.UNIMPLEMENTED)
    }
  })

  test('a refresh token that is used twice ends the session on every pod', async () => {
    const [first, second, third] = [newToken(), newToken(), newToken()]
    const sid = `session-${randomBytes(6).toString('hex')}`
    const token = await world.idp.mint({ sid, cnf: { jkt: jktOf(CLIENT_KEY) } })
    expect(await allProven(token)).toEqual(Array(3).fill('allow'))
    await registered(sid, first)
    expect(await rotated(sid, first, second)).toBe('rotated')
    const began = performance.now()
    expect(await rotated(sid, first, third)).toBe(RefusalReason.REFUSAL_REASON_REPLAY)
    await eventually('revoked_sid on 3/3', async () => {
      const outcomes = await allProven(token)
      return outcomes.every((one) => one === 'revoked_sid') ? undefined : outcomes.join()
    })
    table.row(
      'refresh token replayed -> session denied on 3/3',
      (performance.now() - began) / 1000,
      'revoked_sid',
    )
  })

  test('a logout at the provider ends the session on every pod, whichever replica is told', async () => {
    const sid = `session-${randomBytes(6).toString('hex')}`
    const token = await world.idp.mint({ sid, cnf: { jkt: jktOf(CLIENT_KEY) } })
    expect(await allProven(token)).toEqual(Array(3).fill('allow'))
    const [one = '', another = ''] = await controlAddresses()
    const logout = await logoutToken(sid)
    const began = performance.now()
    await answered(200, () => loggedOut(one, logout))
    await eventually('revoked_sid on 3/3', async () => {
      const outcomes = await allProven(token)
      return outcomes.every((outcome) => outcome === 'revoked_sid') ? undefined : outcomes.join()
    })
    table.row(
      'back-channel logout -> session denied on 3/3',
      (performance.now() - began) / 1000,
      'revoked_sid',
    )
    await answered(400, () => loggedOut(another, logout))
    const too = await logoutToken(`${sid}-too`)
    await answered(200, () => loggedOut(another, too))
  })
})

/** OpenID Connect Back-Channel Logout 1.0 section 2.4, as the provider would make it. */
function logoutToken(sid: string): Promise<string> {
  const none = { sub: undefined, client_id: undefined, scope: undefined }
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
  return world.idp.mint({ ...none, aud: 'demo-web', sid, events }, { header: { typ: 'logout+jwt' } })
}

async function controlAddresses(): Promise<readonly string[]> {
  const selector = 'app.kubernetes.io/component=control'
  const template = '{.items[*].status.podIP}'
  const text = await world.kubectl([
    'get',
    'pods',
    '-n',
    SYSTEM,
    '-l',
    selector,
    '-o',
    `jsonpath=${template}`,
  ])
  return text.trim().split(' ')
}

/** With this, as soon as it is not turned away for now: who does not lead hands on, and on a busy machine not always in time. */
async function answered(status: number, ask: () => Promise<number>): Promise<void> {
  let told = 503
  await eventually('an answer other than 503', async () => {
    told = await ask()
    return told === 503 ? 'turned away' : undefined
  })
  expect(told).toBe(status)
}

async function loggedOut(ip: string, token: string): Promise<number> {
  const response = await fetch(`http://${ip}:8445/logout/${NAMESPACE}/idp`, {
    method: 'POST',
    body: new URLSearchParams({ logout_token: token }),
    signal: AbortSignal.timeout(10_000),
  })
  return response.status
}

const NAMED = 8080
const OTHER = 8081
const SOCKET = 'unix:///run/portcullis-credentials/credentials.sock'

interface Call {
  readonly target: string
  readonly method: string
  readonly message: Buffer
}

async function called(port: number, { target, method, message }: Call) {
  const body = { target, method, message: message.toString('base64') }
  const { code, answer } = await post<{ code: number; answer: string }>(bff, '/call', body, port)
  return { code, answer: Buffer.from(answer, 'base64') }
}

async function registered(sid: string, token: Buffer): Promise<void> {
  const message = Families.register.requestSerialize({
    family: sid,
    token,
    subject: { issuer: ISSUER, subject: 'alice', sessionId: sid, clientId: 'demo-web' },
    binding: Buffer.alloc(0),
    expiresAtMs: Date.now() + 3_600_000,
    accessTokenLifetimeMs: 600_000,
    clientFingerprint: Buffer.alloc(0),
  })
  const { code } = await called(NAMED, { target: SOCKET, method: Families.register.path, message })
  expect(code).toBe(status.OK)
}

async function rotated(family: string, presented: Buffer, next: Buffer) {
  const message = Families.rotate.requestSerialize({
    family,
    presented,
    next,
    binding: Buffer.alloc(0),
    graceMs: 0,
    clientFingerprint: Buffer.alloc(0),
  })
  const { answer } = await called(NAMED, { target: SOCKET, method: Families.rotate.path, message })
  const { outcome } = Families.rotate.responseDeserialize(answer)
  return outcome?.$case === 'refused' ? outcome.refused.reason : outcome?.$case
}

// Each pod wants a nonce of its own.
async function allProven(token: string): Promise<readonly string[]> {
  return Promise.all(
    pods.map(async (pod) => {
      const { nonce } = await askProven(pod, { token, proof: proofFor(token) })
      const claims = nonce === '' ? {} : { nonce }
      return (await askProven(pod, { token, proof: proofFor(token, { claims }) })).outcome
    }),
  )
}

function newToken(): Buffer {
  return Buffer.from(randomBytes(32).toString('base64url'))
}

function backend(image: string): string {
  const container = (name: string, port: number) => ({
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    env: [{ name: 'PORT', value: String(port) }],
    resources: { requests: { cpu: '10m', memory: '32Mi' } },
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
  })
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'bff',
      namespace: NAMESPACE,
      labels: { app: 'probe', 'portcullis.dev/inject': 'enabled' },
      annotations: { 'portcullis.dev/credentials': 'app' },
    },
    spec: {
      terminationGracePeriodSeconds: 2,
      containers: [container('app', NAMED), container('other', OTHER)],
    },
  })
}
