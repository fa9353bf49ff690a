import { createHash } from 'node:crypto'
import type { Fetched, FetchRules } from '../../contracts/fetch.ts'
import { type Algorithm, JWKS_LIMITS, parseJwks } from '../../contracts/jwks.ts'
import type { Clocks, Report } from '../ports.ts'

/** Where the keys of one TokenIssuer come from, and how they are used. */
export interface JwksWanted {
  /** `namespace/name` of the TokenIssuer. */
  readonly key: string
  /** Exact value of `iss`. */
  readonly issuer: string
  readonly location:
    | { readonly kind: 'uri'; readonly uri: string }
    | { readonly kind: 'discovery'; readonly uri: string }
    | { readonly kind: 'inline'; readonly document: string }
  readonly algorithms: ReadonlySet<Algorithm>
  readonly refreshMs: number
  readonly maxStaleMs: number
  readonly ca: string | undefined
  readonly privateAddresses: boolean
}

/** A key set that is fit to be believed. */
export interface JwksFound {
  readonly document: Buffer
  /** Hex. */
  readonly sha256: string
  readonly etag: string | undefined
  readonly kids: readonly { readonly kid: string; readonly algorithm: string }[]
  /** Keys that are published and refused, with the reason. */
  readonly refused: readonly string[]
  readonly fetchedAtMs: number
  /** Milliseconds since the epoch; 0 for keys that the object itself holds. */
  readonly notAfterMs: number
}

/** Told of each fetch. `leaked`: the document publishes a secret; the issuer's keys are to be taken away at once. */
export interface JwksListener {
  found(key: string, found: JwksFound): void
  failed(key: string, problem: string, leaked: boolean): void
}

export type FetchVersion = (url: string, rules: FetchRules, signal: AbortSignal) => Promise<Fetched>

export interface JwksNeeds extends Pick<Clocks, 'now' | 'random' | 'sleep'> {
  readonly fetch: FetchVersion
  readonly report: Report
  readonly listener: JwksListener
}

/** Between the starts of two fetches of one issuer: junk `kid`s cost it at most this many requests, and delay a real rotation by no more. */
export const LEAST_GAP_MS = 1_000
const FIRST_BACKOFF_MS = 1_000
const LAST_BACKOFF_MS = 30_000
const JITTER = 0.1

export interface JwksSource {
  /** Fetches on schedule until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Resolves with the set that a fetch brought which began after this call; `undefined` when that fetch failed. */
  refresh(signal: AbortSignal): Promise<JwksFound | undefined>
}

/** Keeps the keys of one issuer current: a schedule, and fetches on demand that all who ask share. `last`: what is held already. */
export function createJwksSource(wanted: JwksWanted, needs: JwksNeeds, last?: JwksFound): JwksSource {
  let held = last
  let startedAt = Number.NEGATIVE_INFINITY
  let next: Promise<JwksFound | undefined> | undefined

  const once = async (signal: AbortSignal): Promise<JwksFound | undefined> => {
    startedAt = needs.now()
    try {
      held = await read(wanted, held, needs, signal)
      needs.listener.found(wanted.key, held)
      return held
    } catch (cause) {
      signal.throwIfAborted()
      const problem = cause instanceof Error ? cause.message : 'unknown'
      needs.listener.failed(wanted.key, problem, cause instanceof Leak)
      return undefined
    }
  }
  const begin = async (signal: AbortSignal): Promise<JwksFound | undefined> => {
    const waitMs = startedAt + LEAST_GAP_MS - needs.now()
    // Bounded on both sides, so that a clock that was set back cannot make anybody wait.
    await needs.sleep(Math.min(Math.max(waitMs, 0), LEAST_GAP_MS), signal)
    next = undefined
    return once(signal)
  }
  // Whoever asks now joins the fetch that has not begun yet: its answer is newer than the question.
  const refresh = (signal: AbortSignal): Promise<JwksFound | undefined> => {
    const mine = next ?? begin(signal)
    next = mine
    // A wait that broke off is joined by nobody.
    mine.catch(() => {
      if (next === mine) next = undefined
    })
    return mine
  }
  return {
    refresh,
    async run(signal) {
      let backoffMs = 0
      while (!signal.aborted) {
        const found = await refresh(signal)
        if (wanted.location.kind === 'inline') return
        backoffMs = found ? 0 : Math.min(LAST_BACKOFF_MS, backoffMs * 2 || FIRST_BACKOFF_MS)
        const spread = 1 + JITTER * (2 * needs.random() - 1)
        await needs.sleep((backoffMs || wanted.refreshMs) * spread, signal)
      }
    },
  }
}

/** The document publishes a private or symmetric key: its issuer's signatures prove nothing any more. */
class Leak extends Error {}

async function read(
  wanted: JwksWanted,
  held: JwksFound | undefined,
  needs: JwksNeeds,
  signal: AbortSignal,
): Promise<JwksFound> {
  const { location } = wanted
  const fetchedAtMs = needs.now()
  const term = { fetchedAtMs, notAfterMs: fetchedAtMs + wanted.maxStaleMs }
  if (location.kind === 'inline') {
    return examine(
      wanted,
      { body: Buffer.from(location.document), etag: undefined },
      { fetchedAtMs, notAfterMs: 0 },
    )
  }
  const rules: FetchRules = {
    insecureLoopback: false,
    privateAddresses: wanted.privateAddresses,
    maxBytes: JWKS_LIMITS.bytes,
    ...(wanted.ca === undefined ? {} : { ca: wanted.ca }),
  }
  const uri =
    location.kind === 'uri'
      ? location.uri
      : await discovered(location.uri, wanted.issuer, needs.fetch, { rules, signal })
  const fetched = await needs.fetch(
    uri,
    held?.etag === undefined ? rules : { ...rules, etag: held.etag },
    signal,
  )
  if (fetched.changed) return examine(wanted, fetched, term)
  if (held) return { ...held, ...term }
  throw new Error(`${uri}: answered "not modified", but nothing is held`)
}

async function discovered(
  uri: string,
  issuer: string,
  fetch: FetchVersion,
  { rules, signal }: { readonly rules: FetchRules; readonly signal: AbortSignal },
): Promise<string> {
  const fetched = await fetch(uri, rules, signal)
  const { issuer: said, jwks_uri: found } = fetched.changed ? jsonObject(fetched.body, uri) : {}
  // OpenID Connect Discovery section 4.3, RFC 8414 section 3.3: the document must be about the very issuer we asked for.
  if (said !== issuer) throw new Error(`${uri}: its "issuer" is not exactly spec.issuer`)
  if (typeof found !== 'string') throw new Error(`${uri}: it has no "jwks_uri"`)
  return found
}

function jsonObject(body: Buffer, uri: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>
  } catch {
    // Falls through to the one refusal below.
  }
  throw new Error(`${uri}: not a JSON object`)
}

/** A stored key set as if it had just been fetched; `undefined` when nothing in it may be believed. */
export function foundIn(
  wanted: JwksWanted,
  stored: { readonly document: Buffer; readonly etag: string } & Pick<
    JwksFound,
    'fetchedAtMs' | 'notAfterMs'
  >,
): JwksFound | undefined {
  const { document, etag, fetchedAtMs, notAfterMs } = stored
  try {
    return examine(wanted, { body: document, etag: etag || undefined }, { fetchedAtMs, notAfterMs })
  } catch {
    return undefined
  }
}

function examine(
  wanted: JwksWanted,
  { body, etag }: { readonly body: Buffer; readonly etag: string | undefined },
  term: Pick<JwksFound, 'fetchedAtMs' | 'notAfterMs'>,
): JwksFound {
  const parsed = parseJwks(body, wanted.algorithms)
  if (!parsed.ok) {
    const why = `the whole key set is refused: ${parsed.why}`
    throw parsed.leaked ? new Leak(why) : new Error(why)
  }
  const refused = parsed.refused.map(({ kid, why }) => `${kid || '(no kid)'}: ${why}`)
  // An empty or spoilt set never replaces a good one: it is a mistake far more often than a message.
  if (parsed.keys.length === 0)
    throw new Error(
      `no usable key${refused[0] ? `; the first is refused because ${refused[0]}` : ', the set is empty'}`,
    )
  return {
    ...term,
    document: body,
    sha256: createHash('sha256').update(body).digest('hex'),
    etag,
    kids: parsed.keys.map(({ kid, algorithm }) => ({ kid, algorithm })),
    refused,
  }
}
