import { createHash } from 'node:crypto'
import type { Outcome } from '../ports.ts'

/** The last good key set of a TokenIssuer, as all replicas share it. */
export interface StoredKeySet {
  /** `namespace/name` of the TokenIssuer. */
  readonly key: string
  /** JWK Set; empty when its issuer published a secret and nothing of it may be believed. */
  readonly document: Buffer
  /** Hex, of `document`. */
  readonly sha256: string
  readonly etag: string
  /** Milliseconds since the epoch. `notAfterMs` is 0 for keys that never go stale. */
  readonly fetchedAtMs: number
  readonly notAfterMs: number
}

/** Name and content of the ConfigMap. */
export function formatKeySet(keySet: StoredKeySet): {
  readonly name: string
  readonly text: string
  readonly binary: Readonly<Record<string, Buffer>>
} {
  const { document, ...about } = keySet
  return {
    name: keySetName(keySet.key),
    text: JSON.stringify({ version: 1, ...about }),
    binary: { document },
  }
}

export function keySetName(key: string): string {
  return `portcullis-jwks-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`
}

export function parseKeySet(text: string, document: Buffer): Outcome<StoredKeySet> {
  try {
    const { version, ...about } = JSON.parse(text) as Omit<StoredKeySet, 'document'> & {
      readonly version: unknown
    }
    const numbers = [about.fetchedAtMs, about.notAfterMs].every(Number.isSafeInteger)
    const texts = [about.key, about.etag].every((one) => typeof one === 'string')
    const whole = createHash('sha256').update(document).digest('hex') === about.sha256
    if (version === 1 && numbers && texts && whole) return { ok: true, value: { ...about, document } }
  } catch {
    // Falls through to the one refusal below.
  }
  return { ok: false, problems: ['a stored key set cannot be read: it is damaged or of another version'] }
}
