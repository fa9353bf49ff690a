import { hash } from 'node:crypto'
import type { ServerDuplexStream } from '@grpc/grpc-js'
import {
  FeedService,
  type Snapshot,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { TrustBundle } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { KeyAndChain } from './authority.ts'
import { openTlsServer, type TlsServer } from './tls-server.ts'

// An operator's feed over mutual TLS that tells one snapshot and keeps the lease alive.

export interface Told {
  bundle: TrustBundle
  readonly snapshot: Snapshot
  readonly files: ReadonlyMap<string, Uint8Array>
}

export interface OperatorFeedServer extends TlsServer {
  /** Who subscribed, in order. */
  readonly peers: readonly (string | undefined)[]
  /** Problems of nacks. */
  readonly nacks: readonly string[]
}

type Response = NonNullable<SubscribeResponse['response']>

const BEAT_MS = 200
const PART = 64 * 1024

export async function openOperatorFeed(told: Told, credential: KeyAndChain): Promise<OperatorFeedServer> {
  const peers: (string | undefined)[] = []
  const nacks: string[] = []
  const server = await openTlsServer(credential, (grpc, peerOf) => {
    grpc.addService(FeedService, {
      subscribe(call: ServerDuplexStream<SubscribeRequest, SubscribeResponse>) {
        peers.push(peerOf(call.getPeer()))
        converse(call, told, nacks)
      },
    })
  })
  return { ...server, peers, nacks }
}

function converse(
  call: ServerDuplexStream<SubscribeRequest, SubscribeResponse>,
  { bundle, snapshot, files }: Told,
  nacks: string[],
): void {
  let serial = 0
  const say = (response: Response, nonce = `n-${++serial}`) => call.write({ nonce, response })
  const beat = () => say({ $case: 'heartbeat', heartbeat: { revocationHead: 1, atMs: Date.now() } }, '')
  const beating = setInterval(beat, BEAT_MS)
  call.on('data', ({ request }: SubscribeRequest) => {
    if (request?.$case === 'nack') nacks.push(...request.nack.problems)
    if (request?.$case === 'want') sendBlob(say, request.want.sha256, files)
    if (request?.$case !== 'hello') return
    say({ $case: 'trustBundle', trustBundle: bundle })
    say({ $case: 'revocations', revocations: { head: 1, base: 0, entries: [], removed: [] } })
    say({ $case: 'snapshot', snapshot })
    beat()
  })
  const stop = () => clearInterval(beating)
  call.on('error', stop)
  call.on('cancelled', stop)
  call.on('end', () => {
    stop()
    call.end()
  })
}

function sendBlob(
  say: (response: Response, nonce: string) => void,
  sha256: Buffer,
  files: ReadonlyMap<string, Uint8Array>,
): void {
  const found = [...files.values()].find((one) => hash('sha256', one, 'buffer').equals(sha256))
  if (!found) return
  const content = Buffer.from(found)
  for (let offset = 0; offset < content.length; offset += PART) {
    const part = content.subarray(offset, offset + PART)
    say({ $case: 'chunk', chunk: { sha256, offset, size: content.length, content: part } }, '')
  }
}
