import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Moment } from '../request.ts'

/** Nonces of this process for DPoP proofs (RFC 9449 section 9): nothing is stored, and no other replica's is good here. */
export interface Nonces {
  /** The nonce to hand out now. */
  fresh(at: Moment): string
  /** Until when this nonce is good, milliseconds since the epoch; `undefined`: not ours, altered, or over. */
  validUntil(nonce: string, at: Moment): Moment | undefined
}

export const NONCE_LIFE_S = 30
/** Bytes of chance that `createNonces` takes: the key of the MAC, and the name of this replica. */
export const NONCE_SECRET_BYTES = 40

const KEY_BYTES = 32
const MAC_BYTES = 16
const FORM = /^v1\.[A-Za-z0-9_-]{11}\.[0-9]{1,12}\.[A-Za-z0-9_-]{22}$/

/** `v1.<replica>.<expiry>.<mac>`, expiry in seconds since the epoch. `secret` is new with each process, so a restart ends them all. */
export function createNonces(secret: Uint8Array): Nonces {
  if (secret.length !== NONCE_SECRET_BYTES)
    throw new RangeError(`nonces need ${NONCE_SECRET_BYTES} bytes of chance`)
  const key = Buffer.from(secret.subarray(0, KEY_BYTES))
  const replica = Buffer.from(secret.subarray(KEY_BYTES)).toString('base64url')
  const made = (expiry: number): string => {
    const text = `v1.${replica}.${expiry}`
    const mac = createHmac('sha256', key).update(text).digest().subarray(0, MAC_BYTES)
    return `${text}.${mac.toString('base64url')}`
  }
  let latest = { expiry: 0, nonce: '' }
  return {
    fresh(at) {
      const expiry = Math.floor(at / 1000) + NONCE_LIFE_S
      if (latest.expiry !== expiry) latest = { expiry, nonce: made(expiry) }
      return latest.nonce
    },
    validUntil(nonce, at) {
      if (!FORM.test(nonce)) return undefined
      const expiry = Number(nonce.split('.')[2])
      // Made anew and compared whole: replica, expiry and MAC can only all be right.
      const genuine = timingSafeEqualText(nonce, made(expiry))
      const until = expiry * 1000
      return genuine && at < until ? until : undefined
    },
  }
}

/** Whether two texts are the same, in a time that does not tell where they differ. */
export function timingSafeEqualText(one: string, other: string): boolean {
  const bytes = Buffer.from(one)
  const others = Buffer.from(other)
  return bytes.length === others.length && timingSafeEqual(bytes, others)
}
