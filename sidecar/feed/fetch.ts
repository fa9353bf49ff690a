import { lookup as resolve } from 'node:dns/promises'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { get as httpsGet } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import type { FetchDocument, FetchRules } from '../ports.ts'
import { reachOf } from './addresses.ts'

const TOTAL_MS = 5_000
const JSON_TYPES = /^application\/(?:json|jwk-set\+json|[a-z0-9.+-]+\+json)\s*(?:;|$)/i

/**
 * One GET of a JSON document, hardened against being turned inward: https (plain http to loopback only, and only when allowed),
 * no redirect, no proxy, the resolved address checked and pinned, 200 only, JSON only, bounded size and time.
 */
export const fetchDocument: FetchDocument = async (text, rules, signal) => {
  const url = allowedUrl(text, rules)
  const within = AbortSignal.any([signal, AbortSignal.timeout(TOTAL_MS)])
  const address = await allowedAddress(url, rules, within)
  const response = await request(url, address, within)
  try {
    checkResponse(response, text)
    return await readBody(response, text, rules.maxBytes)
  } catch (cause) {
    throw within.aborted && !signal.aborted
      ? new Error(`${text}: no complete answer within ${TOTAL_MS} ms`, { cause })
      : cause
  } finally {
    response.destroy()
  }
}

function allowedUrl(text: string, rules: FetchRules): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw new Error(`${text}: not a URL`)
  if (url.username || url.password) throw new Error(`${url.origin}: a URL with credentials is refused`)
  if (url.protocol === 'https:') return url
  if (url.protocol === 'http:' && rules.insecureLoopback) return url
  throw new Error(
    `${text}: only https is allowed; plain http needs allowInsecureLoopback and a loopback address`,
  )
}

async function allowedAddress(url: URL, rules: FetchRules, signal: AbortSignal): Promise<string> {
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

function request(url: URL, address: string, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve: done, reject } = Promise.withResolvers<IncomingMessage>()
  const family = isIP(address)
  // The address that was checked is the one connected to: a second resolution could answer differently (DNS rebinding).
  const lookup: LookupFunction = (_host, options, callback) => {
    if (options.all) callback(null, [{ address, family }])
    else callback(null, address, family)
  }
  const options = { signal, lookup, agent: false, headers: { accept: 'application/json' } } as const
  const outgoing =
    url.protocol === 'https:'
      ? httpsGet(url, { ...options, rejectUnauthorized: true }, done)
      : httpGet(url, options, done)
  outgoing.once('error', (cause) => reject(new Error(`${url.href}: ${cause.message}`, { cause })))
  return promise
}

function checkResponse(response: IncomingMessage, url: string): void {
  const { statusCode = 0, headers } = response
  if (statusCode >= 300 && statusCode < 400)
    throw new Error(`${url}: answered with a redirect, which is not followed`)
  if (statusCode !== 200) throw new Error(`${url}: answered with status ${statusCode}`)
  if (!JSON_TYPES.test(headers['content-type'] ?? '')) throw new Error(`${url}: its content type is not JSON`)
}

async function readBody(response: IncomingMessage, url: string, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) throw new Error(`${url}: larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
