import { createHash } from 'node:crypto'
import type { Outcome } from '../ports.ts'

/** What is in force of one PolicyBundle. Its files lie in parts that are named by their content. */
export interface BundleHead {
  /** `namespace/name` of the PolicyBundle. */
  readonly key: string
  readonly revision: string
  /** Digest of the sources that it was compiled from. */
  readonly sourceDigest: string
  /** Tests that passed. */
  readonly tests: number
  readonly files: readonly StoredFile[]
  readonly signature: { readonly keyId: string; readonly value: Buffer }
}

export interface StoredFile {
  readonly path: string
  /** Hex. */
  readonly sha256: string
  readonly size: number
}

/** A piece of a file. */
export interface BundlePart {
  readonly key: string
  /** Of the whole file, hex. */
  readonly sha256: string
  readonly offset: number
  readonly content: Buffer
}

/** An object of the API server holds about a MiB, and base64 takes a third more. */
export const PART_BYTES = 700 * 1024

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16)

export function headName(key: string): string {
  return `portcullis-bundle-${shortHash(key)}`
}

export function partName({ key, sha256, offset }: Omit<BundlePart, 'content'>): string {
  return `portcullis-part-${shortHash(key)}-${sha256.slice(0, 24)}-${offset}`
}

export function formatHead(head: BundleHead): { readonly name: string; readonly text: string } {
  const { signature, ...about } = head
  const { keyId, value } = signature
  const text = JSON.stringify({ version: 1, ...about, signature: { keyId, value: value.toString('base64') } })
  return { name: headName(head.key), text }
}

export function parseHead(text: string): Outcome<BundleHead> {
  try {
    const { version, signature, ...about } = JSON.parse(text) as Omit<BundleHead, 'signature'> & {
      readonly version: unknown
      readonly signature: { readonly keyId: string; readonly value: string }
    }
    const files = about.files.every(
      ({ sha256, size }) => /^[0-9a-f]{64}$/.test(sha256) && Number.isSafeInteger(size),
    )
    const value = Buffer.from(signature.value, 'base64')
    if (version === 1 && files && typeof about.key === 'string' && value.length === 64) {
      return { ok: true, value: { ...about, signature: { keyId: signature.keyId, value } } }
    }
  } catch {
    // Falls through to the one refusal below.
  }
  return { ok: false, problems: ['a stored bundle cannot be read: it is damaged or of another version'] }
}

/** The pieces of the files, each with the name and content of its ConfigMap. */
export function partsOf(key: string, files: ReadonlyMap<string, Buffer>): readonly BundlePart[] {
  return [...files.values()].flatMap((content) => {
    const sha256 = createHash('sha256').update(content).digest('hex')
    const count = Math.max(1, Math.ceil(content.length / PART_BYTES))
    return Array.from({ length: count }, (_, index) => {
      const offset = index * PART_BYTES
      return { key, sha256, offset, content: content.subarray(offset, offset + PART_BYTES) }
    })
  })
}

export function formatPart(part: BundlePart): {
  readonly name: string
  readonly text: string
  readonly binary: Readonly<Record<string, Buffer>>
} {
  const { content, ...about } = part
  return { name: partName(part), text: JSON.stringify({ version: 1, ...about }), binary: { content } }
}

export function parsePart(text: string, content: Buffer): Outcome<BundlePart> {
  try {
    const { version, key, sha256, offset } = JSON.parse(text) as Omit<BundlePart, 'content'> & {
      readonly version: unknown
    }
    if (
      version === 1 &&
      typeof key === 'string' &&
      /^[0-9a-f]{64}$/.test(sha256) &&
      Number.isSafeInteger(offset)
    ) {
      return { ok: true, value: { key, sha256, offset, content } }
    }
  } catch {
    // Falls through to the one refusal below.
  }
  return {
    ok: false,
    problems: ['a part of a stored bundle cannot be read: it is damaged or of another version'],
  }
}

/** A file put together from its parts; undefined while one is missing or damaged. */
export function assemble({ sha256, size }: StoredFile, parts: readonly BundlePart[]): Buffer | undefined {
  const mine = parts.filter((part) => part.sha256 === sha256).sort((one, other) => one.offset - other.offset)
  const unique = mine.filter((part, index) => part.offset !== mine[index - 1]?.offset)
  const content = Buffer.concat(unique.map((part) => part.content))
  if (content.length !== size) return undefined
  return createHash('sha256').update(content).digest('hex') === sha256 ? content : undefined
}
