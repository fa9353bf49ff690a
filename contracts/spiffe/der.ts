/**
 * A strict reader of DER (ITU-T X.690 section 10): definite minimal lengths, one-byte tags, nothing left over. Throws
 * SyntaxError on anything else; the doors that read from outside turn that into a refusal. And the writer of the few forms we make.
 */

export interface Der {
  readonly tag: number
  readonly content: Uint8Array
  /** Tag, length and content: what a signature covers. */
  readonly whole: Uint8Array
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
} as const

/** The one element that `bytes` holds. */
export function readDer(bytes: Uint8Array, tag: number): Der {
  const { element, end } = elementAt(bytes, 0)
  if (end !== bytes.length) throw new SyntaxError('DER: bytes after the element')
  return expectTag(element, tag)
}

/** The elements of a constructed one, in order. */
export function childrenOf(parent: Der): readonly Der[] {
  const children: Der[] = []
  for (let at = 0; at < parent.content.length; ) {
    const { element, end } = elementAt(parent.content, at)
    children.push(element)
    at = end
  }
  return children
}

export function expectTag(element: Der | undefined, tag: number): Der {
  if (element?.tag !== tag) throw new SyntaxError(`DER: tag ${tag.toString(16)} expected`)
  return element
}

/** Dotted form of an OBJECT IDENTIFIER. */
export function oidOf(element: Der | undefined): string {
  const { content } = expectTag(element, TAG.oid)
  const arcs: number[] = []
  let arc = 0
  let fresh = true
  for (const byte of content) {
    // X.690 section 8.19.2: the shortest form; 0x80 first would pad. Arcs beyond 2^42 name nothing that we know.
    if ((fresh && byte === 0x80) || arc > 2 ** 35) throw new SyntaxError('DER: object identifier')
    arc = arc * 128 + (byte & 0x7f)
    fresh = byte < 0x80
    if (fresh) {
      arcs.push(arc)
      arc = 0
    }
  }
  const [first, ...rest] = arcs
  if (first === undefined || !fresh) throw new SyntaxError('DER: object identifier')
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - 40 * root, ...rest].join('.')
}

export function booleanOf(element: Der): boolean {
  const { content } = expectTag(element, TAG.boolean)
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) throw new SyntaxError('DER: boolean')
  return content[0] === 0xff
}

/** A small non-negative INTEGER. */
export function smallIntegerOf(element: Der | undefined): number {
  const { content } = expectTag(element, TAG.integer)
  const [byte] = content
  if (content.length !== 1 || byte === undefined || byte > 0x7f) throw new SyntaxError('DER: integer')
  return byte
}

/** The named bits that are set (X.690 section 11.2: no trailing zero bits). */
export function bitsOf(element: Der): ReadonlySet<number> {
  const { content } = expectTag(element, TAG.bitString)
  const [unused = 8, ...octets] = content
  const last = octets.at(-1)
  const minimal =
    last === undefined ? unused === 0 : unused < 8 && (last & ((1 << unused) - 1)) === 0 && last !== 0
  if (!minimal || octets.length > 4) throw new SyntaxError('DER: bit string')
  return new Set(
    octets.flatMap((octet, index) =>
      [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => octet & (0x80 >> bit)).map((bit) => 8 * index + bit),
    ),
  )
}

/** Octets of a BIT STRING without unused bits: a signature. */
export function octetsOfBits(element: Der | undefined): Uint8Array {
  const { content } = expectTag(element, TAG.bitString)
  if (content[0] !== 0) throw new SyntaxError('DER: bit string')
  return content.subarray(1)
}

export function ascii(bytes: Uint8Array): string {
  if (bytes.some((byte) => byte > 0x7e || byte < 0x20)) throw new SyntaxError('DER: not printable ASCII')
  return Buffer.from(bytes).toString('latin1')
}

/** Writes one element. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(tag), lengthOctets(content.length), content])
}

function lengthOctets(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length)
  return length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff)
}

function elementAt(bytes: Uint8Array, at: number): { readonly element: Der; readonly end: number } {
  const [tag, first] = bytes.subarray(at, at + 2)
  if (tag === undefined || first === undefined) throw new SyntaxError('DER: cut short')
  if ((tag & 0x1f) === 0x1f) throw new SyntaxError('DER: tag of several bytes')
  const { length, start } =
    first < 0x80 ? { length: first, start: at + 2 } : longLength(bytes, at + 2, first & 0x7f)
  const end = start + length
  if (end > bytes.length) throw new SyntaxError('DER: cut short')
  return { element: { tag, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) }, end }
}

function longLength(bytes: Uint8Array, at: number, octets: number) {
  // 16 MiB is far beyond every cap; four octets and more, and the indefinite form, are refused.
  if (octets < 1 || octets > 3 || at + octets > bytes.length) throw new SyntaxError('DER: length')
  const length = Buffer.from(bytes.subarray(at, at + octets)).readUIntBE(0, octets)
  if (length < (octets === 1 ? 0x80 : 2 ** (8 * (octets - 1))))
    throw new SyntaxError('DER: length is not minimal')
  return { length, start: at + octets }
}
