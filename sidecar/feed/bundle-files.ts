import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { readBounded } from './bounded-file.ts'

export const ARCHIVE_LIMITS = { packedBytes: 16 * 1024 * 1024, bytes: 48 * 1024 * 1024, files: 64 } as const

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
  if (!isDirectory) return readArchive(path)
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

async function readArchive(path: string): Promise<ReadonlyMap<string, Buffer>> {
  const packed = await readBounded(path, ARCHIVE_LIMITS.packedBytes)
  let tar: Buffer
  try {
    tar = await promisify(gunzip)(packed, { maxOutputLength: ARCHIVE_LIMITS.bytes })
  } catch (cause) {
    throw new Error(`${path}: not gzip, damaged, or more than ${ARCHIVE_LIMITS.bytes} bytes unpacked`, {
      cause,
    })
  }
  return untar(tar, path)
}

const BLOCK = 512

/**
 * Reads a POSIX.1-1988 (ustar) archive of plain files: what `opa build` and `tar` write for a bundle. Links, devices, long-name
 * extensions, names that climb or repeat, and damaged headers are refused.
 */
function untar(tar: Buffer, path: string): ReadonlyMap<string, Buffer> {
  const files = new Map<string, Buffer>()
  let offset = 0
  while (offset + BLOCK <= tar.length) {
    const header = tar.subarray(offset, offset + BLOCK)
    if (header.every((byte) => byte === 0)) return files
    const { name, size, type } = readHeader(header, path)
    const start = offset + BLOCK
    if (start + size > tar.length) throw new Error(`${path}: ${name} is cut off`)
    if (type !== 'directory') {
      if (files.has(name)) throw new Error(`${path}: ${name} is there twice`)
      if (files.size >= ARCHIVE_LIMITS.files)
        throw new Error(`${path}: more than ${ARCHIVE_LIMITS.files} files`)
      files.set(name, Buffer.from(tar.subarray(start, start + size)))
    }
    offset = start + Math.ceil(size / BLOCK) * BLOCK
  }
  throw new Error(`${path}: cut off; it has no end mark`)
}

interface TarHeader {
  readonly name: string
  readonly size: number
  readonly type: 'file' | 'directory'
}

function readHeader(header: Buffer, path: string): TarHeader {
  const text = (from: number, length: number): string => {
    const field = header.toString('latin1', from, from + length)
    const end = field.indexOf('\0')
    return end < 0 ? field : field.slice(0, end)
  }
  const octal = (from: number, length: number): number => Number.parseInt(text(from, length).trim() || '0', 8)

  let sum = 8 * 0x20
  header.forEach((byte, index) => {
    if (index < 148 || index >= 156) sum += byte
  })
  if (octal(148, 8) !== sum) throw new Error(`${path}: damaged tar header`)
  const flag = text(156, 1)
  if (flag !== '' && flag !== '0' && flag !== '5')
    throw new Error(`${path}: holds something that is not a plain file`)
  const prefix = text(257, 5) === 'ustar' ? text(345, 155) : ''
  const name = `${prefix ? `${prefix}/` : ''}${text(0, 100)}`.replace(/^(?:\.?\/)+/, '')
  const size = octal(124, 12)
  if (!Number.isSafeInteger(size) || size < 0) throw new Error(`${path}: damaged tar header`)
  if (flag !== '5' && !/^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/.test(name))
    throw new Error(`${path}: a name is not allowed`)
  if (name.split('/').includes('..')) throw new Error(`${path}: a name climbs out of the bundle`)
  return { name, size, type: flag === '5' ? 'directory' : 'file' }
}
