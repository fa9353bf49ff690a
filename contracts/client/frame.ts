import { Buffer } from 'node:buffer'

// What is written when a question is sent, around bytes that were encoded when it was asked: `timeout_ms` is known only
// then. By hand and into one buffer, because this is the cost that every single question pays.

/** `CheckRequest.timeout_ms`, field 7, varint. */
const TIMEOUT_MS_TAG = (7 << 3) | 0
/** `VerifyTokenRequest.timeout_ms`, field 8, varint. */
const VERIFY_TIMEOUT_MS_TAG = (8 << 3) | 0
/** `CheckStreamRequest.id`, field 1, varint. */
const ID_TAG = (1 << 3) | 0
/** `CheckStreamRequest.check`, field 2, length-delimited. */
const CHECK_TAG = (2 << 3) | 2

/** A CheckRequest: the question and how long its caller still waits. */
export function encodeCheck(question: Uint8Array, waitMs: number): Buffer {
  return withTimeout(question, waitMs, TIMEOUT_MS_TAG)
}

/** A VerifyTokenRequest of the same. */
export function encodeVerify(question: Uint8Array, waitMs: number): Buffer {
  return withTimeout(question, waitMs, VERIFY_TIMEOUT_MS_TAG)
}

function withTimeout(question: Uint8Array, waitMs: number, tag: number): Buffer {
  const timeoutMs = wireTimeout(waitMs)
  const bytes = Buffer.allocUnsafe(question.length + 1 + varintLength(timeoutMs))
  writeQuestion(bytes, { at: 0, question, timeoutMs, tag })
  return bytes
}

/** A CheckStreamRequest of the same. */
export function encodeEnvelope(id: number, question: Uint8Array, waitMs: number): Buffer {
  const timeoutMs = wireTimeout(waitMs)
  const length = question.length + 1 + varintLength(timeoutMs)
  const bytes = Buffer.allocUnsafe(2 + varintLength(id) + varintLength(length) + length)
  bytes[0] = ID_TAG
  let at = writeVarint(bytes, 1, id)
  bytes[at] = CHECK_TAG
  at = writeVarint(bytes, at + 1, length)
  writeQuestion(bytes, { at, question, timeoutMs, tag: TIMEOUT_MS_TAG })
  return bytes
}

/** At least 1: on the wire 0 would mean "no limit". */
function wireTimeout(ms: number): number {
  return Math.max(1, Math.floor(ms))
}

interface Timed {
  readonly at: number
  readonly question: Uint8Array
  readonly timeoutMs: number
  readonly tag: number
}

function writeQuestion(bytes: Buffer, { at, question, timeoutMs, tag }: Timed): void {
  bytes.set(question, at)
  bytes[at + question.length] = tag
  writeVarint(bytes, at + question.length + 1, timeoutMs)
}

/** Returns where the next byte goes. */
function writeVarint(bytes: Buffer, start: number, value: number): number {
  let at = start
  let rest = value
  while (rest > 0x7f) {
    bytes[at] = (rest & 0x7f) | 0x80
    rest >>>= 7
    at += 1
  }
  bytes[at] = rest
  return at + 1
}

/** Of a uint32, 1 to 5 bytes. */
function varintLength(value: number): number {
  return value < 0x80 ? 1 : 1 + varintLength(value >>> 7)
}
