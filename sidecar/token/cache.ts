import type { VerificationKey } from '../../contracts/jwks.ts'
import type { Json, Moment } from '../request.ts'
import { isNumericDate } from './evidence.ts'
import type { ParsedJwt } from './jwt.ts'

/**
 * What a full verification has shown of one token and what time cannot change: how its bytes read, and which key vouched for them.
 * Nothing else is remembered, so that nothing else can be out of date.
 */
export interface KnownToken {
  readonly jwt: ParsedJwt
  readonly key: VerificationKey
  readonly [known]: true
}
declare const known: unique symbol

export interface CacheLimits {
  readonly entries: number
  readonly bytes: number
}

/** Tokens that were verified before, by fingerprint. Two generations: what was not asked for in a while goes. */
export interface TokenCache {
  get(fingerprint: string, at: Moment): KnownToken | undefined
  /** Admits a token whose verification succeeded in full at `at`. */
  admit(fingerprint: string, jwt: ParsedJwt, key: VerificationKey, at: Moment): void
  forget(fingerprint: string): void
  clear(): void
  size(): number
  /** Estimated, on the high side. */
  bytes(): number
}

/** How long a token is known without being verified anew, milliseconds. */
export const LONGEST_KNOWN_MS = 300_000

interface Entry extends KnownToken {
  readonly until: Moment
  readonly bytes: number
}

interface Generation {
  readonly entries: Map<string, Entry>
  bytes: number
}

export function createTokenCache(limits: CacheLimits): TokenCache {
  let young: Generation = { entries: new Map(), bytes: 0 }
  let old: Generation = { entries: new Map(), bytes: 0 }

  const keep = (fingerprint: string, entry: Entry): void => {
    if (young.entries.size + 1 > limits.entries / 2 || young.bytes + entry.bytes > limits.bytes / 2) {
      old = young
      young = { entries: new Map(), bytes: 0 }
    }
    young.entries.set(fingerprint, entry)
    young.bytes += entry.bytes
  }
  const forget = (fingerprint: string): void => {
    for (const generation of [young, old]) {
      generation.bytes -= generation.entries.get(fingerprint)?.bytes ?? 0
      generation.entries.delete(fingerprint)
    }
  }
  return {
    get(fingerprint, at) {
      const recent = young.entries.get(fingerprint)
      const entry = recent ?? old.entries.get(fingerprint)
      if (!entry) return undefined
      if (at >= entry.until) {
        forget(fingerprint)
        return undefined
      }
      if (!recent) {
        forget(fingerprint)
        keep(fingerprint, entry)
      }
      return entry
    },
    admit(fingerprint, jwt, key, at) {
      const { header, claims, claimsJson } = jwt
      const bytes = sizeOf(claimsJson)
      if (bytes > limits.bytes / 2 || limits.entries < 2) return
      const { exp } = claims
      const until = Math.min(isNumericDate(exp) ? exp * 1000 : at, at + LONGEST_KNOWN_MS)
      if (until <= at) return
      forget(fingerprint)
      const read = { header, newHeader: undefined, claims: frozen(claims), claimsJson, ...NO_BYTES }
      keep(fingerprint, { jwt: read, key, until, bytes } as Entry)
    },
    forget,
    clear() {
      young = { entries: new Map(), bytes: 0 }
      old = { entries: new Map(), bytes: 0 }
    },
    size: () => young.entries.size + old.entries.size,
    bytes: () => young.bytes + old.bytes,
  }
}

const NOTHING = Buffer.alloc(0)
/** The signed bytes are not kept: under these no signature is genuine, should ever a key be asked about them. */
const NO_BYTES = { signed: NOTHING, signature: NOTHING }

/**
 * Measured on 10,000 entries: 400 bytes for the entry and its name, and 2.5 a character for the text and for what was read from it; twice
 * as much where characters take two bytes. Counted a fifth higher.
 */
const ENTRY_BYTES = 512
const BYTES_A_CHARACTER = 3

function sizeOf(claimsJson: string): number {
  const wide = /[^\0-\xff]/.test(claimsJson) ? 2 : 1
  return ENTRY_BYTES + wide * BYTES_A_CHARACTER * claimsJson.length
}

function frozen<T extends Json>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const member of Object.values(value)) frozen(member)
  return Object.freeze(value)
}
