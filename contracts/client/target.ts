import { Buffer } from 'node:buffer'

const ACCEPTED = 'unix:///absolute/path, 127.0.0.1:port, [::1]:port or localhost:port'
/** `sun_path` of unix(7) holds 108 bytes, the last of them NUL. */
const SOCKET_PATH_BYTES = 107
const PORT_MAX = 65_535

/**
 * The addresses `target` stands for, as grpc-js spells them, in the order they are tried.
 * `localhost` is never looked up: RFC 6761 section 6.3 says what it is, and a hosts file could say otherwise.
 * Throws a TypeError for anything that could leave this machine, for the socket carries bearer tokens in the clear.
 */
export function parseTarget(target: string): readonly string[] {
  if (typeof target !== 'string') throw new TypeError(`target: give ${ACCEPTED}`)
  if (target.startsWith('unix:')) return [parseSocket(target)]
  const [, host, digits] = /^(127\.0\.0\.1|\[::1\]|localhost):(\d{1,5})$/.exec(target) ?? []
  const port = Number(digits)
  if (host === undefined || port < 1 || port > PORT_MAX) {
    throw new TypeError(
      `target: ${JSON.stringify(target)} is not on this machine's loopback; give ${ACCEPTED}`,
    )
  }
  if (host === '127.0.0.1') return [`ipv4:127.0.0.1:${port}`]
  if (host === '[::1]') return [`ipv6:[::1]:${port}`]
  return [`ipv4:127.0.0.1:${port}`, `ipv6:[::1]:${port}`]
}

function parseSocket(target: string): string {
  const path = /^unix:\/\/(\/[^\p{Cc}]+)$/u.exec(target)?.[1]
  if (path === undefined)
    throw new TypeError(`target: ${JSON.stringify(target)} is no socket path; give ${ACCEPTED}`)
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES) {
    throw new TypeError(
      `target: the socket path is longer than ${SOCKET_PATH_BYTES} bytes, the limit of unix(7)`,
    )
  }
  return `unix://${path}`
}
