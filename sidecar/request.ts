/** Milliseconds since the epoch. Read once per request and handed down. */
export type Moment = number

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }
export type JsonObject = { readonly [name: string]: Json }

/** One header line as received: the name in lower case, the value untouched. */
export interface HeaderLine {
  readonly name: string
  readonly value: Uint8Array
}

/** Facts of a resource as the application stored them. Empty text stands for an unset field of the wire. */
export interface StoredFacts {
  readonly type: string
  readonly id: string
  readonly tenant: string
  readonly owner: string
  readonly attributes: JsonObject
}

/** A question that keeps the contract: sizes, counts and depths are inside their limits. Made in serve/codec.ts only. */
export interface CheckRequest {
  readonly headers: readonly HeaderLine[]
  readonly method: string
  readonly url: string
  readonly action: string
  readonly stored: StoredFacts
  readonly sent: JsonObject
  readonly peerCertificate: Uint8Array | undefined
  /** How long the caller waits, milliseconds; 0 when it did not say. */
  readonly timeoutMs: number
}
