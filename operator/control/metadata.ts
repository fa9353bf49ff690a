import type { TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import type { FetchVersion } from '../gather/jwks.ts'
import { type Metadata, readMetadata } from '../gather/metadata.ts'
import type { Clocks } from '../ports.ts'

/** Keeps what issuers say of themselves, for advice in their status. */
export interface MetadataKeeping {
  want(issuers: readonly TokenIssuer[]): void
  seen(key: string): Metadata | undefined
}

export interface MetadataNeeds extends Pick<Clocks, 'random' | 'sleep'> {
  readonly fetch: FetchVersion
  readonly term: AbortSignal
  readonly changed: (key: string) => void
}

/** Advice is in no hurry, and an issuer that we only advise is not to be burdened. */
const EVERY_MS = 600_000
const AFTER_FAILURE_MS = 60_000
const JITTER = 0.1

interface Kept {
  readonly text: string
  readonly ending: AbortController
  seen: Metadata | undefined
}

export function createMetadataKeeping({
  random,
  sleep,
  fetch,
  term,
  changed,
}: MetadataNeeds): MetadataKeeping {
  const kept = new Map<string, Kept>()
  const poll = async (key: string, { spec }: TokenIssuer, one: Kept): Promise<void> => {
    const signal = AbortSignal.any([term, one.ending.signal])
    const wanted = {
      issuer: spec.issuer,
      ca: spec.jwks.caBundle,
      privateAddresses: spec.jwks.addresses === 'Private',
    }
    while (!signal.aborted) {
      const now = await readMetadata(wanted, fetch, signal)
      if (JSON.stringify(now) !== JSON.stringify(one.seen)) {
        one.seen = now
        changed(key)
      }
      const waitMs = now.facts ? EVERY_MS : AFTER_FAILURE_MS
      await sleep(waitMs * (1 + JITTER * (2 * random() - 1)), signal)
    }
  }
  const stop = (key: string): void => {
    kept.get(key)?.ending.abort()
    kept.delete(key)
  }
  const keep = (issuer: TokenIssuer): void => {
    const key = keyOf(issuer)
    const { jwks, issuer: url, signs } = issuer.spec
    const text = JSON.stringify([url, jwks.caBundle, jwks.addresses])
    if (kept.get(key)?.text === text) return
    stop(key)
    // Whoever writes keys into the object wants nobody to be asked; a client has no such document.
    if (jwks.inline !== undefined || signs === 'Assertions') return
    const one: Kept = { text, ending: new AbortController(), seen: undefined }
    kept.set(key, one)
    poll(key, issuer, one).catch(() => undefined)
  }
  return {
    want(issuers) {
      const names = new Set(issuers.map(keyOf))
      for (const key of kept.keys()) if (!names.has(key)) stop(key)
      for (const issuer of issuers) keep(issuer)
    },
    seen: (key) => kept.get(key)?.seen,
  }
}

function keyOf({ metadata }: TokenIssuer): string {
  return `${metadata.namespace}/${metadata.name}`
}
