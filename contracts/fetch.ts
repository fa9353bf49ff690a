import { get as httpGet, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { get as httpsGet } from 'node:https'
import { allowedAddress, allowedUrl, JSON_TYPE, pinned, type RoadRules, readBody } from './fetch/road.ts'
import { parseTime } from './time.ts'

/** What one GET may do. */
export interface FetchRules extends RoadRules {
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
  json: JSON_TYPE,
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

interface Road {
  readonly address: string
  readonly rules: FetchRules
}

function request(url: URL, { address, rules }: Road, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve: done, reject } = Promise.withResolvers<IncomingMessage>()
  const headers = {
    accept: rules.expects === 'gzip' ? 'application/gzip' : 'application/json',
    ...(rules.etag === undefined ? {} : { 'if-none-match': rules.etag }),
  }
  const options = { signal, lookup: pinned(address), agent: false, headers } as const
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
