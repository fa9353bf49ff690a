import { type FetchRules, WrongStatus } from '../../contracts/fetch.ts'
import { JWKS_LIMITS, parseJwks } from '../../contracts/jwks.ts'
import type { FetchDocument, Monotonic, Random, Report, Sleep } from '../ports.ts'
import type { JwksLocation, JwksSourceConfig } from '../settings.ts'
import { readBounded } from './bounded-file.ts'

export interface JwksSourceNeeds {
  readonly fetch: FetchDocument
  readonly now: Monotonic
  readonly sleep: Sleep
  readonly random: Random
  readonly report: Report
  /** Told of every document that is fit to be believed. Resolves to whether it was installed. */
  readonly publish: (issuer: string, document: Buffer) => Promise<boolean>
}

export interface JwksSource {
  readonly issuer: string
  /** A fetch that begins now, or right after the one under way. `false` when nothing usable could be had, or the issuer asked to be
   *  left alone for a while (Retry-After, at most 60 s). */
  refresh(signal: AbortSignal): Promise<boolean>
  /** Keeps refreshing ahead of time until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Why the last attempt failed; empty after a success. */
  problem(): string
  /** Monotonic milliseconds of the last success. */
  fetchedAt(): number | undefined
  readonly counts: { ok: number; failed: number }
}

const NO_KEYS = Buffer.alloc(0)
const FIRST_BACKOFF_MS = 1_000
const LAST_BACKOFF_MS = 60_000
/** An issuer may keep us away for so long at most: else one wrong header ends all hope of a new key. */
const RETRY_AFTER_MAX_MS = 60_000
const AHEAD = 0.8
const JITTER = 0.1

export function createJwksSource(config: JwksSourceConfig, needs: JwksSourceNeeds): JwksSource {
  const counts = { ok: 0, failed: 0 }
  let problem = 'not fetched yet'
  let fetchedAt: number | undefined
  let flight: Promise<boolean> | undefined
  let notBefore = Number.NEGATIVE_INFINITY

  const fetchOnce = async (signal: AbortSignal): Promise<boolean> => {
    try {
      const document = await readDocument(config, needs.fetch, signal)
      const refusal = unfit(document, config, needs.report)
      // Whoever read what we have just read can sign: not even the keys we already had may be believed any longer.
      if (refusal?.leaked) await needs.publish(config.issuer, NO_KEYS)
      if (refusal) throw new Error(refusal.why)
      if (!(await needs.publish(config.issuer, document))) throw new Error('the new keys were not installed')
      counts.ok++
      problem = ''
      fetchedAt = needs.now()
      return true
    } catch (cause) {
      counts.failed++
      if (cause instanceof WrongStatus)
        notBefore = needs.now() + Math.min(RETRY_AFTER_MAX_MS, cause.retryAfterMs)
      problem = cause instanceof Error ? cause.message : 'unknown'
      needs.report('jwks_refresh_failed', { issuer: config.issuer, problem })
      return false
    }
  }
  const start = (signal: AbortSignal): Promise<boolean> => {
    if (needs.now() < notBefore) return Promise.resolve(false)
    const started = fetchOnce(signal).finally(() => {
      if (flight === started) flight = undefined
    })
    flight = started
    return started
  }
  // A fetch under way may have been answered before a key was published; it can join nobody who asks for that key.
  const refresh = (signal: AbortSignal): Promise<boolean> =>
    flight ? flight.then(() => flight ?? start(signal)) : start(signal)
  return {
    issuer: config.issuer,
    counts,
    refresh,
    problem: () => problem,
    fetchedAt: () => fetchedAt,
    async run(signal) {
      let backoffMs = problem ? FIRST_BACKOFF_MS : 0
      while (!signal.aborted) {
        const spread = 1 + JITTER * (2 * needs.random() - 1)
        const pauseMs = (backoffMs || config.refreshMs * AHEAD) * spread
        await needs.sleep(Math.max(pauseMs, notBefore - needs.now()), signal)
        const fetched = await (flight ?? start(signal))
        backoffMs = fetched ? 0 : Math.min(LAST_BACKOFF_MS, backoffMs * 2 || FIRST_BACKOFF_MS)
      }
    },
  }
}

async function readDocument(
  config: JwksSourceConfig,
  fetch: FetchDocument,
  signal: AbortSignal,
): Promise<Buffer> {
  const { location } = config
  if (location.kind === 'file') return readBounded(location.path, JWKS_LIMITS.bytes)
  const rules: FetchRules = {
    insecureLoopback: config.insecureLoopback,
    privateAddresses: config.privateAddresses,
    maxBytes: JWKS_LIMITS.bytes,
  }
  if (location.kind === 'uri') return fetch(location.uri, rules, signal)
  const metadata: unknown = parse(await fetch(location.uri, rules, signal), location.uri)
  const { issuer, jwks_uri: uri } = metadata as { issuer?: unknown; jwks_uri?: unknown }
  // OpenID Connect Discovery section 4.3, RFC 8414 section 3.3: the document must be about the very issuer we asked for.
  if (issuer !== config.issuer)
    throw new Error(`${location.uri}: its "issuer" is not exactly the configured one`)
  if (typeof uri !== 'string') throw new Error(`${location.uri}: it has no "jwks_uri"`)
  return fetch(uri, rules, signal)
}

function parse(document: Buffer, uri: string): object {
  try {
    const value: unknown = JSON.parse(document.toString('utf8'))
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // Falls through to the one refusal below.
  }
  throw new Error(`${uri}: not a JSON object`)
}

interface Unfit {
  readonly why: string
  /** The document publishes a secret. */
  readonly leaked: boolean
}

// An empty or spoilt set never replaces a good one: it is a mistake far more often than a message.
function unfit(document: Buffer, config: JwksSourceConfig, report: Report): Unfit | undefined {
  const where = locationName(config.location)
  const parsed = parseJwks(document, config.algorithms)
  if (!parsed.ok) {
    if (parsed.leaked) report('jwks_secret_published', { issuer: config.issuer, problem: parsed.why })
    return { why: `${where}: the whole key set is refused: ${parsed.why}`, leaked: parsed.leaked }
  }
  for (const { kid, why } of parsed.refused) report('jwk_refused', { issuer: config.issuer, kid, why })
  if (parsed.keys.length > 0) return undefined
  const [first] = parsed.refused
  const why = first ? `; the first is refused because ${first.why}` : ', it is empty'
  return { why: `${where}: no usable key in the set${why}`, leaked: false }
}

export function locationName(location: JwksLocation): string {
  return location.kind === 'file' ? location.path : location.uri
}
