import { type Client, type ClientDuplexStream, Metadata } from '@grpc/grpc-js'
import {
  FeedService,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { verifyX509Svid } from '../../contracts/spiffe.ts'
import type { Now, Random, Report, Sleep } from '../ports.ts'
import type { IdentitySettings } from '../settings.ts'
import type { ControlIdentity } from './control.ts'
import type { Credential } from './credential.ts'
import { problemOf } from './issuer.ts'
import { createRenewer } from './renewal.ts'
import { connectOperator } from './transport.ts'
import type { TrustState } from './trust.ts'

export type FeedStream = ClientDuplexStream<SubscribeRequest, SubscribeResponse>

/** The way to the operator's feed, as this pod's control identity. */
export interface FeedChannel {
  /** A stream of its own connection. Waits for the control identity; what goes wrong after that, the stream tells. */
  open(signal: AbortSignal): Promise<FeedStream>
  /** Renews connections: after each rotation of the own credential, and when the server's is not trusted any more. */
  run(signal: AbortSignal): Promise<void>
}

export interface FeedChannelNeeds {
  readonly control: ControlIdentity
  readonly trust: TrustState
  readonly wall: Now
  readonly sleep: Sleep
  readonly random: Random
  readonly report: Report
}

interface Connected {
  readonly client: Client
  readonly own: Credential
  readonly serverChain: () => readonly Uint8Array[] | undefined
}

/** A snapshot with 32 key sets of 256 KiB, and as much again. */
const MESSAGE_BYTES = 16 * 1024 * 1024
const CONNECT_MS = 10_000
/** How long the other end may take to end a stream that we have ended. */
const GOODBYE_MS = 2_000
const LOOK_AGAIN_MS = 30_000

export function createFeedChannel(settings: IdentitySettings, needs: FeedChannelNeeds): FeedChannel {
  const { control, trust, wall, sleep, report } = needs
  const active = new Map<FeedStream, Connected>()
  let spare: Connected | undefined

  const connect = (own: Credential): Connected => {
    let serverChain: readonly Uint8Array[] | undefined
    const proven = (chain: readonly Uint8Array[]): void => {
      serverChain = chain
    }
    const to = { to: settings.feed, role: 'control', trust: trust.current, own, wall, proven } as const
    return { client: connectOperator(to, OPTIONS), own, serverChain: () => serverChain }
  }
  const takeSpare = (own: Credential): Connected | undefined => {
    const taken = spare
    spare = undefined
    if (taken?.own === own) return taken
    taken?.client.close()
    return undefined
  }
  // Only what was verified under roots that are trusted now, and shows the credential that is ours now.
  const sound = ({ own, serverChain }: Connected): boolean => {
    const chain = serverChain()
    return own === control.current() && (!chain || verifyX509Svid(chain, trust.current(), wall()).ok)
  }
  const stale = (): boolean =>
    control.current() !== undefined && [...active.values()].some((one) => !sound(one))
  const replace = async (signal: AbortSignal): Promise<void> => {
    const own = await credential(control, signal)
    const next = connect(own)
    await ready(next.client, sleep, signal).catch((cause: unknown) => {
      next.client.close()
      throw cause
    })
    spare?.client.close()
    spare = next
    // The old stream ends only now that the new connection stands: its end makes the subscriber open the next one at once.
    for (const [stream, one] of active) {
      if (one.own === own && sound(one)) continue
      stream.end()
      sleep(GOODBYE_MS, signal).then(
        () => stream.cancel(),
        () => undefined,
      )
      active.delete(stream)
    }
  }
  const renewer = createRenewer(
    {
      dueInMs: () => (stale() ? 0 : LOOK_AGAIN_MS),
      renew: replace,
      failed: (cause, retryMs) =>
        report('feed_reconnect_failed', { problem: problemOf(cause), retryMs: Math.round(retryMs) }),
    },
    needs,
  )
  control.watch(renewer.nudge)
  trust.watch(renewer.nudge)
  return {
    async open(signal) {
      const own = await credential(control, signal)
      const connected = takeSpare(own) ?? connect(own)
      const stream = subscribe(connected.client, signal)
      active.set(stream, connected)
      stream.on('status', () => {
        active.delete(stream)
        connected.client.close()
      })
      return stream
    },
    async run(signal) {
      await renewer.run(signal)
      spare?.client.close()
      spare = undefined
    },
  }
}

const OPTIONS = {
  'grpc.max_receive_message_length': MESSAGE_BYTES,
  'grpc.max_send_message_length': MESSAGE_BYTES,
  // A connection whose other end is silently gone is noticed within half a minute.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 5_000,
} as const

function subscribe(client: Client, signal: AbortSignal): FeedStream {
  const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata(), {})
  const cancel = () => stream.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  if (signal.aborted) cancel()
  stream.on('status', () => signal.removeEventListener('abort', cancel))
  // Whoever reads it is told as well; here it is only kept from being nobody's.
  stream.on('error', () => undefined)
  return stream
}

async function credential(control: ControlIdentity, signal: AbortSignal): Promise<Credential> {
  for (;;) {
    signal.throwIfAborted()
    const own = control.current()
    if (own) return own
    await changed(control, signal)
  }
}

function changed(control: ControlIdentity, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = () => resolve()
  const unwatch = control.watch(done)
  signal.addEventListener('abort', done, { once: true })
  return promise.finally(() => {
    unwatch()
    signal.removeEventListener('abort', done)
  })
}

function ready(client: Client, sleep: Sleep, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const patience = new AbortController()
  client.waitForReady(Number.POSITIVE_INFINITY, (error) => (error ? reject(error) : resolve()))
  sleep(CONNECT_MS, AbortSignal.any([signal, patience.signal])).then(
    () => reject(new Error(`no connection within ${CONNECT_MS / 1000} s`)),
    (cause: unknown) => reject(cause),
  )
  return promise.finally(() => patience.abort())
}
