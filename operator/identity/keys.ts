import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { Fault } from '../ports.ts'
import type { Entropy, Shelf } from './ports.ts'
import { type KeyRecord, type NewKey, type Ring, USES, type Use } from './ring.ts'
import { createRoot, serialFrom } from './x509.ts'

/** What belongs to a key besides its record. `published`: the root certificate of an X509CA, otherwise the SPKI; DER. */
export interface Material {
  readonly privateKey: KeyObject | undefined
  readonly published: Buffer
}

/** All keys of one use with their halves: the content of one Secret, so that keys and states change together or not at all. */
export interface Keys {
  readonly ring: Ring
  readonly material: ReadonlyMap<string, Material>
}

export interface KeyRules {
  readonly trustDomain: string
  readonly rootTtlMs: number
  /** Longest life of a credential of each use. */
  readonly maxTtlMs: Readonly<Record<Use, number>>
}

export const SECRETS = {
  X509CA: 'portcullis-ca',
  JWTSVID: 'portcullis-jwt-keys',
  BundleSigning: 'portcullis-bundle-keys',
} as const satisfies Readonly<Record<Use, string>>

/** A clock set back by less than this finds the root valid. */
const BACKDATE_MS = 3_600_000
const NO_EXPIRY_MS = 10 * 365 * 86_400_000

/** A new EC P-256 key for a use. */
export function makeKey(
  use: Use,
  rules: KeyRules,
  at: number,
  entropy: Entropy,
): { readonly key: NewKey; readonly material: Material } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const validity = {
    notBeforeMs: at - BACKDATE_MS,
    notAfterMs: at + (use === 'X509CA' ? rules.rootTtlMs : NO_EXPIRY_MS),
  }
  const id = idOf(use, publicKey, spki)
  const subject = { name: `portcullis root ${id.slice(0, 8)}`, trustDomain: rules.trustDomain }
  const published =
    use === 'X509CA' ? createRoot(privateKey, subject, validity, serialFrom(entropy(16))) : spki
  return { key: { id, ...validity, maxTtlMs: rules.maxTtlMs[use] }, material: { privateKey, published } }
}

// The kid of a JWT key is its thumbprint (RFC 7638); that of a bundle key is what the proto says.
function idOf(use: Use, publicKey: KeyObject, spki: Buffer): string {
  if (use === 'X509CA') return createHash('sha256').update(spki).digest('hex').slice(0, 32)
  if (use === 'BundleSigning') return createHash('sha256').update(spki).digest('base64url')
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}

/** Keys as the bytes of a Secret. A private key is written only while its key may sign, now or later. */
export function encodeKeys({ ring, material }: Keys): Shelf['content'] {
  const content: Record<string, Uint8Array> = { ring: Buffer.from(JSON.stringify(ring)) }
  for (const { id, state } of ring.keys) {
    const one = material.get(id)
    if (!one || state === 'Retired' || state === 'Revoked') continue
    content[`${id}.pub`] = one.published
    if (one.privateKey && state !== 'Retiring')
      content[`${id}.key`] = one.privateKey.export({ type: 'pkcs8', format: 'der' })
  }
  return content
}

/** Throws a Fault when the Secret is not what we wrote: nothing may be signed or published on a guess. */
export function decodeKeys(use: Use, { content }: Shelf): Keys {
  const ring = ringOf(use, content['ring'])
  const material = new Map<string, Material>()
  for (const { id, state } of ring.keys) {
    const [published, secret] = [content[`${id}.pub`], content[`${id}.key`]]
    if (state === 'Retired' || state === 'Revoked') continue
    if (!published) throw broken(use, `no public half of key ${id}`)
    const privateKey = secret && privateKeyOf(use, secret)
    if (state !== 'Retiring' && !privateKey) throw broken(use, `no private half of key ${id}`)
    if (privateKey && idOf(use, createPublicKey(privateKey), spkiOf(privateKey)) !== id)
      throw broken(use, `key ${id} is another key`)
    material.set(id, { privateKey, published: Buffer.from(published) })
  }
  return { ring, material }
}

function ringOf(use: Use, bytes: Uint8Array | undefined): Ring {
  const ring: unknown = bytes && JSON.parse(Buffer.from(bytes).toString())
  if (!isRing(ring) || ring.use !== use) throw broken(use, 'no ring of keys')
  if (ring.keys.filter(({ state }) => state === 'Active').length !== 1)
    throw broken(use, 'not one active key')
  return ring
}

function isRing(value: unknown): value is Ring {
  if (typeof value !== 'object' || value === null || !('use' in value) || !('keys' in value)) return false
  const { use, keys } = value
  return USES.some((one) => one === use) && Array.isArray(keys) && keys.length <= 16 && keys.every(isRecord)
}

function isRecord(value: unknown): value is KeyRecord {
  if (typeof value !== 'object' || value === null) return false
  const { id, state, sinceMs, notBeforeMs, notAfterMs, maxTtlMs } = value as Readonly<Record<string, unknown>>
  const numbers = [sinceMs, notBeforeMs, notAfterMs, maxTtlMs]
  return (
    typeof id === 'string' &&
    /^[A-Za-z0-9_-]{8,128}$/.test(id) &&
    typeof state === 'string' &&
    numbers.every(Number.isSafeInteger)
  )
}

function privateKeyOf(use: Use, der: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
  } catch {
    // What OpenSSL says of a broken key may quote it.
    throw broken(use, 'a private key does not parse')
  }
}

function spkiOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
}

function broken(use: Use, why: string): Fault {
  return new Fault(
    'internal',
    `Secret ${SECRETS[use]}: ${why}; restore it from a backup, or delete it to start anew`,
  )
}
