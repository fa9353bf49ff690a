import type { Monotonic } from '../ports.ts'
import { withNonce } from './wire.ts'

/** What was sent on one stream and not answered yet. */
export interface Nonces<T> {
  /** The frame, under a nonce that this stream never used. */
  send(body: Buffer, what: T): Buffer
  /** What was sent under it; undefined when it is not open. */
  take(nonce: string): T | undefined
  /** Sent so far. */
  count(): number
  open(): number
  /** Milliseconds that the oldest one has waited. */
  oldestMs(): number
}

export function createNonces<T>(now: Monotonic): Nonces<T> {
  const open = new Map<string, { readonly at: number; readonly what: T }>()
  let count = 0
  return {
    send(body, what) {
      count += 1
      const nonce = `${count}`
      open.set(nonce, { at: now(), what })
      return withNonce(nonce, body)
    },
    take(nonce) {
      const what = open.get(nonce)?.what
      open.delete(nonce)
      return what
    },
    count: () => count,
    open: () => open.size,
    oldestMs() {
      const [oldest] = open.values()
      return oldest ? now() - oldest.at : 0
    },
  }
}
