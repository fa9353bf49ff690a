import { setTimeout as sleep } from 'node:timers/promises'
import { STREAM } from '../bench/contest.ts'
import { openFrames } from '../bench/grpc-lane.ts'
import type { Frames } from './frames.ts'

export interface Pace {
  readonly perSecond: number
  readonly streams: number
}

/** What came of it. Milliseconds, counted from the moment at which a question was due. */
export interface Pumped {
  readonly verdicts: Readonly<Record<string, number>>
  readonly sent: number
  readonly latencies: Float64Array
  /** How late each was sent: by the generator, or because every stream was full. */
  readonly lates: Float64Array
  readonly tookMs: number
}

/** As a sidecar allows a stream, less a few. */
const WINDOW = 60
const TICK_MS = 1
const DRAIN_MS = 5_000

/** Asks every question once, so many a second whatever comes back. What is due together goes out in one write. */
export async function pump(socket: string, frames: Frames, { perSecond, streams }: Pace): Promise<Pumped> {
  const tally = createTally(frames.count, perSecond)
  const lanes = await Promise.all(Array.from({ length: streams }, () => openNarrow(socket, tally.answered)))
  const startedAt = performance.now()
  const lastAt = startedAt + (frames.count / perSecond) * 1000 + DRAIN_MS
  tally.begin(startedAt)
  let sent = 0
  for (let now = startedAt; sent < frames.count && now < lastAt; now = performance.now()) {
    const due = Math.min(frames.count, Math.floor(((now - startedAt) / 1000) * perSecond))
    for (const { room, write } of lanes) {
      const free = Math.min(due - sent, room())
      if (free <= 0) continue
      const { bytes, count } = frames.run(sent, free)
      tally.sent(sent, count, now)
      sent += count
      write(bytes, count)
    }
    await sleep(TICK_MS)
  }
  const tookMs = performance.now() - startedAt
  const end = performance.now() + DRAIN_MS
  while (lanes.some(({ room }) => room() < WINDOW) && performance.now() < end) await sleep(TICK_MS)
  for (const { close } of lanes) close()
  return { ...tally.all(sent), sent, tookMs }
}

async function openNarrow(socket: string, answered: (serial: number, message: Buffer) => void) {
  let waiting = 0
  const heard = (id: number, message: Buffer) => {
    waiting--
    answered(id - 1, message)
  }
  const { write, close } = await openFrames(socket, heard, () => undefined)
  return {
    room: () => WINDOW - waiting,
    write(bytes: Buffer, count: number) {
      waiting += count
      write(bytes)
    },
    close,
  }
}

function createTally(count: number, perSecond: number) {
  const latencies = new Float64Array(count).fill(Number.NaN)
  const lates = new Float64Array(count)
  const verdicts: Record<string, number> = {}
  let startedAt = 0
  const dueAt = (serial: number) => startedAt + (serial / perSecond) * 1000
  const hear = (verdict: string, times = 1) => {
    verdicts[verdict] = (verdicts[verdict] ?? 0) + times
  }
  return {
    begin(at: number) {
      startedAt = at
    },
    sent(from: number, many: number, at: number) {
      for (let serial = from; serial < from + many; serial++) lates[serial] = at - dueAt(serial)
    },
    answered(serial: number, message: Buffer) {
      latencies[serial] = performance.now() - dueAt(serial)
      // Read in full only where it is no permission.
      if (STREAM.permits(message)) hear('allow')
      else for (const said of STREAM.read(message)) hear(said)
    },
    all(sent: number) {
      const known = latencies.subarray(0, sent).filter((took) => !Number.isNaN(took))
      if (known.length < sent) hear('nothing', sent - known.length)
      return { verdicts, latencies: known.sort(), lates: lates.subarray(0, sent).sort() }
    },
  }
}
