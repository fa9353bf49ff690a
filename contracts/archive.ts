import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

/** Sizes in bytes. */
export const ARCHIVE_LIMITS = { packedBytes: 16 * 1024 * 1024, bytes: 48 * 1024 * 1024, files: 64 } as const

/** Files of a `.tar.gz` bundle by name. Rejects with what is wrong; `where` heads the message. */
export async function unpackArchive(packed: Buffer, where: string): Promise<ReadonlyMap<string, Buffer>> {
  if (packed.length > ARCHIVE_LIMITS.packedBytes) {
    throw new Error(`${where}: larger than ${ARCHIVE_LIMITS.packedBytes} bytes`)
  }
  let tar: Buffer
  try {
    tar = await promisify(gunzip)(packed, { maxOutputLength: ARCHIVE_LIMITS.bytes })
  } catch (cause) {
    throw new Error(`${where}: not gzip, damaged, or more than ${ARCHIVE_LIMITS.bytes} bytes unpacked`, {
      cause,
    })
  }
  return untar(tar, where)
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
