/**
 * The ASN.1 form (RFC 3279 section 2.2.3) of an ECDSA signature that JWS writes as two coordinates (RFC 7518 section 3.4). OpenSSL verifies
 * this one as it is, which costs a third less than having it read the other.
 */
export function asn1Signature(coordinates: Uint8Array): Uint8Array {
  const half = coordinates.length / 2
  const first = integerLength(coordinates, 0, half)
  const second = integerLength(coordinates, half, coordinates.length)
  const content = first + second + 4
  const header = content < 0x80 ? 2 : 3
  const out = new Uint8Array(header + content)
  out[0] = SEQUENCE
  if (header === 3) out[1] = 0x81
  out[header - 1] = content
  writeInteger(out, header, { from: coordinates, start: 0, end: half, length: first })
  writeInteger(out, header + 2 + first, {
    from: coordinates,
    start: half,
    end: coordinates.length,
    length: second,
  })
  return out
}

const SEQUENCE = 0x30
const INTEGER = 0x02

// As short as it can be (X.690 section 8.3.2), with a zero in front of what would otherwise be negative; zero itself is one octet.
function integerLength(bytes: Uint8Array, start: number, end: number): number {
  let first = start
  while (first < end - 1 && bytes[first] === 0) first++
  return end - first + ((bytes[first] ?? 0) >> 7)
}

interface Integer {
  readonly from: Uint8Array
  readonly start: number
  readonly end: number
  readonly length: number
}

function writeInteger(out: Uint8Array, at: number, { from, start, end, length }: Integer): void {
  out[at] = INTEGER
  out[at + 1] = length
  const digits = Math.min(length, end - start)
  out.set(from.subarray(end - digits, end), at + 2 + length - digits)
}
