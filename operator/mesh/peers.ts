import type { KeyObject } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from '@grpc/grpc-js'
import { type SpiffeId, verifyX509Svid, type X509Trust } from '../../contracts/spiffe.ts'
import type { Now } from '../ports.ts'
import { presentedBy } from './identity.ts'
import type { Live } from './live.ts'

/** Who is at the other end of a connection, verified against the trust bundle of this moment. */
export interface Peer {
  readonly id: SpiffeId
  readonly publicKey: KeyObject
  readonly notAfterMs: number
}

/** The verified peer of a call; `undefined` when it came without a client certificate, or has gone. */
export type PeerOf = (call: { readonly metadata: Metadata }) => Peer | undefined

export interface Peers {
  readonly peerOf: PeerOf
  readonly interceptor: ServerInterceptor
  /** Verifies what the socket presented, and remembers it until it closes; or says why it must be closed. */
  admit(socket: TLSSocket): string | undefined
  /** Closes every connection whose peer does not verify any more: root gone, certificate expired. */
  recheck(): void
  count(): number
}

interface Connection {
  readonly socket: TLSSocket
  readonly chain: readonly Uint8Array[]
  readonly address: string
  readonly id: string
  peer: Peer | undefined
}

export interface PeerRules {
  readonly trust: Live<X509Trust>
  readonly clientCertificate: 'required' | 'optional'
  readonly now: Now
  readonly refused: (why: string) => void
}

/** Set by us on every call, whatever the client sent under this name. */
const CONNECTION = 'portcullis-connection'

/**
 * grpc-js tells a handler no more of a connection than its addresses. The full address pair finds the connection (the remote
 * address alone may be open twice, to two of our addresses, by two processes of a pod), and the call carries its number.
 */
export function createPeers({ trust, clientCertificate, now, refused }: PeerRules): Peers {
  const byAddress = new Map<string, Connection>()
  const byId = new Map<string, Connection>()
  let connections = 0

  const verified = (chain: readonly Uint8Array[]) => verifyX509Svid(chain, trust.current(), now())
  const peerOf: PeerOf = ({ metadata }) => {
    const [id] = metadata.get(CONNECTION)
    return typeof id === 'string' ? byId.get(id)?.peer : undefined
  }
  const interceptor: ServerInterceptor = (_method, call) => {
    const connection = byAddress.get(addressOf(call.getConnectionInfo()))
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        if (!connection) {
          call.sendStatus({ code: status.UNAUTHENTICATED, details: 'the connection has gone' })
          return
        }
        metadata.set(CONNECTION, connection.id)
        next(metadata)
      })
      .build()
    return new ServerInterceptingCall(call, { start: (next) => next(listener) })
  }

  const admit = (socket: TLSSocket): string | undefined => {
    if (socket.alpnProtocol !== 'h2') return 'no HTTP/2'
    const chain = presentedBy(socket)
    const peer = chain.length > 0 ? verified(chain) : undefined
    if (!peer && clientCertificate === 'required') return 'no client certificate'
    if (peer && !peer.ok) return peer.why
    connections += 1
    const connection = { socket, chain, address: addressOf(socket), id: `${connections}`, peer }
    byAddress.set(connection.address, connection)
    byId.set(connection.id, connection)
    socket.once('close', () => {
      byId.delete(connection.id)
      if (byAddress.get(connection.address) === connection) byAddress.delete(connection.address)
    })
    return undefined
  }

  const recheck = (): void => {
    for (const connection of byId.values()) {
      if (!connection.peer) continue
      const peer = verified(connection.chain)
      if (peer.ok) connection.peer = peer
      else {
        connection.peer = undefined
        refused(peer.why)
        connection.socket.destroy()
      }
    }
  }
  return { peerOf, interceptor, admit, recheck, count: () => byId.size }
}

interface Addresses {
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

function addressOf({ localAddress, localPort, remoteAddress, remotePort }: Addresses): string {
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`
}
