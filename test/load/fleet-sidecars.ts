import { Client, type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js'
import {
  FeedService,
  type Held,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { NOTHING, podId } from '../operator/publish/stage.ts'
import { uidOf } from '../operator/state/objects.ts'

/** Many sidecars that do as they are told: acknowledge, say what they hold, come back with full jitter. Several share a connection. */
export interface SimulatedFleet {
  connect(port: number): void
  /** Forgets what it holds, as containers that were restarted. */
  forget(): void
  /** When each got a message that fits, milliseconds since the epoch, sorted; those that lack it are left out. */
  times(what: 'revocations' | 'snapshot' | 'heartbeat', reached: number): readonly number[]
  heartbeats(): number
  close(): void
}

const PER_CONNECTION = 100
const HELD_MS = 10_000
const FIRST_BACKOFF_MS = 1_000
const LAST_BACKOFF_MS = 30_000

const epochMs = (): number => performance.timeOrigin + performance.now()

interface Simulated {
  readonly name: string
  held: Held
  call: ClientDuplexStream<SubscribeRequest, SubscribeResponse> | undefined
  backoffMs: number
  readonly at: Record<'revocations' | 'snapshot' | 'heartbeat', Map<number, number>>
}

export function simulateFleet(size: number): SimulatedFleet {
  const fleet: readonly Simulated[] = Array.from({ length: size }, (_, index) => ({
    name: `p${index}`,
    held: NOTHING,
    call: undefined,
    backoffMs: FIRST_BACKOFF_MS,
    at: { revocations: new Map(), snapshot: new Map(), heartbeat: new Map() },
  }))
  let clients: readonly Client[] = []
  let epoch = 0
  const beats = { count: 0 }
  const saying = setInterval(() => {
    for (const { call, held } of fleet) call?.write({ request: { $case: 'held', held } })
  }, HELD_MS)

  const open = (one: Simulated, index: number, of: number): void => {
    const client = clients[Math.floor(index / PER_CONNECTION)]
    if (!client || of !== epoch) return
    const metadata = new Metadata()
    metadata.set('id', podId(uidOf(`shop/${one.name}`)))
    const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
    one.call = call
    call.on('data', (message: SubscribeResponse) => receive(one, message, beats))
    call.on('error', () => {
      if (one.call !== call || of !== epoch) return
      one.call = undefined
      setTimeout(() => open(one, index, of), Math.random() * one.backoffMs)
      one.backoffMs = Math.min(LAST_BACKOFF_MS, one.backoffMs * 2)
    })
    call.write({ request: { $case: 'hello', hello: { held: one.held, version: 'simulated' } } })
  }
  const hangUp = (): void => {
    epoch++
    for (const one of fleet) {
      one.call?.cancel()
      one.call = undefined
    }
    for (const client of clients) client.close()
  }
  return {
    connect(port) {
      hangUp()
      clients = Array.from(
        { length: Math.ceil(size / PER_CONNECTION) },
        () =>
          new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
            'grpc.use_local_subchannel_pool': 1,
          }),
      )
      const of = epoch
      fleet.forEach((one, index) => {
        one.backoffMs = FIRST_BACKOFF_MS
        for (const times of Object.values(one.at)) times.clear()
        // Full jitter on the first try too, as the sidecar does after a stream that ended.
        setTimeout(() => open(one, index, of), Math.random() * FIRST_BACKOFF_MS)
      })
    },
    forget() {
      for (const one of fleet) one.held = NOTHING
    },
    times: (what, reached) =>
      fleet.flatMap(({ at }) => at[what].get(reached) ?? []).sort((one, other) => one - other),
    heartbeats: () => beats.count,
    close() {
      clearInterval(saying)
      hangUp()
    },
  }
}

function receive(one: Simulated, { nonce, response }: SubscribeResponse, beats: { count: number }): void {
  const at = epochMs()
  const note = (what: keyof Simulated['at'], reached: number): void => {
    if (!one.at[what].has(reached)) one.at[what].set(reached, at)
  }
  switch (response?.$case) {
    case 'revocations':
      one.held = { ...one.held, revocationHead: response.revocations.head }
      note('revocations', response.revocations.head)
      break
    case 'snapshot':
      one.held = { ...one.held, generation: response.snapshot.generation }
      note('snapshot', response.snapshot.generation)
      break
    case 'delta':
      one.held = { ...one.held, generation: response.delta.generation }
      note('snapshot', response.delta.generation)
      break
    case 'trustBundle':
      one.held = { ...one.held, trustSequence: response.trustBundle.sequence }
      break
    case 'heartbeat':
      beats.count++
      note('heartbeat', response.heartbeat.revocationHead)
      break
    default:
  }
  if (nonce) one.call?.write({ request: { $case: 'ack', ack: { nonce, held: one.held } } })
}
