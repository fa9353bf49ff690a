import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'

/** So many bytes of chance from outside. */
export type RandomBytes = (count: number) => Buffer

/** What names a token or a family in a store. */
export function digest(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** What a sealed text is for: one that was sealed for something else, or for another family, does not open. */
export interface Purpose {
  readonly family: Buffer
  readonly what: 'facts' | 'issued' | 'used'
}

const IV_BYTES = 12
const TAG_BYTES = 16

/** AES-256-GCM under a key that HKDF (RFC 5869) derives from `secret`: only who has the secret can read it, or write what opens. */
export function seal(secret: Uint8Array, purpose: Purpose, plain: Uint8Array, chance: RandomBytes): Buffer {
  const iv = chance(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keyFor(secret, purpose), iv, { authTagLength: TAG_BYTES })
  cipher.setAAD(purpose.family)
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** The plain text, or `undefined` for whatever was not sealed with this secret for this purpose. */
export function unseal(secret: Uint8Array, purpose: Purpose, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < IV_BYTES + TAG_BYTES) return undefined
  const end = sealed.length - TAG_BYTES
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyFor(secret, purpose), sealed.subarray(0, IV_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(purpose.family)
    decipher.setAuthTag(sealed.subarray(end))
    return Buffer.concat([decipher.update(sealed.subarray(IV_BYTES, end)), decipher.final()])
  } catch {
    return undefined
  }
}

function keyFor(secret: Uint8Array, { family, what }: Purpose): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, family, `portcullis refresh family v1 ${what}`, 32))
}
