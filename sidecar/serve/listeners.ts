import { chmod, lstat, mkdir, stat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'

export interface UnixListener {
  readonly path: string
  readonly mode: number
  /** Undefined: the directory is a mount that others have read-only, so that its own mode (0777 for an emptyDir) opens nothing. */
  readonly directoryMode: number | undefined
}
/** A loopback address and port; config.ts refuses anything else. */
export interface TcpListener {
  readonly host: '127.0.0.1' | '::1'
  readonly port: number
}

export interface Listening {
  /** Where it listens: the socket path, or `host:port` with the real port. */
  readonly address: string
  /** Stops accepting and soon drops connections that never say a word; the others stay. */
  close(): Promise<void>
  /** Drops every connection that is left. */
  drop(): void
}

export type Accept = (socket: Socket) => void

/** Listens on a Unix socket. Rejects when somebody else does, or when others could replace the socket. */
export async function listenUnix(to: UnixListener, connections: number, accept: Accept): Promise<Listening> {
  if (to.directoryMode !== undefined) await ownDirectory(dirname(to.path), to.directoryMode)
  await removeStale(to.path)

  const { server, ...end } = serverFor(connections, accept)
  // Bound with no rights for anyone, widened after: there is no moment in which the wrong one may connect.
  const mask = process.umask(0o777)
  try {
    await listening(server, () => server.listen(to.path))
  } finally {
    process.umask(mask)
  }
  await chmod(to.path, to.mode)
  return { address: to.path, ...end }
}

/** Listens on loopback. Rejects when the port is taken. */
export async function listenTcp(to: TcpListener, connections: number, accept: Accept): Promise<Listening> {
  const { server, ...end } = serverFor(connections, accept)
  await listening(server, () => server.listen({ host: to.host, port: to.port, exclusive: true }))
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : to.port
  const host = to.host === '::1' ? '[::1]' : to.host
  return { address: `${host}:${port}`, ...end }
}

/** How long a new connection may stay silent, milliseconds. */
const FIRST_BYTE_MS = 5_000
/** The same once we are draining: its first bytes may be under way. */
const LAST_CALL_MS = 250

// A connection is handed on once it has said something. A silent one costs a place for a few seconds, and no HTTP/2 session.
function serverFor(connections: number, accept: Accept) {
  const open = new Set<Socket>()
  const silent = new Set<Socket>()
  const server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) => {
    open.add(socket)
    silent.add(socket)
    const dropSilently = () => socket.destroy()
    socket.once('close', () => {
      open.delete(socket)
      silent.delete(socket)
    })
    socket.on('error', dropSilently)
    socket.setTimeout(FIRST_BYTE_MS, dropSilently)
    socket.once('data', (first) => {
      silent.delete(socket)
      socket.setTimeout(0)
      socket.off('timeout', dropSilently)
      socket.pause()
      socket.unshift(first)
      accept(socket)
    })
  })
  server.maxConnections = connections
  return {
    server,
    close: () => {
      for (const socket of silent) socket.setTimeout(LAST_CALL_MS)
      return closed(server)
    },
    drop: () => {
      for (const socket of open) socket.destroy()
    },
  }
}

function listening(server: Server, listen: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.once('listening', () => {
    server.off('error', reject)
    resolve()
  })
  listen()
  return promise
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}

async function ownDirectory(directory: string, mode: number): Promise<void> {
  const created = await mkdir(directory, { recursive: true, mode })
  if (created) await chmod(directory, mode)
  await refuseOpenDirectory(directory)
}

async function refuseOpenDirectory(directory: string): Promise<void> {
  const { mode } = await stat(directory)
  const writableByAll = (mode & 0o002) !== 0
  const sticky = (mode & 0o1000) !== 0
  if (writableByAll && !sticky) {
    throw new Error(
      `listen.unix: everyone may write to ${directory} and replace the socket; use a directory of its own`,
    )
  }
}

// A socket left behind by a killed process is removed; one that answers belongs to somebody and is left alone.
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (!found) return
  if (!found.isSocket())
    throw new Error(`listen.unix: ${path} exists and is not a socket; remove it or choose another path`)
  const outcome = await probe(path)
  if (outcome !== 'ECONNREFUSED') {
    throw new Error(
      `listen.unix: ${path} is in use by another process (probe: ${outcome}); stop it or choose another path`,
    )
  }
  await unlink(path)
}

function probe(path: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect(path)
  socket.once('connect', () => resolve('connected'))
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'))
  return promise.finally(() => socket.destroy())
}
