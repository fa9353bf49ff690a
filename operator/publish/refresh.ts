/** Answer to a question whether an issuer has a key that nobody knows. */
export interface Refreshed {
  readonly fetched: boolean
  /** Of the document, hex. */
  readonly sha256: string
}

/** Fetches the keys of a TokenIssuer (`namespace/name`): resolves when a fetch that began after the call has ended. */
export type RefreshKeys = (tokenIssuer: string, kid: string, signal: AbortSignal) => Promise<Refreshed>
export type AskKeys = (tokenIssuer: string, kid: string) => Promise<Refreshed>

const FAILED: Refreshed = { fetched: false, sha256: '' }

/**
 * One fetch at a time an issuer, and one more for everybody who asks meanwhile: a fetch that has begun may have been answered before the
 * key was published. A flood of questions costs no more fetches than a few questions do.
 */
export function createRefresher(refresh: RefreshKeys, signal: AbortSignal): AskKeys {
  const running = new Map<string, Promise<Refreshed>>()
  const waiting = new Map<string, Promise<Refreshed>>()
  const start = (tokenIssuer: string, kid: string): Promise<Refreshed> => {
    const fetch = refresh(tokenIssuer, kid, signal)
      .catch(() => FAILED)
      .finally(() => {
        running.delete(tokenIssuer)
      })
    running.set(tokenIssuer, fetch)
    return fetch
  }
  return (tokenIssuer, kid) => {
    const joined = waiting.get(tokenIssuer)
    if (joined !== undefined) return joined
    const before = running.get(tokenIssuer)
    if (before === undefined) return start(tokenIssuer, kid)
    const later = before.then(() => {
      waiting.delete(tokenIssuer)
      return start(tokenIssuer, kid)
    })
    waiting.set(tokenIssuer, later)
    return later
  }
}
