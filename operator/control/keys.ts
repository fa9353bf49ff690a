import { durationMs } from '../../contracts/crd/duration.ts'
import type { TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import { type Algorithm, algorithmNamed } from '../../contracts/jwks.ts'
import {
  createJwksSource,
  foundIn,
  type JwksFound,
  type JwksListener,
  type JwksNeeds,
  type JwksSource,
  type JwksWanted,
} from '../gather/jwks.ts'
import { writtenKeySet } from '../ledger/facts.ts'
import { keySetName, type StoredKeySet } from '../ledger/key-set-facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Refreshed } from '../publish/refresh.ts'
import { type KeysSeen, keyNews, refreshAsked } from '../reconcile/token-issuer.ts'
import { createMetadataKeeping } from './metadata.ts'

/** Keeps the key sets of all TokenIssuers current, once for the whole cluster. Only for the leader, whose writes are fenced. */
export interface KeyKeeping {
  /** Starts, restarts and ends polling so that these issuers are polled. */
  want(issuers: readonly TokenIssuer[]): void
  /** As `refresh` of the source. */
  refresh(key: string, signal: AbortSignal): Promise<Refreshed>
  seen(key: string): KeysSeen | undefined
}

export interface KeyKeepingNeeds extends Omit<JwksNeeds, 'listener'> {
  readonly ledger: Ledger
  /** Of the leader's term. */
  readonly term: AbortSignal
  readonly changed: (key: string) => void
  /** Worth an Event on the TokenIssuer. */
  readonly news: (issuer: TokenIssuer, note: string, warning: boolean) => void
}

interface Kept {
  issuer: TokenIssuer
  readonly text: string
  readonly maxStaleMs: number
  readonly source: JwksSource
  readonly ending: AbortController
  seen: KeysSeen
}

const ALL_GONE = Buffer.alloc(0)
const NOTHING_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

export function createKeyKeeping(needs: KeyKeepingNeeds): KeyKeeping {
  const kept = new Map<string, Kept>()
  const shelf = createShelf(needs)
  const listener = createListener(kept, shelf, needs)
  const metadata = createMetadataKeeping(needs)

  const start = (issuer: TokenIssuer, wanted: JwksWanted, text: string): void => {
    const stored = shelf.stored(wanted.key)
    const last = stored && wanted.location.kind !== 'inline' ? foundIn(wanted, stored) : undefined
    const source = createJwksSource(wanted, { ...needs, listener }, last)
    const ending = new AbortController()
    const refreshedNow = issuer.status?.jwks?.refreshedNow ?? ''
    const seen = last ? { ...seenOf(last), refreshedNow } : { ...NOT_YET, refreshedNow }
    kept.set(wanted.key, { issuer, text, source, ending, seen, maxStaleMs: wanted.maxStaleMs })
    source.run(AbortSignal.any([needs.term, ending.signal])).catch(() => undefined)
  }
  const stop = (key: string): void => {
    kept.get(key)?.ending.abort()
    kept.delete(key)
  }
  const keep = (issuer: TokenIssuer): void => {
    const wanted = wantedOf(issuer)
    const text = JSON.stringify({ ...wanted, algorithms: [...wanted.algorithms] })
    const before = kept.get(wanted.key)
    if (before?.text === text) before.issuer = issuer
    else {
      stop(wanted.key)
      start(issuer, wanted, text)
    }
    const now = kept.get(wanted.key)
    if (now) serveAnnotation(now, needs)
  }
  return {
    want(issuers) {
      const names = new Set(issuers.map(keyOf))
      for (const key of kept.keys()) if (!names.has(key)) stop(key)
      for (const issuer of issuers) keep(issuer)
      shelf.keepOnly(names)
      metadata.want(issuers)
    },
    async refresh(key, signal) {
      const found = await kept.get(key)?.source.refresh(AbortSignal.any([signal, needs.term]))
      return { fetched: found !== undefined, sha256: found?.sha256 ?? '' }
    },
    seen(key) {
      const one = kept.get(key)
      return one && { ...one.seen, metadata: metadata.seen(key) }
    },
  }
}

function createListener(kept: ReadonlyMap<string, Kept>, shelf: Shelf, needs: KeyKeepingNeeds): JwksListener {
  return {
    found(key, now) {
      const one = kept.get(key)
      if (!one) return
      const before = one.seen
      one.seen = { ...seenOf(now), refreshedNow: before.refreshedNow }
      if (before.fetchedAtMs > 0 && before.sha256 !== now.sha256) {
        const [old, current] = [before, one.seen].map(({ kids }) => kids.map(({ kid }) => kid))
        for (const note of keyNews(old ?? [], current ?? [])) needs.news(one.issuer, note, false)
      }
      const worth = worthWriting(shelf.stored(key), now, one.maxStaleMs)
      if (now.notAfterMs !== 0 && worth) shelf.store(storedOf(key, now))
      needs.changed(key)
    },
    failed(key, problem, leaked) {
      const one = kept.get(key)
      if (!one) return
      if (one.seen.problem !== problem) needs.news(one.issuer, problem, true)
      const taken = leaked ? { kids: [], sha256: NOTHING_SHA256 } : {}
      one.seen = { ...one.seen, problem, ...taken }
      // Whoever read what we have just read can sign: not even the keys already held may be believed any longer.
      if (leaked) shelf.store(nothing(key, needs.now()))
      needs.changed(key)
    },
  }
}

function nothing(key: string, fetchedAtMs: number): StoredKeySet {
  return { key, document: ALL_GONE, sha256: NOTHING_SHA256, etag: '', fetchedAtMs, notAfterMs: 1 }
}

function serveAnnotation(one: Kept, { term, changed }: KeyKeepingNeeds): void {
  const asked = refreshAsked(one.issuer)
  if (!asked || asked === one.seen.refreshedNow) return
  one.seen = { ...one.seen, refreshedNow: asked }
  one.source.refresh(term).then(
    () => changed(keyOf(one.issuer)),
    () => undefined,
  )
}

const NOT_YET: KeysSeen = {
  sha256: '',
  etag: '',
  fetchedAtMs: 0,
  notAfterMs: 0,
  kids: [],
  problem: '',
  refreshedNow: '',
  metadata: undefined,
}

function seenOf({ sha256, etag, fetchedAtMs, notAfterMs, kids }: JwksFound): KeysSeen {
  return {
    sha256,
    etag: etag ?? '',
    fetchedAtMs,
    notAfterMs,
    kids,
    problem: '',
    refreshedNow: '',
    metadata: undefined,
  }
}

function storedOf(key: string, { document, sha256, etag, fetchedAtMs, notAfterMs }: JwksFound): StoredKeySet {
  return { key, document, sha256, etag: etag ?? '', fetchedAtMs, notAfterMs }
}

// A term that moves is written when it moved by a quarter of what it is long: else each poll would be a write.
function worthWriting(stored: StoredKeySet | undefined, now: JwksFound, maxStaleMs: number): boolean {
  return stored?.sha256 !== now.sha256 || Math.abs(now.notAfterMs - stored.notAfterMs) > maxStaleMs / 4
}

function keyOf({ metadata }: TokenIssuer): string {
  return `${metadata.namespace}/${metadata.name}`
}

function wantedOf({ metadata, spec }: TokenIssuer): JwksWanted {
  const { jwks } = spec
  const base = spec.issuer.replace(/\/$/, '')
  const location: JwksWanted['location'] =
    jwks.inline !== undefined
      ? { kind: 'inline', document: jwks.inline }
      : jwks.uri !== undefined
        ? { kind: 'uri', uri: jwks.uri }
        : { kind: 'discovery', uri: `${base}/.well-known/openid-configuration` }
  const named = spec.algorithms
    .map((name) => algorithmNamed(name))
    .filter((one): one is Algorithm => one !== undefined)
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    issuer: spec.issuer,
    location,
    algorithms: new Set(named),
    refreshMs: durationMs(jwks.refreshInterval),
    maxStaleMs: durationMs(jwks.maxStale),
    ca: jwks.caBundle,
    privateAddresses: jwks.addresses === 'Private',
  }
}

interface Shelf {
  stored(key: string): StoredKeySet | undefined
  store(keySet: StoredKeySet): void
  /** Removes the key sets of all others. */
  keepOnly(keys: ReadonlySet<string>): void
}

/** One write after the other; a failure is reported and does not stop the next. What is lost to somebody faster is written by the next poll. */
function createShelf({ ledger, term, report }: KeyKeepingNeeds): Shelf {
  let tail: Promise<unknown> = Promise.resolve()
  const queue = (job: () => Promise<unknown>): void => {
    tail = tail.then(job).catch((cause: unknown) => {
      if (!term.aborted)
        report('key_set_not_stored', { problem: cause instanceof Error ? cause.message : 'unknown' })
    })
  }
  return {
    stored: (key) => ledger.facts('jwks').get(keySetName(key))?.keySet,
    store: (keySet) => queue(() => ledger.write(writtenKeySet(keySet), term)),
    keepOnly(keys) {
      for (const [name, { keySet }] of ledger.facts('jwks')) {
        if (!keys.has(keySet.key)) queue(() => ledger.remove(name, term))
      }
    },
  }
}
