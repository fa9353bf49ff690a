import type { Monotonic } from '../ports.ts'

/** The writing side of a stream, as grpc-js offers it. */
export interface Writes {
  write(frame: Buffer, written: () => void): boolean
}

/** Sends one frame at a time, whichever is the most urgent when the one before has left. */
export interface Lane {
  /** There may be something to send. */
  wake(): void
  /** Sends at once, past whatever waits; left out while the one before has not left. */
  beat(frame: Buffer): void
  /** For how long the frame under way has not left, milliseconds; 0 without one. */
  stalledMs(): number
  close(): void
}

/**
 * `next` gives the most urgent frame, or nothing. Because a frame is asked for only when the one before has left, whatever changes
 * meanwhile coalesces where it is kept, a slow reader costs one frame of memory, and nothing urgent stands behind more than one frame.
 */
export function createLane(stream: Writes, next: () => Buffer | undefined, now: Monotonic): Lane {
  let busySince: number | undefined
  let beating = false
  let closed = false
  const wake = (): void => {
    if (closed || busySince !== undefined) return
    const frame = next()
    if (!frame) return
    busySince = now()
    stream.write(frame, () => {
      busySince = undefined
      wake()
    })
  }
  return {
    wake,
    beat(frame) {
      if (closed || beating) return
      beating = true
      stream.write(frame, () => {
        beating = false
      })
    },
    stalledMs: () => (busySince === undefined ? 0 : now() - busySince),
    close() {
      closed = true
    },
  }
}
