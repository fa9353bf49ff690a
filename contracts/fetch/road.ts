import { lookup as resolve } from 'node:dns/promises'
import type { IncomingMessage } from 'node:http'
import { isIP, type LookupFunction } from 'node:net'
import { reachOf } from './addresses.ts'

/** Where outgoing requests may lead. */
export interface RoadRules {
  /** Plain http, and addresses of the loopback. */
  readonly insecureLoopback: boolean
  /** RFC 1918, ULA and carrier-grade NAT addresses: identity providers inside the cluster. */
  readonly privateAddresses: boolean
}

/** The URL that may be asked: https, or plain http where the loopback is allowed; without credentials. Throws an Error that names it. */
export function allowedUrl(text: string, rules: RoadRules): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw new Error(`${text}: not a URL`)
  if (url.username || url.password) throw new Error(`${url.origin}: a URL with credentials is refused`)
  if (url.protocol === 'https:') return url
  if (url.protocol === 'http:' && rules.insecureLoopback) return url
  throw new Error(
    `${text}: only https is allowed; plain http needs allowInsecureLoopback and a loopback address`,
  )
}

/** The one address of `url` that may be connected to, checked. Throws an Error when it leads inward. */
export async function allowedAddress(url: URL, rules: RoadRules, signal: AbortSignal): Promise<string> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const address = isIP(host) ? host : await resolved(host, signal)
  const reach = reachOf(address)
  const allowed =
    reach === 'public'
      ? url.protocol === 'https:'
      : (reach === 'loopback' && rules.insecureLoopback) ||
        (reach === 'private' && rules.privateAddresses && url.protocol === 'https:')
  if (allowed) return address
  const remedy =
    reach === 'private' ? '; set allowPrivateAddresses for an identity provider inside the cluster' : ''
  throw new Error(
    `${url.origin}: its address is ${reach}, which is refused over ${url.protocol.slice(0, -1)}${remedy}`,
  )
}

// The resolver has no deadline of its own; ours must count for it too.
async function resolved(host: string, signal: AbortSignal): Promise<string> {
  const { promise: over, reject } = Promise.withResolvers<never>()
  const end = () => reject(new Error(`${host}: its address could not be found in time`))
  signal.addEventListener('abort', end, { once: true })
  try {
    const { address } = await Promise.race([resolve(host), over])
    return address
  } finally {
    signal.removeEventListener('abort', end)
  }
}

/** A resolver that knows this address and no other: a second resolution could answer differently (DNS rebinding). */
export function pinned(address: string): LookupFunction {
  const family = isIP(address)
  return (_host, options, callback) => {
    if (options.all) callback(null, [{ address, family }])
    else callback(null, address, family)
  }
}

/** The whole body, or an Error as soon as it is larger than allowed. */
export async function readBody(response: IncomingMessage, url: string, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) throw new Error(`${url}: larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Content types of JSON documents (RFC 8259 section 11, RFC 6839 section 3.1). */
export const JSON_TYPE = /^application\/(?:json|jwk-set\+json|[a-z0-9.+-]+\+json)\s*(?:;|$)/i
