import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from '@grpc/grpc-js'
import {
  FeedService,
  type SubscribeRequest,
  SubscribeResponse,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { FeedStream } from '../../../sidecar/feed/subscribe.ts'

// An operator that says what the test says, on a real gRPC server.

type Request = NonNullable<SubscribeRequest['request']>
export type Response = NonNullable<SubscribeResponse['response']>
type Of<C extends Request['$case']> = Extract<Request, { $case: C }>

/** One stream, seen from the operator. */
export interface Conversation {
  /** Says something under a new nonce, or the given one, and returns it. */
  say(response: Response | undefined, nonce?: string): string
  raw(bytes: Buffer): void
  /** The next request of this kind; what came before it and is of another kind is kept for whoever asks. */
  hear<C extends Request['$case']>(kind: C): Promise<Of<C>>
  /** Everything that was heard and nobody has asked for. */
  heard(): readonly Request[]
  end(): void
  fail(code: number, details: string): void
}

export interface OperatorStub extends AsyncDisposable {
  /** The next stream that is opened. */
  accept(): Promise<Conversation>
  /** As the sidecar's channel does it. */
  open(signal: AbortSignal): Promise<FeedStream>
  /** Cuts every connection without a word. */
  cut(): void
}

export async function openOperator(receiveBytes = 16 * 1024 * 1024): Promise<OperatorStub> {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-feed-'))
  const arrived = createInbox<Conversation>()
  const server = new Server()
  const method = {
    ...FeedService.subscribe,
    responseSerialize: (value: SubscribeResponse | Buffer) =>
      Buffer.isBuffer(value) ? value : Buffer.from(SubscribeResponse.encode(value).finish()),
  }
  let serial = 0
  server.addService(
    { subscribe: method },
    {
      subscribe(call: ServerDuplexStream<SubscribeRequest, SubscribeResponse>) {
        arrived.put(converse(call, () => `n-${++serial}`))
      },
    },
  )
  const inner = join(directory, 'operator.sock')
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${inner}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    )
  })
  const wire = await openWire(join(directory, 'feed.sock'), inner)
  const address = `unix:${join(directory, 'feed.sock')}`
  const clients = new Set<Client>()
  return {
    accept: () => arrived.take(() => true),
    cut: wire.cut,
    async open() {
      const client = new Client(address, credentials.createInsecure(), {
        'grpc.max_receive_message_length': receiveBytes,
        'grpc.use_local_subchannel_pool': 1,
      })
      clients.add(client)
      const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
      const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata())
      stream.on('status', () => client.close())
      return stream
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close()
      server.forceShutdown()
      wire.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

// Something between the two that can be cut.
async function openWire(path: string, to: string): Promise<{ cut(): void; close(): void }> {
  const sockets = new Set<Socket>()
  const wire = createServer((socket) => {
    const onward = connect(to)
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      sockets.add(one)
      one.on('error', () => undefined)
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => wire.listen(path, resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    cut,
    close() {
      cut()
      wire.close()
    },
  }
}

function converse(
  call: ServerDuplexStream<SubscribeRequest, SubscribeResponse>,
  nextNonce: () => string,
): Conversation {
  const inbox = createInbox<Request>()
  call.on('data', ({ request }: SubscribeRequest) => {
    if (request) inbox.put(request)
  })
  call.on('error', () => undefined)
  call.on('end', () => call.end())
  return {
    say(response, nonce = nextNonce()) {
      call.write({ nonce, response })
      return nonce
    },
    raw(bytes) {
      call.write(bytes as unknown as SubscribeResponse)
    },
    hear: (kind) => inbox.take((request): request is Of<typeof kind> => request.$case === kind) as never,
    heard: inbox.left,
    end: () => call.end(),
    fail: (code, details) => void call.emit('error', { code, details }),
  }
}

interface Inbox<T> {
  put(item: T): void
  take(fits: (item: T) => boolean): Promise<T>
  left(): readonly T[]
}

function createInbox<T>(): Inbox<T> {
  const items: T[] = []
  let waiting: { readonly fits: (item: T) => boolean; readonly resolve: (item: T) => void }[] = []
  return {
    left: () => [...items],
    put(item) {
      const one = waiting.find(({ fits }) => fits(item))
      if (!one) return void items.push(item)
      waiting = waiting.filter((other) => other !== one)
      one.resolve(item)
    },
    take(fits) {
      const index = items.findIndex(fits)
      const [item] = index < 0 ? [] : items.splice(index, 1)
      if (item !== undefined) return Promise.resolve(item)
      const { promise, resolve } = Promise.withResolvers<T>()
      waiting.push({ fits, resolve })
      return promise
    },
  }
}
