import { lookup as resolve } from 'node:dns/promises'
import { get as httpGet, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { get as httpsGet } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { reachOf } from './fetch/addresses.ts'
import { parseTime } from './time.ts'

/** What one GET may do. */
export interface FetchRules {
  /** Plain http, and addresses of the loopback. */
  readonly insecureLoopback: boolean
  /** RFC 1918, ULA and carrier-grade NAT addresses: identity providers inside the cluster. */
  readonly privateAddresses: boolean
  readonly maxBytes: number
  /** Certificate authorities to trust in place of the system's, PEM. */
  readonly ca?: string
  /** Entity tag of what is held already (RFC 9110 section 13.1.2). */
  readonly etag?: string
  /** What the body has to be; JSON unless stated. */
  readonly expects?: 'json' | 'gzip'
}

/** What came: a document, or the word that the one with the given entity tag is still current. */
export type Fetched =
  | { readonly changed: true; readonly body: Buffer; readonly etag: string | undefined }
  | { readonly changed: false }

/** The answer had another status than the one asked for. */
export class WrongStatus extends Error {
  /** Milliseconds after which the server wants to be asked again (RFC 9110 section 10.2.3); 0 when it did not say. */
  readonly retryAfterMs: number
  constructor(message: string, retryAfterMs: number) {
    super(message)
    this.name = 'WrongStatus'
    this.retryAfterMs = retryAfterMs
  }
}

const TOTAL_MS = 5_000
const TYPES = {
  json: /^application\/(?:json|jwk-set\+json|[a-z0-9.+-]+\+json)\s*(?:;|$)/i,
  gzip: /^application\/(?:gzip|x-gzip|x-tar|octet-stream|vnd\.openpolicyagent\.bundles)\s*(?:;|$)/i,
} as const
const ETAG_LENGTH = 256

/** One GET of a JSON document, by the rules of `fetchVersion`. */
export async function fetchDocument(text: string, rules: FetchRules, signal: AbortSignal): Promise<Buffer> {
  const { etag: _etag, ...unconditional } = rules
  const fetched = await fetchVersion(text, unconditional, signal)
  if (!fetched.changed) throw new Error(`${text}: answered "not modified" to a question without condition`)
  return fetched.body
}

/**
 * One GET, hardened against being turned inward: https (plain http to loopback only, and only when allowed), no redirect, no
 * proxy, the resolved address checked and pinned, 200 (or 304 to an entity tag) only, the expected type only, bounded size and time.
 */
export async function fetchVersion(text: string, rules: FetchRules, signal: AbortSignal): Promise<Fetched> {
  const url = allowedUrl(text, rules)
  const within = AbortSignal.any([signal, AbortSignal.timeout(TOTAL_MS)])
  const address = await allowedAddress(url, rules, within)
  const response = await request(url, { address, rules }, within)
  try {
    if (response.statusCode === 304 && rules.etag !== undefined) return { changed: false }
    checkResponse(response, text, rules.expects ?? 'json')
    const body = await readBody(response, text, rules.maxBytes)
    const { etag } = response.headers
    return { changed: true, body, etag: etag && etag.length <= ETAG_LENGTH ? etag : undefined }
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

interface Road {
  readonly address: string
  readonly rules: FetchRules
}

function request(url: URL, { address, rules }: Road, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve: done, reject } = Promise.withResolvers<IncomingMessage>()
  const family = isIP(address)
  // The address that was checked is the one connected to: a second resolution could answer differently (DNS rebinding).
  const lookup: LookupFunction = (_host, options, callback) => {
    if (options.all) callback(null, [{ address, family }])
    else callback(null, address, family)
  }
  const headers = {
    accept: rules.expects === 'gzip' ? 'application/gzip' : 'application/json',
    ...(rules.etag === undefined ? {} : { 'if-none-match': rules.etag }),
  }
  const options = { signal, lookup, agent: false, headers } as const
  const trust = rules.ca === undefined ? {} : { ca: rules.ca }
  const outgoing =
    url.protocol === 'https:'
      ? httpsGet(url, { ...options, ...trust, rejectUnauthorized: true }, done)
      : httpGet(url, options, done)
  outgoing.once('error', (cause) => reject(new Error(`${url.href}: ${cause.message}`, { cause })))
  return promise
}

function checkResponse(response: IncomingMessage, url: string, expects: keyof typeof TYPES): void {
  const { statusCode = 0, headers } = response
  if (statusCode >= 300 && statusCode < 400)
    throw new Error(`${url}: answered with a redirect, which is not followed`)
  if (statusCode !== 200)
    throw new WrongStatus(`${url}: answered with status ${statusCode}`, retryAfter(headers))
  if (!TYPES[expects].test(headers['content-type'] ?? '')) {
    throw new Error(
      `${url}: its content type is not ${expects === 'json' ? 'JSON' : 'that of a gzip archive'}`,
    )
  }
}

// Seconds, or a date: that one is compared with the server's own date, so that no clock of ours has to agree with it.
function retryAfter({ 'retry-after': text = '', date = '' }: IncomingHttpHeaders): number {
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : momentOf(text) - momentOf(date)
  return ms > 0 ? ms : 0
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

// RFC 9110 section 5.6.7, the one form that is sent today.
function momentOf(httpDate: string): number {
  const [, day = '', name = '', year = '', clock = ''] =
    /^[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) ([\d:]{8}) GMT$/.exec(httpDate) ?? []
  const month = String(MONTHS.indexOf(name) + 1).padStart(2, '0')
  return parseTime(`${year}-${month}-${day}T${clock}Z`) ?? Number.NaN
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
