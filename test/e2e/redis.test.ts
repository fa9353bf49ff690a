import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readFact, TRUST_BUNDLE_NAME } from '../../operator/ledger/facts.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { CA_EXTENSIONS, leafExtensions, type Made, make } from '../contracts/spiffe-openssl.ts'
import { freePort } from '../fixtures/free-ports.ts'
import { type RedisServer, redisCli, startRedis } from '../fixtures/redis-server.ts'
import { openInstalled } from './installed.ts'
import { type AppPod, askProven, boundToken, proofFor, readyPods, SEEN_BY_CALLERS } from './pods.ts'
import { accessPolicy, deployment } from './shop.ts'
import { createTable } from './table.ts'
import { AUDIENCE, eventually, NAMESPACE, SYSTEM, TRUST_DOMAIN, type World } from './world.ts'

// A Redis that three injected replicas share: it takes nobody but certificates of this trust domain, and no password is anywhere.

const reason = notRun('e2e', 'redis.test.ts', clusterUnavailable())
const table = createTable('Redis, shared')
const SERVER_NAME = 'redis.shop.example'

let world: World
let redis: RedisServer
let host = ''
let directory = ''
let pods: readonly AppPod[]

const place = (name: string, text: string): string => {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}
const as = (name: string, { pem, keyPem }: Made): readonly string[] => [
  ...['-h', host, '--tls', '--cacert', join(directory, 'servers.pem')],
  ...['--cert', place(`${name}.pem`, pem), '--key', place(`${name}.key`, keyPem)],
]
const leaf = (authority: Made) =>
  make({
    subject: '/CN=pod',
    extensions: leafExtensions(`spiffe://${TRUST_DOMAIN}/ns/shop/sa/x`),
    issuer: authority,
  })

describe.skipIf(reason)('Redis behind three injected replicas', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'portcullis-e2e-redis-'))
    world = await openInstalled('e2e-redis')
    host = world.cluster.hostAddress
    redis = await openRedis()
    await world.kubectl(['patch', 'sidecarprofile', 'default', '--type=merge', '--patch', profile()])
    await eventually('the profile is what pods are given', async () => {
      const { metadata, status } = await world.get('sidecarprofile', 'default')
      const { observedGeneration } = status as unknown as { observedGeneration?: number }
      return observedGeneration === metadata.generation ? undefined : String(observedGeneration)
    })
    const requirements = '{ senderConstraints: [DPoP], sharedReplay: Required }'
    await world.apply(
      accessPolicy(AUDIENCE, [
        `tokens: { externalBaseURL: "${SEEN_BY_CALLERS}", requirements: ${requirements} }`,
      ]),
    )
    await world.apply(deployment(world.images.sample.pinned))
    await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '240s'])
    pods = await readyPods(world, 'shop', 3)
  }, 900_000)
  afterAll(async () => {
    table.print()
    await redis?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  }, 120_000)

  test('every replica is connected with its own SVID; who has none of this trust domain is turned away', async () => {
    // The node hides which pod it is: each has at least one.
    await eventually('a connection of each pod', async () => {
      const others = clients().filter((ip) => ip !== host)
      return others.length >= pods.length ? undefined : others.join()
    })
    const stranger = leaf(make({ subject: '/CN=nobody', extensions: CA_EXTENSIONS }))
    expect(() => redisCli(redis.port, [...as('stranger', stranger), 'ping'])).toThrow()
    table.row('three replicas connected', undefined, 'by SVID; a stranger is turned away')
  })

  test('a proof is taken once by all replicas together, without a nonce', async () => {
    const token = await boundToken(world)
    const [first, ...others] = pods
    if (!first) throw new Error('no pod')
    let proof = ''
    // A part of a Redis that is new to us is not believed to have forgotten nothing until its window has passed.
    const took = await eventually(
      'a fresh proof',
      async () => {
        proof = proofFor(token)
        const { outcome } = await askProven(first, { token, proof })
        return outcome === 'allow' ? undefined : outcome
      },
      240_000,
    )
    const told = new Set<string>()
    // Redis has fifty milliseconds for its word; a replica that stood still for them knows nothing, and denies.
    await eventually('dpop_replay on 3/3', async () => {
      const elsewhere = await Promise.all([first, ...others].map((pod) => askProven(pod, { token, proof })))
      const outcomes = elsewhere.map(({ outcome }) => outcome)
      for (const outcome of outcomes) told.add(outcome)
      return outcomes.every((one) => one === 'dpop_replay') ? undefined : outcomes.join()
    })
    expect(told.difference(new Set(['dpop_replay', 'replay_store_unavailable']))).toEqual(new Set())
    table.row('a captured DPoP request at 3 replicas', took, 'dpop_replay on 3/3')
  })

  test('connections that were cut come again, with the certificate of that moment', async () => {
    const token = await boundToken(world)
    redis.cli('client', 'kill', 'type', 'normal', 'skipme', 'yes')
    const took = await eventually('a fresh proof at every replica', async () => {
      const all = await Promise.all(pods.map((pod) => askProven(pod, { token, proof: proofFor(token) })))
      const outcomes = all.map(({ outcome }) => outcome)
      return outcomes.every((one) => one === 'allow') ? undefined : outcomes.join()
    })
    table.row('connections cut -> allowed again on 3/3', took, 'allow')
  })

  test('without Redis nothing is allowed where all replicas must have been asked', async () => {
    const token = await boundToken(world)
    await redis.kill()
    const told = new Set<string>()
    const took = await eventually('replay_store_unavailable on 3/3', async () => {
      const all = await Promise.all(pods.map((pod) => askProven(pod, { token, proof: proofFor(token) })))
      const outcomes = all.map(({ outcome }) => outcome)
      for (const outcome of outcomes) told.add(outcome)
      return outcomes.every((one) => one === 'replay_store_unavailable') ? undefined : outcomes.join()
    })
    expect(told).not.toContain('allow')
    table.row('Redis killed -> denied on 3/3', took, 'replay_store_unavailable')
  })
})

/** TLS with client certificates, believing this trust domain and whoever administers it. */
async function openRedis(): Promise<RedisServer> {
  const authority = make({ subject: '/CN=servers', extensions: CA_EXTENSIONS })
  const own = make({
    subject: '/CN=redis',
    extensions: [`subjectAltName=DNS:${SERVER_NAME},IP:${host}`, 'extendedKeyUsage=serverAuth'],
    issuer: authority,
  })
  place('servers.pem', authority.pem)
  const administrators = make({ subject: '/CN=administrators', extensions: CA_EXTENSIONS })
  const port = await freePort()
  const config = {
    bind: host,
    port: '0',
    'tls-port': String(port),
    'tls-cert-file': place('server.pem', own.pem),
    'tls-key-file': place('server.key', own.keyPem),
    'tls-ca-cert-file': place('clients.pem', `${await rootsPem()}${administrators.pem}`),
    'tls-auth-clients': 'yes',
    'protected-mode': 'no',
  }
  return startRedis({ port, config, cli: as('administrator', leaf(administrators)) })
}

async function rootsPem(): Promise<string> {
  const text = await world.kubectl(['get', 'configmap', TRUST_BUNDLE_NAME, '-n', SYSTEM, '-o', 'json'])
  const fact = readFact(JSON.parse(text))
  if (!fact.ok || fact.value.kind !== 'trust-bundle') throw new Error('no trust bundle')
  return fact.value.bundle.x509Roots.map((der) => new X509Certificate(der).toString()).join('')
}

function profile(): string {
  const caBundle = readFileSync(join(directory, 'servers.pem'), 'utf8')
  return JSON.stringify({
    spec: { redis: { endpoints: [`${host}:${redis.port}`], caBundle, serverName: SERVER_NAME } },
  })
}

/** Addresses of whoever is connected. */
function clients(): readonly string[] {
  return redis
    .cli('client', 'list')
    .split('\n')
    .map((line) => /\baddr=([\d.]+):/.exec(line)?.[1] ?? '')
}
