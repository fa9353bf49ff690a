import { createSecureContext } from 'node:tls'
import {
  ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { type SpiffeId, verifyX509Svid, type X509Trust } from '../../contracts/spiffe.ts'
import { Fault, type Now } from '../ports.ts'
import { chainOf, type Linked, type MeshIdentity, tlsOptions } from './identity.ts'
import type { Live } from './live.ts'

export interface MeshChannelOptions {
  /** `host:port` or any name that grpc-js resolves. */
  readonly target: string
  /** `undefined`: no certificate is presented (bootstrap). */
  readonly identity: Live<MeshIdentity | undefined>
  readonly trust: Live<X509Trust>
  /** Which servers are meant. A verified SVID of anybody else closes the connection. */
  readonly expected: (server: SpiffeId) => boolean
  readonly requestBytes: number
  readonly responseBytes: number
  readonly now: Now
}

export interface MeshChannel extends Disposable {
  /** The client of this moment. After a change of SVID or bundle it is a new one; calls on the former run to their end. */
  client(): Client
}

export function createMeshChannel(options: MeshChannelOptions): MeshChannel {
  let client: Client | undefined
  const renewed = () => {
    client?.close()
    client = undefined
  }
  const watching = [options.identity.watch(renewed), options.trust.watch(renewed)]
  return {
    client: () => {
      client ??= new Client(options.target, credentials(options), channelOptions(options))
      return client
    },
    [Symbol.dispose]: () => {
      for (const one of watching) one[Symbol.dispose]()
      renewed()
    },
  }
}

/** A method of generated code (ts-proto, generic definitions). */
export interface UnaryMethod<Q, A> {
  readonly path: string
  readonly requestSerialize: (request: Q) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => A
}
export type Answered<A> =
  | { readonly ok: true; readonly value: A }
  /** gRPC status code and text. */
  | { readonly ok: false; readonly code: number; readonly why: string }

/** One unary call within `timeoutMs`. Any status but OK is a value; the signal's abort is thrown. */
export function callUnary<Q, A>(
  client: Client,
  method: UnaryMethod<Q, A>,
  request: Q,
  within: { readonly deadlineMs: number; readonly signal: AbortSignal },
): Promise<Answered<A>> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered<A>>()
  const { signal, deadlineMs } = within
  const done = (error: ServiceError | null, value?: A): void => {
    signal.removeEventListener('abort', cancel)
    if (signal.aborted) reject(signal.reason)
    else if (error) resolve({ ok: false, code: error.code, why: error.details })
    else if (value !== undefined) resolve({ ok: true, value })
    else reject(new Fault('internal', `${method.path}: neither answer nor error`))
  }
  const call: ClientUnaryCall = client.makeUnaryRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    new Metadata(),
    { deadline: deadlineMs },
    done,
  )
  const cancel = () => call.cancel()
  signal.addEventListener('abort', cancel)
  if (signal.aborted) cancel()
  return promise
}

function credentials({ identity, trust, expected, now }: MeshChannelOptions): ChannelCredentials {
  const believed = trust.current()
  const context = createSecureContext(tlsOptions(identity.current(), believed))
  return ChannelCredentials.createFromSecureContext(context, {
    rejectUnauthorized: true,
    // Called after OpenSSL has verified the chain. The name in the address means nothing: the SPIFFE ID is who it is.
    checkServerIdentity: (_host, certificate) => {
      const server = verifyX509Svid(chainOf(certificate as Linked), believed, now())
      if (!server.ok) return new Error(`server certificate: ${server.why}`)
      return expected(server.id) ? undefined : new Error(`unexpected server ${server.id.uri}`)
    },
  })
}

function channelOptions({ requestBytes, responseBytes }: MeshChannelOptions): ChannelOptions {
  return {
    'grpc.max_send_message_length': requestBytes,
    'grpc.max_receive_message_length': responseBytes,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.initial_reconnect_backoff_ms': 250,
    'grpc.max_reconnect_backoff_ms': 5_000,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_http_proxy': 0,
    // A subchannel shared between two channels would be shared between two identities.
    'grpc.use_local_subchannel_pool': 1,
  }
}
