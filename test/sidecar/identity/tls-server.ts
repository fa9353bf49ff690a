import { X509Certificate } from 'node:crypto'
import { createServer, type TLSSocket } from 'node:tls'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { KeyAndChain } from './authority.ts'

// gRPC over real TLS that asks for a client certificate, takes any or none, and knows whose it was.

/** SPIFFE ID of the client certificate behind what grpc-js calls the peer of a call; undefined without one. */
export type PeerOf = (peer: string) => string | undefined

export interface TlsServer extends AsyncDisposable {
  readonly port: number
  /** Connections that stand. */
  connections(): number
  /** From now on shows another certificate to whoever connects anew. */
  show(credential: KeyAndChain): void
  /** Stops listening and drops every connection, until `up`. */
  down(): Promise<void>
  up(): Promise<void>
}

export async function openTlsServer(
  credential: KeyAndChain,
  addServices: (server: Server, peerOf: PeerOf) => void,
): Promise<TlsServer> {
  const peers = new Map<string, string | undefined>()
  const server = new Server()
  addServices(server, (peer) => peers.get(peer))
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const sockets = new Set<TLSSocket>()
  const listener = createServer({
    key: credential.keyPem,
    cert: credential.chainPem,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
  })
  listener.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    const { raw } = socket.getPeerCertificate()
    const id = raw && new X509Certificate(raw).subjectAltName?.replace(/^URI:/, '')
    peers.set(`${socket.remoteAddress}:${socket.remotePort}`, id)
    injector.injectConnection(socket)
  })
  listener.on('tlsClientError', () => undefined)
  let port = 0
  const up = async () => {
    await new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve))
    port = (listener.address() as { port: number }).port
  }
  const down = async () => {
    const closed = new Promise((resolve) => listener.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await up()
  return {
    port,
    connections: () => sockets.size,
    show: ({ keyPem, chainPem }) => listener.setSecureContext({ key: keyPem, cert: chainPem }),
    up,
    down,
    async [Symbol.asyncDispose]() {
      if (listener.listening) await down()
      server.forceShutdown()
    },
  }
}
