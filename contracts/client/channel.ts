import { type ChannelOptions, Client, connectivityState, credentials } from '@grpc/grpc-js'
import { after } from './timing.ts'

/** A sidecar on this machine answers in microseconds; one that takes a second to greet is not there. */
const CONNECT_MS = 1000

/** Nothing is left to a default: several of grpc-js's are meant for servers far away. */
const OPTIONS: ChannelOptions = {
  // A question is at most 64 KiB, an envelope adds a few bytes; an answer is far smaller.
  'grpc.max_send_message_length': 66_560,
  'grpc.max_receive_message_length': 131_072,
  // HTTP_PROXY and friends are inherited by every pod; a proxy must never see a token on its way to localhost.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // A question is asked once: a retry in the library would outlive the deadline here.
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
  // Finds a sidecar that is stopped rather than dead, whose socket stays open.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1000,
}

const HOPELESS: ReadonlySet<connectivityState> = new Set([
  connectivityState.TRANSIENT_FAILURE,
  connectivityState.SHUTDOWN,
])

export interface ChannelEvents {
  readonly ready: (client: Client) => void
  /** No connection; nothing more will be heard from this channel. */
  readonly failed: () => void
  /** The server said goodbye or vanished: calls under way may still finish, new ones belong elsewhere. */
  readonly leaving: () => void
}

/** Starts to connect, once. Reconnecting means opening another channel. Returns how to close this one. */
export function openChannel(address: string, events: ChannelEvents): () => void {
  const client = new Client(address, credentials.createInsecure(), OPTIONS)
  const channel = client.getChannel()
  const stopWaiting = after(CONNECT_MS, fail)
  let phase: 'connecting' | 'ready' | 'over' = 'connecting'

  function step(): void {
    if (isOver()) return
    // Asking for a connection would revive a channel that is leaving.
    const state = channel.getConnectivityState(phase === 'connecting')
    if (state === connectivityState.READY) arrive()
    else if (phase === 'ready') leave()
    else if (HOPELESS.has(state)) fail()
    if (!isOver()) channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, step)
  }

  function isOver(): boolean {
    return phase === 'over'
  }

  function arrive(): void {
    if (phase === 'ready') return
    phase = 'ready'
    stopWaiting()
    events.ready(client)
  }

  function leave(): void {
    phase = 'over'
    events.leaving()
  }

  function fail(): void {
    close()
    events.failed()
  }

  function close(): void {
    phase = 'over'
    stopWaiting()
    client.close()
  }

  // Events never arrive before the caller holds what it needs to handle them.
  queueMicrotask(step)
  return close
}
