import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'

// The generated decoder is lenient where it may be: a field that occurs twice, the last one wins (of `allow` and `deny`
// too); a zero tag ends a message early; a nested length may reach past its parent. Each is legal protobuf or harmless
// when parsing for display. Here it could turn damaged bytes into a permission, so the structure is judged first.

/** The fields of a message that we know. `slot`: fields of one slot exclude each other (a oneof). */
interface Shape {
  readonly [field: number]: Field
}
interface Field {
  readonly type: WireType | 'any'
  readonly slot: number | 'many'
  readonly shape?: Shape
}

const once = (slot: number, shape: Shape): Field => ({ type: WireType.LengthDelimited, slot, shape })
const text = (slot: number): Field => ({ type: WireType.LengthDelimited, slot })
const count = (slot: number): Field => ({ type: WireType.Varint, slot })
const texts: Field = { type: WireType.LengthDelimited, slot: 'many' }

const UNKNOWN: Field = { type: 'any', slot: 'many' }

const PRINCIPAL: Shape = { 1: text(1), 2: text(2), 3: text(3), 4: text(4), 5: texts, 6: texts, 7: count(7) }
const HEADER: Shape = { 1: text(1), 2: text(2) }
const HEADERS: Field = { type: WireType.LengthDelimited, slot: 'many', shape: HEADER }
const CLIENT: Shape = {
  1: count(1),
  2: HEADERS,
  3: text(3),
  4: count(4),
}
const DIAGNOSTIC: Shape = { 1: count(1), 2: texts, 3: text(3) }
const OUTCOME = 1
/** `CheckResponse` of authorizer.proto. A field added there is unknown here and skipped: newer sidecars are understood. */
const CHECK_RESPONSE: Shape = {
  1: once(OUTCOME, { 1: once(1, PRINCIPAL), 2: texts, 3: HEADERS }),
  2: once(OUTCOME, { 1: once(1, CLIENT), 2: once(2, DIAGNOSTIC) }),
  10: text(10),
  11: text(11),
  12: count(12),
}
/** `VerifyTokenResponse` of authorizer.proto. */
const VERIFY_TOKEN_RESPONSE: Shape = {
  1: once(OUTCOME, {
    ...{ 1: count(1), 2: text(2), 3: text(3), 4: text(4) },
    ...{ 5: text(5), 6: text(6), 7: count(7) },
  }),
  2: once(OUTCOME, { 1: once(1, CLIENT), 2: once(2, DIAGNOSTIC) }),
  10: text(10),
  12: count(12),
}
const ENVELOPE: Shape = { 1: count(1), 2: text(2) }

/** Whether `bytes` is one CheckResponse, with nothing twice, nothing overlapping and nothing left over. Never throws. */
export function isCheckResponse(bytes: Uint8Array): boolean {
  return isMessage(bytes, CHECK_RESPONSE)
}

/** The same of a VerifyTokenResponse. */
export function isVerifyTokenResponse(bytes: Uint8Array): boolean {
  return isMessage(bytes, VERIFY_TOKEN_RESPONSE)
}

/** Takes a CheckStreamResponse apart without looking into the answer. `undefined`: these bytes are none. */
export function openEnvelope(
  bytes: Uint8Array,
): { readonly id: number; readonly answer: Uint8Array } | undefined {
  if (!isMessage(bytes, ENVELOPE)) return undefined
  const reader = new BinaryReader(bytes)
  let id = 0
  let answer: Uint8Array = new Uint8Array()
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (field === 1) id = reader.uint32()
    else if (field === 2) answer = reader.bytes()
    else reader.skip(type, field)
  }
  return { id, answer }
}

function isMessage(bytes: Uint8Array, shape: Shape): boolean {
  try {
    return matches(new BinaryReader(bytes), bytes.length, shape)
  } catch {
    return false
  }
}

function matches(reader: BinaryReader, end: number, shape: Shape): boolean {
  let taken = 0
  while (reader.pos < end) {
    const [number, type] = reader.tag()
    const field = shape[number] ?? UNKNOWN
    const slot = field.slot === 'many' ? 0 : 1 << field.slot
    if (isGroup(type) || !mayBe(field, type) || (taken & slot) !== 0) return false
    taken |= slot
    if (field.shape === undefined) reader.skip(type, number)
    else if (!matchesNested(reader, end, field.shape)) return false
  }
  return reader.pos === end
}

function isGroup(type: WireType): boolean {
  return type === WireType.StartGroup || type === WireType.EndGroup
}

function mayBe(field: Field, type: WireType): boolean {
  return field.type === type || field.type === 'any'
}

function matchesNested(reader: BinaryReader, end: number, shape: Shape): boolean {
  const length = reader.uint32()
  const innerEnd = reader.pos + length
  return innerEnd <= end && matches(reader, innerEnd, shape)
}
