import { write } from 'node:fs'
import type { Sleep } from '../ports.ts'

/** Lines to a file descriptor without ever making a decision wait for whoever reads them. */
export interface LineLog {
  /** Queues one line; dropped and counted when the reader is too slow. */
  line(text: string): void
  dropped(): number
  /** Waits until everything queued was written, or the signal aborts. */
  flush(signal: AbortSignal): Promise<void>
}

export interface LineLogLimits {
  /** Queued bytes beyond which lines are dropped. */
  readonly queueBytes: number
  /** How long lines gather before they are written together, milliseconds. */
  readonly gatherMs: number
}

const RETRY_MS = 10

/** Starts writing to `descriptor` until `signal` aborts. Writes are asynchronous: a blocked pipe blocks no decision. */
export function openLineLog(
  descriptor: number,
  limits: LineLogLimits,
  sleep: Sleep,
  signal: AbortSignal,
): LineLog {
  let queue: string[] = []
  let queuedBytes = 0
  let dropped = 0
  let writing: Promise<void> | undefined

  const pump = async (): Promise<void> => {
    // Gathered anew before each write: a write a line would cost more than the decisions themselves.
    while (queue.length > 0) {
      await sleep(limits.gatherMs, signal).catch(() => undefined)
      const batch = Buffer.from(queue.join(''))
      queue = []
      queuedBytes = 0
      await writeAll(descriptor, batch, sleep)
    }
    writing = undefined
  }
  return {
    line(text) {
      if (queuedBytes + text.length > limits.queueBytes) {
        dropped++
        return
      }
      queue.push(text, '\n')
      queuedBytes += text.length + 1
      writing ??= pump()
    },
    dropped: () => dropped,
    async flush(stop) {
      while (writing && !stop.aborted)
        await Promise.race([writing, sleep(RETRY_MS, stop).catch(() => undefined)])
    },
  }
}

async function writeAll(descriptor: number, bytes: Buffer, sleep: Sleep): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    const outcome = await writeSome(descriptor, bytes.subarray(offset))
    if (typeof outcome === 'number') offset += outcome
    else if (outcome === 'again') await sleep(RETRY_MS, new AbortController().signal)
    else return
  }
}

function writeSome(descriptor: number, bytes: Buffer): Promise<number | 'again' | 'lost'> {
  return new Promise((resolve) => {
    write(descriptor, bytes, (error, written) => {
      if (!error) resolve(written)
      else resolve(error.code === 'EAGAIN' ? 'again' : 'lost')
    })
  })
}
