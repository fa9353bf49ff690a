import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { X509Svid } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { type SpiffeId, verifyX509Svid } from '../../contracts/spiffe.ts'
import type { Moment } from '../request.ts'
import type { Trust } from './trust.ts'

/** An X509-SVID of ours with its private key. Made by `acceptSvid` only, so that it was genuine when it came. */
export interface Credential {
  readonly id: SpiffeId
  /** Never leaves memory but as what a TLS context or the Workload API needs. */
  readonly privateKey: KeyObject
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[]
  readonly notAfterMs: number
  readonly hint: string
}

export type Accepted =
  | { readonly ok: true; readonly credential: Credential }
  | { readonly ok: false; readonly problem: string }

/** SPIFFE Workload API section 8: longer hints should not be supported. */
const HINT_LENGTH = 1024

/** An answer of the issuer is taken only when it certifies the key that was asked for, under roots that are trusted now. */
export function acceptSvid(svid: X509Svid, privateKey: KeyObject, trust: Trust, at: Moment): Accepted {
  const verified = verifyX509Svid(svid.chain, trust, at)
  if (!verified.ok) return { ok: false, problem: `the issued SVID is not genuine here: ${verified.why}` }
  const { id, publicKey, notAfterMs } = verified
  if (id.uri !== svid.spiffeId)
    return { ok: false, problem: 'the issued SVID is for another ID than the answer says' }
  if (!publicKey.equals(createPublicKey(privateKey)))
    return { ok: false, problem: 'the issued SVID certifies another key than the one asked for' }
  if (svid.hint.length > HINT_LENGTH) return { ok: false, problem: 'the hint of the issued SVID is too long' }
  return { ok: true, credential: { id, privateKey, chain: svid.chain, notAfterMs, hint: svid.hint } }
}

/** Whether a credential could still be used at `at` with those who trust what we trust. */
export function usable({ chain }: Credential, trust: Trust, at: Moment): boolean {
  return verifyX509Svid(chain, trust, at).ok
}

/** A new EC P-256 key, in memory only. */
export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}
