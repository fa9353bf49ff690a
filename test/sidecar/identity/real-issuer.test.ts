// The sidecar's identity against the operator's own issuer: same wire, same pins, same certificates, and nothing of either is a stand-in
// but the API server.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { X509Trust } from '../../../contracts/spiffe.ts'
import { createBuckets } from '../../../operator/buckets.ts'
import { createIssue } from '../../../operator/identity/issue.ts'
import { issuerServices } from '../../../operator/identity/service.ts'
import { createLive, type Source } from '../../../operator/mesh/live.ts'
import { type MeshServer, openMeshServer } from '../../../operator/mesh/server.ts'
import { validateJwtSvid } from '../../../sidecar/identity/validate-jwt.ts'
import { until } from '../../fixtures/process.ts'
import { type Domain, openDomain, TD } from '../../operator/identity/domain.ts'
import {
  AUDIENCE,
  type MemoryRegistry,
  memoryRegistry,
  POD,
  tokenFor,
} from '../../operator/identity/registry.ts'
import { sleep } from '../../operator/mesh/echo.ts'
import { createFakeTime, type FakeTime } from '../fake-time.ts'
import { identitiesIn } from './identities.ts'

// Short, so that several lives fit into the hour for which the server's certificate is valid by the real clock too.
const LIFE_MS = 600_000
const CONTROL = `spiffe://${TD}/portcullis/pod/${POD.uid}`
const WORKLOAD = `spiffe://${TD}/ns/shop/sa/cart`

let time: FakeTime
let domain: Domain
let serverSvid: ReturnType<Domain['svid']>
let registry: MemoryRegistry
let server: MeshServer
let trust: Source<X509Trust>
let denials: string[]
let issued: string[]
/** Connections that were ended for what they showed. */
let refused: string[]
let directory: string
let life: AbortController
let parts: ReturnType<typeof identitiesIn>
let failures: string[]

beforeEach(async () => {
  time = createFakeTime(Date.now())
  domain = await openDomain()
  serverSvid = domain.svid('/portcullis/operator/issuer/i-1')
  registry = memoryRegistry(POD)
  ;[denials, issued, failures, refused] = [[], [], [], []]
  life = new AbortController()
  directory = mkdtempSync(join(tmpdir(), 'portcullis-real-'))
  writeFileSync(join(directory, 'token'), tokenFor())
  trust = createLive(domain.trust())
  server = await openIssuer(0)
  parts = startSidecar()
})
afterEach(async () => {
  life.abort()
  await server[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

function openIssuer(port: number): Promise<MeshServer> {
  const generous = createBuckets({ burst: 1_000, perSecond: 1 }, () => 0)
  const rules = {
    trustDomain: TD,
    audience: AUDIENCE,
    systemNamespace: 'portcullis-system',
    sidecarOf: () => 'portcullis',
    perPod: generous,
    perNode: generous,
    controlTtlMs: LIFE_MS,
    svidTtlMs: LIFE_MS,
    jwtTtlMs: 300_000,
  }
  const { authority } = domain
  const issue = createIssue({ authority, registry, rules: () => rules, grants: () => [], now: time.now })
  const record = {
    issued: (kind: string) => void issued.push(kind),
    denied: (kind: string, { reason }: { readonly reason: string }) => void denials.push(`${kind} ${reason}`),
    failed: (kind: string, why: string) => void denials.push(`${kind} failed: ${why}`),
  }
  return openMeshServer({
    listen: { host: '127.0.0.1', port },
    services: (peerOf) => issuerServices({ issue, authority, record, trustDomain: TD }, peerOf),
    identity: createLive(serverSvid),
    trust,
    clientCertificate: 'optional',
    limits: {
      connections: 20,
      streams: 100,
      requestBytes: 65_536,
      responseBytes: 524_288,
      connectionAgeMs: 600_000,
      connectionGraceMs: 1_000,
    },
    now: time.now,
    sleep,
    refused: (why) => void refused.push(why),
  })
}

function startSidecar(): ReturnType<typeof identitiesIn> {
  const to = { host: '127.0.0.1', port: server.port }
  const { uid, name, namespace, serviceAccount } = POD
  const settings = {
    trustDomain: TD,
    audience: AUDIENCE,
    issuer: to,
    feed: to,
    anchors: domain.trust().roots,
    tokenFile: join(directory, 'token'),
    anchorsFile: join(directory, 'anchors.pem'),
    pod: { uid, name, namespace, serviceAccount },
  }
  const report = (event: string, facts: Readonly<Record<string, unknown>> = {}) => {
    if (event === 'svid_failed') failures.push(String(facts['problem']))
  }
  const ports = {
    wall: time.now,
    sleep: time.sleep,
    random: () => 0.5,
    report,
    lifetime: life.signal,
    draining: life.signal,
  }
  return identitiesIn({ settings, ports, lifetime: life.signal })
}

const count = (kind: string, n: number) =>
  until(`${n} ${kind}`, () => (issued.filter((one) => one === kind).length >= n ? true : undefined)).catch(
    (cause: unknown) => {
      throw new Error(`${cause}: ${denials.join()} ${failures.join()}`)
    },
  )
const held = () => until('an SVID', () => (parts.workload.state().kind === 'held' ? true : undefined))

test('bootstrap, workload SVID and JWT-SVID', async () => {
  await count('workload', 1)
  await held()
  expect(parts.control.current()?.id.uri).toBe(CONTROL)
  const state = parts.workload.state()
  expect(state.kind === 'held' && state.svids.map(({ id }) => id.uri)).toEqual([WORKLOAD])
  const [svid] = await parts.jwt.fetch(['api'], '')
  expect(validateJwtSvid(svid?.token ?? '', 'api', parts.trust.current(), time.now())).toMatchObject({
    ok: true,
    spiffeId: WORKLOAD,
  })
  expect(parts.trust.current().sequence).toBe(domain.reading().bundle.sequence)
  expect([denials, failures]).toEqual([[], []])
})

test('renewals move the pin with them, one after the other, without one refusal', async () => {
  await count('workload', 1)
  for (const n of [2, 3, 4]) {
    await time.advance(LIFE_MS / 2 + 1_000)
    await Promise.all([count('control', n), count('workload', n)])
  }
  expect([denials, failures]).toEqual([[], []])
})

test('gone until everything lapsed, the issuer takes the bootstrap with the pinned key', async () => {
  await count('workload', 1)
  await time.advance(LIFE_MS / 2 + 1_000)
  await Promise.all([count('control', 2), count('workload', 2)])
  const { port } = server
  await server[Symbol.asyncDispose]()
  await time.advance(LIFE_MS + 60_000)
  expect(parts.control.current()).toBeUndefined()
  const before = failures.length
  await until('a failure of a bootstrap', async () => {
    await time.advance(1_000)
    return failures.length > before + 1 || undefined
  })
  server = await openIssuer(port)
  await until('another', async () => {
    await time.advance(1_000)
    return parts.control.current()
  })
  expect(denials).toEqual([])
})

test('an issuer that does not know our root any more is not hammered, and then asked with the token alone', async () => {
  await count('workload', 1)
  await held()
  const other = await openDomain()
  trust.set(other.trust())
  await time.advance(LIFE_MS / 2 + 1_000)
  await until('a failure', () => failures[0])
  expect(failures[0]).toMatch(/^UNAVAILABLE: /)
  // Three connections a call, and at most one call of each kind is under way.
  expect(refused.length).toBeLessThanOrEqual(3 * (failures.length + 2))
  await until('another', async () => {
    await time.advance(1_000)
    return issued.filter((kind) => kind === 'control').length > 1 || undefined
  })
  expect(parts.control.current()).toBeDefined()
})

test('another key with the same token is refused and told, and the sidecar’s own goes on', async () => {
  await count('workload', 1)
  const thief = startSidecar()
  await until('a refusal', () => failures[0])
  expect(denials[0]).toBe('control key_pinned')
  expect(failures[0]).toMatch(/^PERMISSION_DENIED: key_pinned: another key of this pod/)
  expect(thief.control.current()).toBeUndefined()
  await time.advance(LIFE_MS / 2 + 1_000)
  await count('control', 2)
  expect(parts.control.current()).toBeDefined()
})

test('pins that were lost are made again, and no identity is given up meanwhile', async () => {
  await count('workload', 1)
  await held()
  registry.pinned.clear()
  const states = new Set<string>()
  parts.workload.watch(() => states.add(parts.workload.state().kind))
  await time.advance(2 * 60_000)
  await expect(parts.jwt.fetch(['api'], '')).rejects.toThrow()
  await count('control', 2)
  await until('a token', () => parts.jwt.fetch(['api'], '').catch(() => undefined))
  await time.advance(LIFE_MS / 2)
  await count('workload', 2)
  expect([...states]).toEqual(['held'])
})
