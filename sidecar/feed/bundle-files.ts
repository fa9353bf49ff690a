import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ARCHIVE_LIMITS, unpackArchive } from '../../contracts/archive.ts'
import { readBounded } from './bounded-file.ts'

/** What changes whenever a file of the bundle does, without reading them: names, inodes, sizes and times. */
export async function fingerprint(path: string): Promise<string> {
  const names = await entriesOf(path)
  const marks = await Promise.all(
    names.map(async (name) => {
      const { ino, size, mtimeNs, ctimeNs } = await stat(name, { bigint: true })
      return `${name}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
    }),
  )
  return marks.join('\n')
}

/** Reads an unpacked OPA bundle directory or a `.tar.gz`. Rejects with what is wrong and where. */
export async function readBundle(path: string): Promise<ReadonlyMap<string, Buffer>> {
  const { isDirectory } = await kindOf(path)
  if (!isDirectory) return unpackArchive(await readBounded(path, ARCHIVE_LIMITS.packedBytes), path)
  const files = new Map<string, Buffer>()
  let left: number = ARCHIVE_LIMITS.bytes
  for (const name of await entriesOf(path)) {
    const content = await readBounded(name, left)
    left -= content.length
    files.set(name.slice(path.length).replace(/^\/+/, ''), content)
  }
  return files
}

async function kindOf(path: string): Promise<{ isDirectory: boolean }> {
  const found = await stat(path).catch(() => undefined)
  if (!found) throw new Error(`${path}: no such bundle directory or .tar.gz`)
  return { isDirectory: found.isDirectory() }
}

// Mounted ConfigMaps hold their files behind links and keep bookkeeping entries that begin with two dots.
async function entriesOf(path: string): Promise<readonly string[]> {
  const { isDirectory } = await kindOf(path)
  if (!isDirectory) return [path]
  const names = (await readdir(path)).filter((name) => !name.startsWith('..')).sort()
  if (names.length > ARCHIVE_LIMITS.files) throw new Error(`${path}: more than ${ARCHIVE_LIMITS.files} files`)
  const paths = names.map((name) => join(path, name))
  for (const one of paths) {
    if (!(await stat(one)).isFile())
      throw new Error(`${one}: not a regular file; a bundle is a flat directory`)
  }
  return paths
}
