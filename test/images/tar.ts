// A tar archive whose bytes depend on its content alone: entries sorted, parents explicit, no times, owner root.
// Format: ustar (POSIX.1-1988), which every OCI tool reads.

export interface Entry {
  /** Relative, without a leading slash; a folder ends in one. */
  readonly path: string
  readonly mode?: number
  readonly content?: Uint8Array
  /** A symbolic link to this. */
  readonly link?: string
}

const BLOCK = 512

export function tar(entries: readonly Entry[]): Buffer {
  const parts = withParents(entries).flatMap((entry) => {
    const content = entry.content ?? new Uint8Array()
    return [header(entry, content.length), content, new Uint8Array(padding(content.length))]
  })
  return Buffer.concat([...parts, new Uint8Array(2 * BLOCK)])
}

function withParents(entries: readonly Entry[]): readonly Entry[] {
  const all = new Map<string, Entry>()
  for (const entry of entries) {
    const parts = entry.path.replace(/\/$/, '').split('/').slice(0, -1)
    parts.forEach((_, at) => {
      const path = `${parts.slice(0, at + 1).join('/')}/`
      if (!all.has(path)) all.set(path, { path })
    })
  }
  for (const entry of entries) all.set(entry.path, entry)
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

function header({ path, mode, link }: Entry, size: number): Buffer {
  const folder = path.endsWith('/')
  const [name, prefix] = split(path)
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at)
  block.write(name, 0)
  octal(mode ?? (folder ? 0o755 : 0o644), 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(0, 136, 12)
  block.write(' '.repeat(8), 148)
  block.write(folder ? '5' : link === undefined ? '0' : '2', 156)
  if (link !== undefined) block.write(link, 157, 100)
  block.write('ustar\x0000', 257)
  octal(0, 329, 8)
  octal(0, 337, 8)
  block.write(prefix, 345)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

// A name of up to 100 bytes, the rest before a slash in up to 155.
function split(path: string): readonly [string, string] {
  if (Buffer.byteLength(path) <= 100) return [path, '']
  for (let at = path.indexOf('/'); at > 0 && at < path.length - 1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) return [name, prefix]
  }
  throw new Error(`${path} is too long for a tar archive`)
}

function padding(length: number): number {
  return (BLOCK - (length % BLOCK)) % BLOCK
}
