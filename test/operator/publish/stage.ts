import { setTimeout as sleepMs } from 'node:timers/promises'
import { Client, credentials, Metadata, Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js'
import {
  FeedService,
  type Held,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { AppendOutcome, type AppendResponse } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { TrustBundle } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import { parseSpiffeId } from '../../../contracts/spiffe.ts'
import type { Sleep } from '../../../operator/ports.ts'
import type { PeerOf } from '../../../operator/publish/peer.ts'
import { createPublisher } from '../../../operator/publish/publisher.ts'
import {
  PUBLISHER_DEFAULTS,
  type PublisherConfig,
  type PublisherPorts,
} from '../../../operator/publish/settings.ts'
import { worldOf as compose, type World } from '../../../operator/publish/world.ts'
import type { Cluster } from '../../../operator/state/cluster.ts'
import { allocate, EMPTY_TABLE, type GenerationTable } from '../../../operator/state/generations.ts'
import { digestsOf, projectAll } from '../../../operator/state/projections.ts'
import { EMPTY_LOG, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { uidOf } from '../state/objects.ts'

export const TRUST_DOMAIN = 'cluster.example'
export const NOTHING: Held = {
  generation: 0,
  revocationHead: 0,
  trustSequence: 0,
  policyDigest: Buffer.alloc(0),
}

/** Ends early, like the real one, and keeps no process alive. */
export const sleep: Sleep = (ms, signal) => sleepMs(ms, undefined, { signal, ref: false })

/** Who a call says to be: the test stands in for TLS here. */
export const peerOf: PeerOf = ({ metadata }) => {
  const id = parseSpiffeId(`${metadata.get('id')[0] ?? ''}`)
  return id && { id }
}

export const podId = (uid: string): string => `spiffe://${TRUST_DOMAIN}/portcullis/pod/${uid}`

export function trustBundle(sequence: number): TrustBundle {
  return {
    sequence,
    trustDomain: TRUST_DOMAIN,
    x509Roots: [Buffer.from('root')],
    jwtKeys: Buffer.from('{"keys":[]}'),
    bundleKeys: [],
    refreshHintS: 60,
  }
}

export interface Facts {
  readonly cluster: Cluster
  readonly log?: RevocationLog
  readonly table?: GenerationTable
  readonly trust?: TrustBundle
  readonly blobs?: ReadonlyMap<string, Buffer>
}

/** No replica leads. */
export const NOWHERE: AppendResponse = {
  outcome: AppendOutcome.APPEND_OUTCOME_UNAVAILABLE,
  why: 'no replica leads',
}

/** For tests in which nobody asks for files. */
const ANY_FILE = (): Buffer => Buffer.alloc(1)

/** What the leader would have stored for this cluster. */
export function worldOf({
  cluster,
  log = EMPTY_LOG,
  table = EMPTY_TABLE,
  trust = trustBundle(1),
  blobs,
}: Facts): World {
  const projections = projectAll(cluster)
  return compose(cluster, projections, {
    trustBundle: trust,
    log,
    table: allocate(table, digestsOf(projections)),
    blob: blobs ? (sha256) => blobs.get(sha256) : ANY_FILE,
  })
}

export interface StageOptions {
  readonly config?: Partial<PublisherConfig>
  readonly ports?: Partial<PublisherPorts>
}

/** A publisher behind a real gRPC server on loopback; no TLS, who calls is in the metadata. */
export async function openStage({ config, ports }: StageOptions = {}) {
  const reports: { readonly event: string; readonly facts: unknown }[] = []
  const publisher = createPublisher(
    { trustDomain: TRUST_DOMAIN, ...PUBLISHER_DEFAULTS, ...config },
    {
      now: Date.now,
      monotonic: () => performance.now(),
      random: Math.random,
      sleep,
      report: (event, facts) => reports.push({ event, facts }),
      mayVouch: () => true,
      append: async () => NOWHERE,
      propagated: () => undefined,
      refreshKeys: async () => ({ fetched: false, sha256: '' }),
      recalled: async () => ({ why: 'nobody keeps it', full: false }),
      doubted: () => new Set(),
      ...ports,
    },
  )
  const server = new Server({ 'grpc.max_receive_message_length': 16 * 1024 * 1024 })
  const { definition, implementation } = publisher.service(peerOf)
  server.addService(definition, implementation)
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  const stopping = new AbortController()
  const running = publisher.run(stopping.signal)
  const clients: Scripted[] = []
  return {
    publisher,
    reports,
    port,
    stop: () => stopping.abort(),
    subscribe: (id: string): Scripted => {
      const client = subscribe(port, id)
      clients.push(client)
      return client
    },
    sidecar: (name: string, held: Partial<Held> = {}): Obedient => {
      const client = subscribe(port, podId(uidOf(`shop/${name}`)))
      clients.push(client)
      return obedient(client, held)
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close()
      stopping.abort()
      await running
      server.forceShutdown()
    },
  }
}

type Sendable = NonNullable<SubscribeRequest['request']>
type Case = NonNullable<SubscribeResponse['response']>['$case']
export type Received<C extends Case = Case> = {
  readonly nonce: string
  readonly response: Extract<NonNullable<SubscribeResponse['response']>, { $case: C }>
}

export interface Scripted {
  send(request: Sendable): void
  /** In order of arrival. */
  readonly received: Received[]
  /** The first message of that kind, arrived or to come, that fits. */
  until<C extends Case>(kind: C, fits?: (message: Received<C>['response']) => boolean): Promise<Received<C>>
  readonly ended: Promise<{ readonly code: number; readonly details: string }>
  /** Stops and goes on reading. */
  pause(): void
  resume(): void
  close(): void
  on(told: (message: Received) => void): void
}

const PATIENCE_MS = 10_000

export function subscribe(port: number, id: string): Scripted {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
  })
  const metadata = new Metadata()
  metadata.set('id', id)
  return scripted(client, metadata)
}

/** A sidecar that does what the test says, over any client. */
export function scripted(client: Client, metadata = new Metadata()): Scripted {
  const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
  const call = client.makeBidiStreamRequest<SubscribeRequest, SubscribeResponse>(
    path,
    requestSerialize,
    responseDeserialize,
    metadata,
  )
  const received: Received[] = []
  const listeners = new Set<(message: Received) => void>()
  const { promise: ended, resolve } = Promise.withResolvers<{ code: number; details: string }>()
  call.on('data', (message: Received) => {
    received.push(message)
    for (const told of [...listeners]) told(message)
  })
  call.on('error', (error: ServiceError) => resolve({ code: error.code, details: error.details }))
  call.on('end', () => setImmediate(() => resolve({ code: 0, details: '' })))
  return {
    received,
    ended,
    on: (told) => void listeners.add(told),
    send: (request) => void call.write({ request }),
    pause: () => void call.pause(),
    resume: () => void call.resume(),
    close() {
      call.cancel()
      client.close()
    },
    until(kind, fits = () => true) {
      const suits = (message: Received): boolean =>
        message.response.$case === kind && fits(message.response as never)
      const there = received.find(suits)
      if (there) return Promise.resolve(there as never)
      return new Promise((found, lost) => {
        const timer = setTimeout(() => {
          listeners.delete(told)
          const seen = received.map(({ response }) => response.$case).join(' ')
          lost(new Error(`no ${kind} came; there were: ${seen}`))
        }, PATIENCE_MS)
        const told = (message: Received): void => {
          if (!suits(message)) return
          listeners.delete(told)
          clearTimeout(timer)
          found(message as never)
        }
        listeners.add(told)
      })
    },
  }
}

export interface Obedient extends Scripted {
  readonly held: () => Held
}

/** Says hello, and acknowledges whatever comes as a sidecar does that has nothing against it. */
export function obedient(client: Scripted, having: Partial<Held> = {}): Obedient {
  let held: Held = { ...NOTHING, ...having }
  client.on(({ nonce, response }) => {
    held = { ...held, ...effectOf(response) }
    if (nonce) client.send({ $case: 'ack', ack: { nonce, held } })
  })
  client.send({ $case: 'hello', hello: { held, version: '0' } })
  return { ...client, held: () => held }
}

function effectOf(response: Received['response']): Partial<Held> {
  switch (response.$case) {
    case 'snapshot':
      return { generation: response.snapshot.generation }
    case 'delta':
      return { generation: response.delta.generation }
    case 'revocations':
      return { revocationHead: response.revocations.head }
    case 'trustBundle':
      return { trustSequence: response.trustBundle.sequence }
    default:
      return {}
  }
}

/** Waits until it holds; looks often. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  const until = performance.now() + PATIENCE_MS
  while (!holds()) {
    if (performance.now() > until) throw new Error(`never: ${what}`)
    await sleepMs(5)
  }
}
