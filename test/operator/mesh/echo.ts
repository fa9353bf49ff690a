import { Metadata, type ServerDuplexStream, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import type { X509Trust } from '../../../contracts/spiffe.ts'
import { createMeshChannel, type MeshChannelOptions } from '../../../operator/mesh/channel.ts'
import type { MeshIdentity } from '../../../operator/mesh/identity.ts'
import { createLive, type Source } from '../../../operator/mesh/live.ts'
import type { PeerOf } from '../../../operator/mesh/peers.ts'
import { type MeshServer, type MeshServerOptions, openMeshServer } from '../../../operator/mesh/server.ts'
import { TD } from '../identity/domain.ts'

const bytes = { serialize: (text: string) => Buffer.from(text), parse: (raw: Buffer) => raw.toString() }
const method = (path: string, stream: boolean) => ({
  path,
  requestStream: stream,
  responseStream: stream,
  requestSerialize: bytes.serialize,
  requestDeserialize: bytes.parse,
  responseSerialize: bytes.serialize,
  responseDeserialize: bytes.parse,
})
export const WHO = method('/test.Echo/Who', false)
export const LIVE = method('/test.Echo/Live', true)

const echo = (peerOf: PeerOf) => [
  {
    definition: { who: WHO, live: LIVE },
    implementation: {
      who: (call: ServerUnaryCall<string, string>, answer: sendUnaryData<string>) =>
        answer(null, peerOf(call)?.id.path ?? 'nobody'),
      live: (call: ServerDuplexStream<string, string>) => {
        call.on('data', (text: string) => call.write(`${text} ${peerOf(call)?.id.path ?? 'nobody'}`))
        call.on('end', () => call.end())
      },
    },
  },
]

export interface Bench extends AsyncDisposable {
  readonly server: MeshServer
  readonly identity: Source<MeshIdentity>
  readonly trust: Source<X509Trust>
  readonly refused: string[]
  readonly target: string
}

export const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(signal.reason)
    })
  })

export async function openBench(
  first: { readonly identity: MeshIdentity; readonly trust: X509Trust },
  options: Partial<MeshServerOptions> = {},
): Promise<Bench> {
  const identity = createLive(first.identity)
  const trust = createLive(first.trust)
  const refused: string[] = []
  const server = await openMeshServer({
    listen: { host: '127.0.0.1', port: 0 },
    services: echo,
    identity,
    trust,
    clientCertificate: 'required',
    limits: {
      connections: 20,
      streams: 100,
      requestBytes: 1_024,
      responseBytes: 1_024,
      connectionAgeMs: 600_000,
      connectionGraceMs: 1_000,
    },
    now: Date.now,
    sleep,
    refused: (why) => refused.push(why),
    ...options,
  })
  const target = `127.0.0.1:${server.port}`
  return {
    server,
    identity,
    trust,
    refused,
    target,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

export function channelTo(
  bench: Bench,
  identity: MeshIdentity | undefined,
  change: Partial<MeshChannelOptions> = {},
) {
  return createMeshChannel({
    target: bench.target,
    identity: createLive(identity),
    trust: createLive(bench.trust.current()),
    expected: ({ uri }) => uri.startsWith(`spiffe://${TD}/portcullis/operator/issuer/`),
    requestBytes: 1_024,
    responseBytes: 1_024,
    now: Date.now,
    ...change,
  })
}

export const metadata = (values: Readonly<Record<string, string>>): Metadata => {
  const made = new Metadata()
  for (const [name, value] of Object.entries(values)) made.set(name, value)
  return made
}
