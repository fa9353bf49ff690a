import { type Algorithm, parseJwks, type VerificationKey } from '../../contracts/jwks.ts'

/** Keys of one trust domain that verify JWT-SVIDs. */
export interface JwtKeys {
  readonly keys: readonly VerificationKey[]
  /**
   * The same as a JWK Set of RFC 7517 for the Workload API: without `use`, as SPIRE serves it, because common JOSE libraries ignore keys
   * whose `use` they do not know. `{"keys":[]}` when there are none.
   */
  readonly jwks: Buffer
}

export const NO_JWT_KEYS: JwtKeys = { keys: [], jwks: Buffer.from('{"keys":[]}') }

/** JWT-SVID section 2.1: these nine and no other. */
const ALGORITHMS: ReadonlySet<Algorithm> = new Set<Algorithm>([
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
])

export function isJwtSvidAlgorithm(name: unknown): boolean {
  return typeof name === 'string' && ALGORITHMS.has(name as Algorithm)
}

/**
 * Reads the `jwt_keys` of a trust bundle (Trust Domain and Bundle section 4.2). Keys of another or no `use` are ignored, as the standard
 * demands of consumers; a document that is no JWK Set, or has a key that cannot be used, is a problem.
 */
export function readJwtKeys(document: Uint8Array): JwtKeys | { readonly problem: string } {
  if (document.length === 0) return NO_JWT_KEYS
  const members = membersOf(document)
  if (!members) return { problem: 'its JWT keys are no JWK Set' }
  const ours = members.filter(({ use }) => use === 'jwt-svid').map(({ use: _use, ...rest }) => rest)
  const jwks = Buffer.from(JSON.stringify({ keys: ours }))
  const parsed = parseJwks(jwks, ALGORITHMS)
  if (!parsed.ok) return { problem: `its JWT keys: ${parsed.why}` }
  const [refused] = parsed.refused
  return refused
    ? { problem: `its JWT key ${refused.kid || '(no kid)'}: ${refused.why}` }
    : { keys: parsed.keys, jwks }
}

type Jwk = Readonly<Record<string, unknown>>

function membersOf(document: Uint8Array): readonly Jwk[] | undefined {
  try {
    const set: unknown = JSON.parse(Buffer.from(document).toString('utf8'))
    const keys = (set as { keys?: unknown }).keys
    const sound = Array.isArray(keys) && keys.every((one) => typeof one === 'object' && one !== null)
    return sound ? (keys as readonly Jwk[]) : undefined
  } catch {
    return undefined
  }
}
