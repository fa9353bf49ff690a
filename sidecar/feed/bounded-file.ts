import { readFile, stat } from 'node:fs/promises'

/** Reads a regular file of at most `maxBytes`, sized before it is read: gigabytes must not be taken into memory to be refused. */
export async function readBounded(path: string, maxBytes: number): Promise<Buffer> {
  const found = await stat(path)
  if (!found.isFile()) throw new Error(`${path}: not a regular file`)
  const content = found.size > maxBytes ? undefined : await readFile(path)
  if (!content || content.length > maxBytes)
    throw new Error(`${path}: larger than the ${maxBytes} bytes that are left for it`)
  return content
}
