import { digest, type RandomBytes, seal, unseal } from './seal.ts'

/**
 * What is kept of a family. In clear there are digests only; everything else is sealed, in a chain that begins with a token: a record of a
 * token opens with that token and holds the family's secret, and the secret opens the facts. So whoever reads the store learns nothing,
 * and whoever writes to it can forge nothing that a token of his would open, unless he has that token already.
 */
export interface FamilyFacts {
  readonly issuer: string
  readonly subject: string
  readonly sessionId: string
  readonly clientId: string
  /** Digest of what tokens are bound to; of nothing when they are not. */
  readonly binding: string
  readonly bornAtMs: number
  readonly expiresAtMs: number
  readonly accessTokenLifetimeMs: number
  /** Hex; empty when it was not told. */
  readonly registeredBy: string
}

/** A token that may be used. */
export interface Issued {
  readonly secret: Buffer
  readonly sequence: number
  /** Digest of the token that it was exchanged for; `undefined` of the first one. */
  readonly parent: Buffer | undefined
}

/** A token that was used. */
export interface Used {
  readonly secret: Buffer
  /** Fingerprint of who used it, FINGERPRINT_BYTES at most; empty when it was not told. */
  readonly by: Buffer
  /** Digest of the token that was given for it. */
  readonly successor: Buffer
  /** That token itself, while it may be given once more. */
  readonly again: { readonly successor: Buffer; readonly untilMs: number } | undefined
}

export const SECRET_BYTES = 32
export const FINGERPRINT_BYTES = 64
const DIGEST_BYTES = 32
const UNTIL_AT = SECRET_BYTES + DIGEST_BYTES
const BY_AT = UNTIL_AT + 8

export function sealFacts(secret: Buffer, family: Buffer, facts: FamilyFacts, random: RandomBytes): Buffer {
  return seal(secret, { family, what: 'facts' }, Buffer.from(JSON.stringify(facts)), random)
}

export function openFacts(secret: Buffer, family: Buffer, sealed: Buffer): FamilyFacts | undefined {
  const plain = unseal(secret, { family, what: 'facts' }, sealed)
  // Sealed by ourselves, so the shape is ours.
  return plain && (JSON.parse(plain.toString('utf8')) as FamilyFacts)
}

export function sealIssued(token: Buffer, family: Buffer, issued: Issued, random: RandomBytes): Buffer {
  const { secret, sequence, parent } = issued
  const number = Buffer.alloc(4)
  number.writeUInt32BE(sequence)
  const plain = Buffer.concat([secret, number, parent ?? Buffer.alloc(0)])
  return seal(token, { family, what: 'issued' }, plain, random)
}

export function openIssued(token: Buffer, family: Buffer, sealed: Buffer): Issued | undefined {
  const plain = unseal(token, { family, what: 'issued' }, sealed)
  if (!plain) return undefined
  const parent = plain.subarray(SECRET_BYTES + 4)
  return {
    secret: plain.subarray(0, SECRET_BYTES),
    sequence: plain.readUInt32BE(SECRET_BYTES),
    parent: parent.length === DIGEST_BYTES ? parent : undefined,
  }
}

/** The digest of the successor stays readable, so that a token whose parent names another successor is known to be stray. */
export function sealUsed(token: Buffer, family: Buffer, used: Used, random: RandomBytes): Buffer {
  const { secret, by, successor, again } = used
  const until = Buffer.alloc(8)
  until.writeBigUInt64BE(BigInt(again?.untilMs ?? 0))
  const fingerprint = Buffer.concat([Buffer.of(by.length), by])
  const plain = Buffer.concat([secret, successor, until, fingerprint, again?.successor ?? Buffer.alloc(0)])
  return Buffer.concat([successor, seal(token, { family, what: 'used' }, plain, random)])
}

export function openUsed(token: Buffer, family: Buffer, record: Buffer): Used | undefined {
  const plain = unseal(token, { family, what: 'used' }, record.subarray(DIGEST_BYTES))
  if (!plain) return undefined
  const successor = plain.subarray(SECRET_BYTES, UNTIL_AT)
  const untilMs = Number(plain.readBigUInt64BE(UNTIL_AT))
  const byEnd = BY_AT + 1 + (plain[BY_AT] ?? 0)
  const token2 = plain.subarray(byEnd)
  const again = token2.length > 0 ? { successor: token2, untilMs } : undefined
  return { secret: plain.subarray(0, SECRET_BYTES), by: plain.subarray(BY_AT + 1, byEnd), successor, again }
}

/** Whether the record of a used token names this one as its successor. */
export function namesSuccessor(record: Buffer | undefined, token: Buffer): boolean {
  return record?.subarray(0, DIGEST_BYTES).equals(token) ?? false
}

export function bindingOf(binding: Uint8Array): string {
  return digest(binding).toString('base64url')
}
