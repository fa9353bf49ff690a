import { hash } from 'node:crypto'
import { MAX_TOKEN_BYTES } from './jwt.ts'

/** Names a token by all of its bytes: a salted SHA-256, so that a dump of memory holds no reusable hash. `undefined`: too long for a token. */
export type Fingerprint = (token: Buffer) => string | undefined

/** `salt` is 32 random bytes of this process. */
export function createFingerprint(salt: Uint8Array): Fingerprint {
  const scratch = Buffer.alloc(salt.length + MAX_TOKEN_BYTES)
  scratch.set(salt)
  return (token) => {
    if (token.length > MAX_TOKEN_BYTES) return undefined
    scratch.set(token, salt.length)
    return hash('sha256', scratch.subarray(0, salt.length + token.length), 'binary')
  }
}

const DOT = 0x2e
const VALUES = valuesOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')

/**
 * Whether these bytes are a compact JWS in its one canonical spelling (RFC 7515 section 7.1): three segments of base64url whose unused
 * last bits are zero (RFC 4648 section 3.5). Other spellings of a token never enter a memory of tokens.
 */
export function isCanonical(token: Buffer): boolean {
  let segments = 1
  let length = 0
  let last = 0
  for (let at = 0; at < token.length; at++) {
    const byte = token[at] ?? 0
    if (byte === DOT) {
      if (!endsWell(length, last)) return false
      segments++
      length = 0
      continue
    }
    last = VALUES[byte] ?? -1
    if (last < 0) return false
    length++
  }
  return segments === 3 && endsWell(length, last)
}

// Of the last character two or four bits are unused, by the length of the segment.
function endsWell(length: number, last: number): boolean {
  const over = length % 4
  if (length === 0 || over === 1) return false
  return over === 0 || (last & (over === 2 ? 15 : 3)) === 0
}

function valuesOf(alphabet: string): Int8Array {
  const values = new Int8Array(256).fill(-1)
  for (const [value, character] of [...alphabet].entries()) values[character.charCodeAt(0)] = value
  return values
}
