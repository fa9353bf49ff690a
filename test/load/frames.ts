import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { SigningKey } from '../fixtures/keys.ts'
import type { Share, Signed } from './signer.ts'

// Questions that are ready to be written before any of them is asked, each with a token that nobody has seen. Bytes only: so many texts
// would be the generator's own burden.

export interface Frames {
  readonly count: number
  /** Frames from this serial on, at most so many, as they lie beside each other; never none while some are left. */
  run(from: number, most: number): Run
}
interface Run {
  readonly bytes: Buffer
  readonly count: number
}

/** Signs on every core. */
export async function signFrames(key: SigningKey, count: number, at: number): Promise<Frames> {
  const each = Math.ceil(count / availableParallelism())
  const shares = Array.from({ length: Math.ceil(count / each) }, (_, index): Share => {
    return { key, from: index * each, to: Math.min(count, (index + 1) * each), at }
  })
  const parts = await Promise.all(shares.map(signed))
  return {
    count,
    run(from, most) {
      const [part, first] = [parts[Math.floor(from / each)], from % each]
      const length = Math.min(most, (part?.ends.length ?? 0) - first)
      const [start, end] = [part?.ends[first - 1] ?? 0, part?.ends[first + length - 1] ?? 0]
      return { bytes: Buffer.from(part?.bytes.buffer ?? NOTHING, start, end - start), count: length }
    },
  }
}

const NOTHING = new ArrayBuffer(0)

async function signed(share: Share): Promise<Signed> {
  const worker = new Worker(new URL('./signer.ts', import.meta.url), { workerData: share })
  const [answer]: Signed[] = await once(worker, 'message')
  if (!answer) throw new Error('a signer came back with nothing')
  return answer
}
