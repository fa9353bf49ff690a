import { Buffer } from 'node:buffer'
import type { CheckQuestion, HeaderLine } from './question.ts'

/** What is read of a request of node:http, node:http2, Express or Fastify (its `raw`). */
export interface HttpRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  /** Set by Express and others, which rewrite `url` for nested routers. */
  readonly originalUrl?: string
  readonly rawHeaders: readonly string[]
  readonly socket?: object | null
}

export type HttpQuestion = Required<Pick<CheckQuestion, 'headers' | 'method' | 'url'>> &
  Pick<CheckQuestion, 'peerCertificate'>

const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'dpop'])
/** What a proxy says of its own client's certificate: credentials from a proxy, hearsay from anybody else. */
const HEARSAY: ReadonlySet<string> = new Set(['x-forwarded-client-cert', 'client-cert'])

/**
 * From `rawHeaders`, because `req.headers` keeps only the first of two `Authorization` lines, and the proxy in front may
 * have judged by the other one.
 */
export function readHttp(request: HttpRequest): HttpQuestion {
  const certificate = peerCertificate(request.socket)
  return {
    headers: credentialLines(request.rawHeaders, isAuthorized(request.socket)),
    method: request.method ?? '',
    url: request.originalUrl ?? request.url ?? '',
    ...(certificate === undefined ? {} : { peerCertificate: certificate }),
  }
}

function credentialLines(raw: readonly string[], fromKnownPeer: boolean): HeaderLine[] {
  if (!Array.isArray(raw))
    throw new TypeError('fromHttp: this request has no rawHeaders; give the one of node:http')
  const lines: HeaderLine[] = []
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = String(raw[index]).toLowerCase()
    // Node decodes header bytes as Latin-1; this gives back the bytes received.
    if (CREDENTIALS.has(name) || (fromKnownPeer && HEARSAY.has(name)))
      lines.push({ name, value: Buffer.from(String(raw[index + 1]), 'latin1') })
  }
  return lines
}

/**
 * Whether this application's own TLS has verified the peer's certificate. Anybody can write the name of a proxy into a certificate that
 * nobody verified.
 */
function isAuthorized(socket: object | null | undefined): boolean {
  return socket !== null && socket !== undefined && 'authorized' in socket && socket.authorized === true
}

/** DER of the leaf the caller proved to hold in the TLS handshake; whether its chain is trusted is not asked here. */
function peerCertificate(socket: object | null | undefined): Uint8Array | undefined {
  if (socket === null || socket === undefined || !('getPeerX509Certificate' in socket)) return undefined
  const { getPeerX509Certificate } = socket
  if (typeof getPeerX509Certificate !== 'function') return undefined
  const certificate: { readonly raw: Uint8Array } | undefined = getPeerX509Certificate.call(socket)
  return certificate?.raw
}
