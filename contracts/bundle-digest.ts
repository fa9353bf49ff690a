import { createHash } from 'node:crypto'

/** One file of a bundle: its path and the SHA-256 of its content, 32 bytes. */
export interface DigestedFile {
  readonly path: string
  readonly sha256: Uint8Array
}

const DOMAIN = 'portcullis policy bundle v1\n'

/**
 * What a bundle signature signs, and what identifies a policy in acknowledgements: SHA-256 over the files in order of their paths,
 * each as length of the path, path and digest. Length-prefixed, so that no path can pretend to be another file's digest.
 */
export function bundleDigest(files: readonly DigestedFile[]): Buffer {
  const sum = createHash('sha256').update(DOMAIN)
  const sorted = [...files].sort((one, other) => (one.path < other.path ? -1 : 1))
  for (const { path, sha256 } of sorted) {
    sum.update(`${Buffer.byteLength(path)}:${path}:${Buffer.from(sha256).toString('hex')}\n`)
  }
  return sum.digest()
}
