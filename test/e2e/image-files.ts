import { readFileSync } from 'node:fs'
import { zstdDecompressSync } from 'node:zlib'

export interface ImageFile {
  readonly path: string
  readonly content: Buffer
}

/** Every file of every layer of an OCI archive as test/images writes it, and its configuration as `config`. */
export function filesOf(archive: string): readonly ImageFile[] {
  const parts = untar(readFileSync(archive))
  const blob = ({ digest }: { readonly digest: string }) => {
    const found = parts.find(({ path }) => path === `blobs/${digest.replace(':', '/')}`)
    if (!found) throw new Error(`${archive} lacks ${digest}`)
    return found.content
  }
  const parsed = <T>(content: Buffer) => JSON.parse(content.toString('utf8')) as T
  const index = parts.find(({ path }) => path === 'index.json')
  if (!index) throw new Error(`${archive} has no index`)
  const { manifests } = parsed<{ manifests: readonly { digest: string }[] }>(index.content)
  return manifests.flatMap((one) => {
    const { layers, config } = parsed<{ layers: readonly { digest: string }[]; config: { digest: string } }>(
      blob(one),
    )
    return [
      { path: 'config', content: blob(config) },
      ...layers.flatMap((layer) => untar(zstdDecompressSync(blob(layer)))),
    ]
  })
}

const BLOCK = 512

/** Regular files of a ustar archive. */
function untar(bytes: Buffer): readonly ImageFile[] {
  const files: ImageFile[] = []
  for (let at = 0; at + BLOCK <= bytes.length && bytes[at] !== 0; ) {
    const text = (from: number, length: number) =>
      bytes
        .subarray(at + from, at + from + length)
        .toString('utf8')
        .replace(/\0.*$/s, '')
    const size = Number.parseInt(text(124, 12), 8)
    const [name, prefix] = [text(0, 100), text(345, 155)]
    const content = bytes.subarray(at + BLOCK, at + BLOCK + size)
    if (text(156, 1) === '0') files.push({ path: prefix === '' ? name : `${prefix}/${name}`, content })
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  return files
}
