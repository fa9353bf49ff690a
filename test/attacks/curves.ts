// Numbers of the NIST curves that attacks are made of (SP 800-186 section 3.2.1).

export const CURVE = {
  ES256: { bytes: 32, order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n },
  ES384: {
    bytes: 48,
    order:
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  ES512: {
    bytes: 66,
    order: 2n ** 521n - (2n ** 260n - 0xa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n),
  },
} as const

export type CurveAlg = keyof typeof CURVE
export const CURVE_ALGS = ['ES256', 'ES384', 'ES512'] as const

/** Two numbers as a JWS signature (RFC 7518 section 3.4). */
export function pair(alg: CurveAlg, r: bigint, s: bigint): Buffer {
  return Buffer.concat([octets(r, CURVE[alg].bytes), octets(s, CURVE[alg].bytes)])
}

export function numbersOf(alg: CurveAlg, signature: Buffer): readonly [r: bigint, s: bigint] {
  const { bytes } = CURVE[alg]
  return [number(signature.subarray(0, bytes)), number(signature.subarray(bytes))]
}

export function octets(value: bigint, length: number): Buffer {
  return Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex')
}

function number(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex') || '0'}`)
}
