import { createPrivateKey } from 'node:crypto'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'

// Finds private keys and bearer tokens wherever they hide: as text, as DER at any place, as JWK, and behind base64 and compression.

export interface Finding {
  readonly form: 'PEM' | 'DER' | 'JWK' | 'JWT'
  /** By how many decodings it was hidden. */
  readonly depth: number
}

const MOST_DEPTH = 4
const MOST_BYTES = 256 * 1024 * 1024

/** Every private key and every JWT in these bytes. */
export function findingsIn(bytes: Buffer, depth = 0): readonly Finding[] {
  const text = bytes.toString('latin1')
  const here = [...pem(text), ...der(bytes), ...jwk(text), ...jwt(text)].map((form) => ({ form, depth }))
  if (depth >= MOST_DEPTH) return here
  return [...here, ...decoded(bytes, text).flatMap((inner) => findingsIn(inner, depth + 1))]
}

export const keysIn = (bytes: Buffer): readonly Finding[] =>
  findingsIn(bytes).filter(({ form }) => form !== 'JWT')

// With a body that is long enough: a program that can read PEM names the armour too.
const PEM = /-----BEGIN ([A-Z0-9 ]* )?PRIVATE KEY-----(?:\s|\\n|\\r)*[A-Za-z0-9+/=\s\\]{60,}-----END/g

function pem(text: string): readonly Finding['form'][] {
  return [...text.matchAll(PEM)].map(() => 'PEM')
}

const TYPES = ['pkcs8', 'sec1', 'pkcs1'] as const

/** A SEQUENCE that begins with the INTEGER 0 or 1, as all three forms do, and that OpenSSL takes for a private key. */
function der(bytes: Buffer): readonly Finding['form'][] {
  const found: Finding['form'][] = []
  for (let at = bytes.indexOf(0x30); at >= 0; at = bytes.indexOf(0x30, at + 1)) {
    const end = sequenceEnd(bytes, at)
    if (end === undefined) continue
    const key = bytes.subarray(at, end)
    if (!TYPES.some((type) => parses(key, type))) continue
    found.push('DER')
    // What is inside a PKCS#8 key is the same key again.
    at = end - 1
  }
  return found
}

function sequenceEnd(bytes: Buffer, at: number): number | undefined {
  const first = bytes[at + 1] ?? 0
  const octets = first < 0x80 ? 0 : first & 0x7f
  if (octets > 2) return undefined
  const length =
    octets === 0
      ? first
      : octets === 1
        ? (bytes[at + 2] ?? 0)
        : bytes.readUInt16BE(Math.min(at + 2, bytes.length - 2))
  const content = at + 2 + octets
  const integer = bytes[content] === 0x02 && bytes[content + 1] === 0x01 && (bytes[content + 2] ?? 9) <= 1
  const end = content + length
  return integer && length >= 30 && end <= bytes.length ? end : undefined
}

function parses(key: Buffer, type: 'pkcs8' | 'sec1' | 'pkcs1'): boolean {
  try {
    createPrivateKey({ key, format: 'der', type })
    return true
  } catch {
    return false
  }
}

const PRIVATE_MEMBER = /\\?"(?:d|k|p|q|dp|dq|qi)\\?"\s*:\s*\\?"[A-Za-z0-9_-]{20,}/g
const KEY_TYPE = /\\?"kty\\?"\s*:/

function jwk(text: string): readonly Finding['form'][] {
  if (!KEY_TYPE.test(text)) return []
  const near = (at: number) => KEY_TYPE.test(text.slice(Math.max(0, at - 2_000), at + 2_000))
  return [...text.matchAll(PRIVATE_MEMBER)].filter(({ index }) => near(index)).map(() => 'JWK')
}

const JWT = /eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}/g

function jwt(text: string): readonly Finding['form'][] {
  return [...text.matchAll(JWT)].map(() => 'JWT')
}

const BASE64 = /[A-Za-z0-9+/_-]{40,}={0,2}/g

function decoded(bytes: Buffer, text: string): readonly Buffer[] {
  const unpacked = unpack(bytes)
  if (unpacked) return [unpacked]
  return [...text.matchAll(BASE64)].map(([word]) => Buffer.from(word, 'base64'))
}

function unpack(bytes: Buffer): Buffer | undefined {
  const magic = bytes.subarray(0, 4).toString('hex')
  try {
    if (magic.startsWith('1f8b')) return gunzipSync(bytes, { maxOutputLength: MOST_BYTES })
    if (magic === '28b52ffd') return zstdDecompressSync(bytes, { maxOutputLength: MOST_BYTES })
  } catch {
    return undefined
  }
  return undefined
}
