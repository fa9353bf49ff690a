import { assemble, type BundleHead, type BundlePart } from '../ledger/bundle-facts.ts'
import type { Ledger } from '../ledger/ledger.ts'

/** Files of bundles put together from their parts; each once, for as long as some head names it. */
export interface Blobs {
  /** Puts the files of this bundle together. False: a part of them is missing or damaged. */
  complete(head: BundleHead): boolean
  /** Content by SHA-256, hex. Another function whenever there is other content. */
  content(): (sha256: string) => Buffer | undefined
}

export function createBlobs(ledger: Pick<Ledger, 'facts'>): Blobs {
  const whole = new Map<string, Buffer>()
  const reader = () => (sha256: string) => whole.get(sha256)
  let content = reader()
  const find = (file: BundleHead['files'][number], parts: readonly BundlePart[]): boolean => {
    if (whole.has(file.sha256)) return true
    const found = assemble(file, parts)
    if (!found) return false
    whole.set(file.sha256, found)
    content = reader()
    return true
  }
  return {
    content: () => content,
    complete(head) {
      if (head.files.every(({ sha256 }) => whole.has(sha256))) return true
      const parts = [...ledger.facts('bundle-part').values()]
        .map(({ part }) => part)
        .filter(({ key }) => key === head.key)
      const complete = head.files.map((file) => find(file, parts)).every(Boolean)
      if (complete) forgetOthers(whole, ledger)
      return complete
    },
  }
}

function forgetOthers(whole: Map<string, Buffer>, ledger: Pick<Ledger, 'facts'>): void {
  const named = new Set(
    [...ledger.facts('bundle').values()].flatMap(({ head }) => head.files.map(({ sha256 }) => sha256)),
  )
  for (const sha256 of whole.keys()) if (!named.has(sha256)) whole.delete(sha256)
}
