import { fstatSync, write } from 'node:fs'
import { Socket } from 'node:net'
import type { Sleep } from '../ports.ts'

/** Lines to a file descriptor without ever making a decision wait for whoever reads them. */
export interface LineLog {
  /** Queues one line; dropped and counted when the reader is too slow. */
  line(text: string): void
  dropped(): number
  /** Waits until everything queued was written, or the signal aborts. */
  flush(signal: AbortSignal): Promise<void>
  /** Lets go of the descriptor; a write that nobody takes is given up. */
  close(): void
}

export interface LineLogLimits {
  /** Queued bytes beyond which lines are dropped. */
  readonly queueBytes: number
  /** How long lines gather before they are written together, milliseconds. */
  readonly gatherMs: number
}

const RETRY_MS = 10

/** Writes lines to `descriptor`; `signal` ends the gathering, not the writing. A reader that stands still blocks no decision. */
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
  const sink = openSink(descriptor, sleep)

  const pump = async (): Promise<void> => {
    // Gathered anew before each write: a write a line would cost more than the decisions themselves.
    while (queue.length > 0) {
      await sleep(limits.gatherMs, signal).catch(() => undefined)
      const batch = Buffer.from(queue.join(''))
      queue = []
      queuedBytes = 0
      await sink.write(batch)
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
    close: () => sink.close(),
    async flush(stop) {
      while (writing && !stop.aborted)
        await Promise.race([writing, sleep(RETRY_MS, stop).catch(() => undefined)])
    },
  }
}

/** Where bytes go. `write` resolves when they are written, or will never be. */
interface Sink {
  write(bytes: Buffer): Promise<void>
  close(): void
}

// A pipe goes through the event loop, without blocking: a write that waits in the thread pool for a reader could not be taken
// back, and the process could not even exit. A file has no such reader.
function openSink(descriptor: number, sleep: Sleep): Sink {
  const kind = fstatSync(descriptor)
  if (!kind.isFIFO() && !kind.isSocket()) {
    return { write: (bytes) => writeAll(descriptor, bytes, sleep), close: () => undefined }
  }
  const socket = new Socket({ fd: descriptor, readable: false, writable: true })
  socket.on('error', () => undefined)
  return {
    write: (bytes) => new Promise((resolve) => socket.write(bytes, () => resolve())),
    close: () => socket.destroy(),
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
