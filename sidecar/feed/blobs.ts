import { hash } from 'node:crypto'
import type { BundleFile, Chunk } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Sleep } from '../ports.ts'

/** Files by content: nothing is kept whose SHA-256 is not its name. */
export interface Blobs {
  get(sha256: string): Uint8Array | undefined
  /** Asks for what is missing and waits for it. What could not be had, for people; empty when all is at hand. */
  fetch(
    files: readonly BundleFile[],
    want: (sha256: Buffer) => void,
    signal: AbortSignal,
  ): Promise<readonly string[]>
  /** Takes a part of a blob that was asked for; any other is not looked at. */
  take(chunk: Chunk): void
  /** Forgets all but these files. */
  keepOnly(...policies: readonly (readonly BundleFile[])[]): void
}

export const BLOB_LIMITS = {
  files: 64,
  fileBytes: 8 * 1024 * 1024,
  totalBytes: 24 * 1024 * 1024,
  chunkBytes: 64 * 1024,
  /** How long one snapshot waits for its files, milliseconds. */
  waitMs: 30_000,
} as const

interface Arriving {
  readonly size: number
  readonly parts: Buffer[]
  received: number
  readonly finish: (problem: string) => void
}

export function createBlobs(sleep: Sleep): Blobs {
  const whole = new Map<string, Uint8Array>()
  const arriving = new Map<string, Arriving>()

  const take = ({ sha256, offset, size, content }: Chunk): void => {
    const name = sha256.toString('hex')
    const blob = arriving.get(name)
    if (!blob) return
    const problem = misfit(blob, { offset, size, bytes: content.length })
    if (problem) {
      blob.finish(problem)
      return
    }
    blob.parts.push(content)
    blob.received += content.length
    if (blob.received < blob.size) return
    const bytes = Buffer.concat(blob.parts)
    const genuine = hash('sha256', bytes) === name
    if (genuine) whole.set(name, bytes)
    blob.finish(genuine ? '' : 'its content is not what its digest says')
  }
  const arrival = async ({ path, sha256, size }: BundleFile): Promise<string> => {
    const name = sha256.toString('hex')
    const { promise, resolve } = Promise.withResolvers<string>()
    arriving.set(name, { size, parts: [], received: 0, finish: resolve })
    const problem = await promise
    arriving.delete(name)
    return problem && `policy.files: ${path}: ${problem}`
  }
  return {
    take,
    get: (sha256) => whole.get(sha256),
    async fetch(files, want, signal) {
      const problems = oversized(files)
      if (problems.length > 0) return problems
      const missing = distinct(files.filter(({ sha256 }) => !whole.has(sha256.toString('hex'))))
      if (missing.length === 0) return []
      const patience = new AbortController()
      const giveUp = (problem: string) => {
        for (const { sha256 } of missing) arriving.get(sha256.toString('hex'))?.finish(problem)
      }
      sleep(BLOB_LIMITS.waitMs, AbortSignal.any([signal, patience.signal])).then(
        () => giveUp(`did not come within ${BLOB_LIMITS.waitMs / 1000} s`),
        () => giveUp(reasonOf(signal)),
      )
      const arrivals = missing.map(arrival)
      for (const { sha256 } of missing) want(sha256)
      const found = await Promise.all(arrivals)
      patience.abort()
      return found.filter((problem) => problem !== '')
    },
    keepOnly(...policies) {
      const names = new Set(policies.flat().map(({ sha256 }) => sha256.toString('hex')))
      for (const name of whole.keys()) if (!names.has(name)) whole.delete(name)
    },
  }
}

function oversized(files: readonly BundleFile[]): readonly string[] {
  const { files: most, fileBytes, totalBytes } = BLOB_LIMITS
  if (files.length > most) return [`policy.files: more than ${most}`]
  const odd = files.find(({ size, sha256 }) => size < 1 || size > fileBytes || sha256.length !== 32)
  if (odd) return [`policy.files: ${odd.path.slice(0, 64)}: must have 1 to ${fileBytes} bytes and a SHA-256`]
  const total = files.reduce((sum, { size }) => sum + size, 0)
  return total > totalBytes ? [`policy.files: more than ${totalBytes} bytes together`] : []
}

function misfit(
  blob: Arriving,
  { offset, size, bytes }: { readonly offset: number; readonly size: number; readonly bytes: number },
): string {
  if (size !== blob.size) return `has ${size} bytes, the snapshot says ${blob.size}`
  if (offset !== blob.received) return `a part begins at ${offset}, not at ${blob.received}`
  if (bytes === 0 || bytes > BLOB_LIMITS.chunkBytes) return `a part has ${bytes} bytes`
  return blob.received + bytes > blob.size ? 'has more bytes than it says' : ''
}

function distinct(files: readonly BundleFile[]): readonly BundleFile[] {
  return [...new Map(files.map((file) => [file.sha256.toString('hex'), file])).values()]
}

function reasonOf({ reason }: AbortSignal): string {
  return reason instanceof Error ? reason.message : String(reason)
}
