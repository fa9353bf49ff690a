import { encode } from './wire.ts'

/** Files on their way to one sidecar, in parts: the lowest priority of a stream. */
export interface Blobs {
  /** Queues a file. False: this stream's snapshot does not reference it. */
  want(sha256: Buffer): boolean
  /** The next part, or nothing to send now. */
  next(): Buffer | undefined
}

const CHUNK_BYTES = 64 * 1024

/** `referenced`: by the snapshots that this stream was sent and may still be installing. */
export function createBlobs(
  referenced: (sha256: string) => boolean,
  content: (sha256: string) => Buffer | undefined,
): Blobs {
  // Offset by digest, in order of asking. Bounded: every key is referenced by a snapshot, which has at most 64 files.
  const queue = new Map<string, number>()
  return {
    want(sha256) {
      const digest = sha256.toString('hex')
      if (!referenced(digest)) return false
      if (!queue.has(digest)) queue.set(digest, 0)
      return true
    },
    next() {
      for (const [digest, offset] of queue) {
        if (!referenced(digest)) {
          queue.delete(digest)
          continue
        }
        // A replica whose watch is behind has the snapshot and not yet the files.
        const whole = content(digest)
        if (!whole) continue
        const part = whole.subarray(offset, offset + CHUNK_BYTES)
        const after = offset + part.length
        if (after < whole.length) queue.set(digest, after)
        else queue.delete(digest)
        const sha256 = Buffer.from(digest, 'hex')
        return encode({ $case: 'chunk', chunk: { sha256, offset, size: whole.length, content: part } })
      }
      return undefined
    },
  }
}
