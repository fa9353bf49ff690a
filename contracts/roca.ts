/**
 * ROCA (CVE-2017-15361): primes made by one vendor's library are powers of 65537 modulo a product of small primes, and so
 * is the modulus. A random modulus passes all of these tests with a probability of about 2^-27.
 */
const SMALL_PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
  109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
] as const

const POWERS = SMALL_PRIMES.map((prime) => ({ prime: BigInt(prime), residues: powersOf65537(prime) }))

export function hasRocaFingerprint(modulus: bigint): boolean {
  return POWERS.every(({ prime, residues }) => residues.has(Number(modulus % prime)))
}

function powersOf65537(prime: number): ReadonlySet<number> {
  const residues = new Set<number>()
  for (let power = 1; !residues.has(power); power = (power * 65537) % prime) residues.add(power)
  return residues
}
