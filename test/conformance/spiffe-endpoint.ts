import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
} from '@grpc/grpc-js'
import { SpiffeWorkloadAPIService as Api } from '../../contracts/gen/standard/spiffe/workload/workload.ts'
import type { Served } from '../../contracts/own-socket.ts'
import { createWorkloadApi } from '../../sidecar/identity/workload-api.ts'
import { openWorkloadApi } from '../../sidecar/identity/workload-server.ts'
import { listenUnix } from '../../sidecar/serve/listeners.ts'
import { identitiesIn } from '../sidecar/identity/identities.ts'
import type { World } from '../sidecar/identity/identity-world.ts'

// The endpoint under test on a real socket, and a client that says exactly what it is told to.

export interface Endpoint extends AsyncDisposable {
  readonly path: string
  readonly parts: ReturnType<typeof identitiesIn>
  readonly drain: () => void
  readonly server: Served
}

export async function openEndpoint(world: World): Promise<Endpoint> {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-spiffe-'))
  const path = join(directory, 'workload.sock')
  const draining = new AbortController()
  const parts = identitiesIn(world)
  const api = createWorkloadApi({ ...parts, wall: world.ports.wall, draining: draining.signal })
  const listen = (accept: Parameters<typeof listenUnix>[2]) =>
    listenUnix({ path, mode: 0o666, directoryMode: undefined }, 64, accept)
  const server = await openWorkloadApi(api, listen, (ms, signal) => delay(ms, undefined, { signal }))
  return {
    path,
    parts,
    server,
    drain: () => draining.abort(),
    async [Symbol.asyncDispose]() {
      draining.abort()
      await server[Symbol.asyncDispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

export const GREETING = [['workload.spiffe.io', 'true']] as const
export type Greeting = readonly (readonly [name: string, value: string])[]

export interface Refused {
  readonly code: number
  readonly details: string
}

export interface ApiClient extends Disposable {
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    greeting?: Greeting,
  ): Promise<Response>
  stream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    greeting?: Greeting,
  ): Stream<Response>
}

export interface Stream<T> {
  /** The next message; rejects with how the stream was refused. */
  next(): Promise<T>
  /** Everything that has come and was not taken yet. */
  waiting(): number
  cancel(): void
}

export function connect(path: string): ApiClient {
  const client = new Client(`unix:${path}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  })
  return {
    unary: ({ path, requestSerialize, responseDeserialize }, request, greeting = GREETING) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadataOf(greeting),
          (error, answer) => (error || !answer ? reject(error) : resolve(answer)),
        )
      }),
    stream: ({ path, requestSerialize, responseDeserialize }, request, greeting = GREETING) => {
      const metadata = metadataOf(greeting)
      const call = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
      )
      return streamOf(call)
    },
    [Symbol.dispose]: () => client.close(),
  }
}

function metadataOf(greeting: Greeting): Metadata {
  const metadata = new Metadata()
  for (const [name, value] of greeting) metadata.add(name, value)
  return metadata
}

function streamOf<T>(call: ClientReadableStream<T>): Stream<T> {
  const arrived: T[] = []
  let refused: unknown
  let wake = () => {}
  call.on('data', (message: T) => {
    arrived.push(message)
    wake()
  })
  call.on('error', (error: Error) => {
    refused = error
    wake()
  })
  return {
    waiting: () => arrived.length,
    cancel: () => call.cancel(),
    async next() {
      const end = performance.now() + 5_000
      for (;;) {
        const message = arrived.shift()
        if (message !== undefined) return message
        if (refused) throw refused
        if (performance.now() > end) throw new Error('nothing came within 5 s')
        await Promise.race([new Promise<void>((resolve) => (wake = resolve)), delay(100)])
      }
    },
  }
}

/** Every method with a question that is fine by itself, by the name of the standard. */
export const METHODS: readonly (readonly [
  name: string,
  ask: (client: ApiClient, greeting: Greeting) => Promise<unknown>,
])[] = [
  ['FetchX509SVID', (client, greeting) => client.stream(Api.fetchX509Svid, {}, greeting).next()],
  ['FetchX509Bundles', (client, greeting) => client.stream(Api.fetchX509Bundles, {}, greeting).next()],
  [
    'FetchJWTSVID',
    (client, greeting) => client.unary(Api.fetchJwtsvid, { audience: ['a'], spiffeId: '' }, greeting),
  ],
  ['FetchJWTBundles', (client, greeting) => client.stream(Api.fetchJwtBundles, {}, greeting).next()],
  [
    'ValidateJWTSVID',
    (client, greeting) => client.unary(Api.validateJwtsvid, { audience: 'a', svid: 'x.y.z' }, greeting),
  ],
]
