import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, decodeJwt, EmbeddedJWK, type JWK, jwtVerify } from 'jose'
import { x5tOf } from '../fixtures/certificates.ts'
import type { Jwk } from '../fixtures/keys.ts'
import type { Call } from './call-mutants.ts'
import { CERTIFICATES, OWN, SPELLINGS } from './call-world.ts'
import { CHOOSES_KEY_OR_MEANING, createReference, type Rules, spelling } from './reference.ts'

// A second opinion on whole calls: jose for token and proof, tables for what RFC 9449 section 4.3 and RFC 8705 section 3 leave to us.
// URLs are not parsed: the table knows which of its spellings mean the one that is asked for. Whatever is not in a table is refused.

const PAST_S = 60
const FUTURE_S = 10
const ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'Ed25519',
  'EdDSA',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
]
/** Targets of requests, and the path that each means. */
const PATHS: ReadonlyMap<string, string> = new Map([
  ['/invoices/inv-1', '/invoices/inv-1'],
  ['/invoices/inv-1?currency=EUR', '/invoices/inv-1'],
  ['/invoices/%69nv-1', '/invoices/inv-1'],
  ['/invoices/inv-1/', '/invoices/inv-1/'],
  ['/invoices/inv-2', '/invoices/inv-2'],
])
const MAX_PROOF_BYTES = 4096

type Members = Readonly<Record<string, unknown>>

/** Remembers every proof that it has let pass: each passes once. */
export function createCallReference(keys: readonly Jwk[], algorithms: readonly string[], rules: Rules) {
  const token = createReference(keys, algorithms, { ...rules, cnfJudged: true })
  const spent = new Set<string>()
  return async (call: Call): Promise<'allow' | string> => {
    const wrong = await token(call.token)
    if (wrong !== 'allow') return wrong
    const scheme = call.scheme.toLowerCase()
    const [method, value] = methodOf(decodeJwt(call.token)['cnf'])
    const road = ROADS[`${scheme} ${method}`]
    if (road === undefined) return 'scheme'
    if (!fits(call.proofs, road === 'proof')) return 'lines'
    if (road === 'proof') return proof(call, value, rules.atS, spent)
    return road === 'certificate' ? certificate(call, value) : 'allow'
  }
}

// Which scheme goes with which kind of token; no other does.
const ROADS: Readonly<Record<string, 'bearer' | 'proof' | 'certificate'>> = {
  'bearer unbound': 'bearer',
  'dpop jkt': 'proof',
  'bearer x5t#S256': 'certificate',
}

function methodOf(cnf: unknown): readonly [method: string, value: string] {
  if (cnf === undefined) return ['unbound', '']
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) return ['none', '']
  const [[method, value] = [], second] = Object.entries(cnf)
  return method === undefined || second !== undefined || typeof value !== 'string'
    ? ['none', '']
    : [method, value]
}

// More than one line, or one that holds two, is refused of everybody; only a proof is owed.
function fits(proofs: readonly string[], owed: boolean): boolean {
  const [first, second] = proofs
  if (second !== undefined || first?.includes(',')) return false
  return first !== undefined || !owed
}

async function proof(call: Call, jkt: string, atS: number, spent: Set<string>): Promise<'allow' | string> {
  const [text = ''] = call.proofs
  const misspelt = spelling(text, MAX_PROOF_BYTES)
  if (misspelt) return misspelt
  try {
    const options = {
      typ: 'dpop+jwt',
      algorithms: ALGORITHMS,
      currentDate: new Date(atS * 1000),
      clockTolerance: PAST_S,
    }
    const { payload, protectedHeader } = await jwtVerify(text, EmbeddedJWK, options)
    const { jwk } = protectedHeader
    if (!jwk || 'd' in jwk || 'k' in jwk) return 'jwk'
    if (CHOOSES_KEY_OR_MEANING.some((name) => name !== 'jwk' && name in protectedHeader)) return 'header'
    if ((await calculateJwkThumbprint(jwk as JWK)) !== jkt) return 'jkt'
    const wrong = PROOF.find(([, fine]) => !fine(payload, call, atS))
    if (wrong) return wrong[0]
    const once = `${jkt} ${payload.jti}`
    if (spent.has(once)) return 'replay'
    spent.add(once)
    return 'allow'
  } catch (cause) {
    return cause instanceof Error ? `jose: ${cause.message}` : 'jose'
  }
}

const PROOF: readonly (readonly [
  name: string,
  fine: (claims: Members, call: Call, atS: number) => boolean,
])[] = [
  ['htm', ({ htm }, { method }) => htm === method],
  ['htu', ({ htu }, { url }) => PATHS.has(url) && SPELLINGS.get(htu) === PATHS.get(url)],
  ['ath', ({ ath }, { token }) => ath === createHash('sha256').update(token).digest('base64url')],
  [
    'iat',
    ({ iat }, _call, atS) =>
      Number.isSafeInteger(iat) && Number(iat) >= atS - PAST_S && Number(iat) <= atS + FUTURE_S,
  ],
  ['jti', ({ jti }) => typeof jti === 'string' && jti !== '' && Buffer.byteLength(jti) <= 256],
  ['nonce', ({ nonce }) => nonce === undefined],
]

// Whom the trusted proxy names with each line; its own certificate never counts.
const hex = (der: Buffer) => Buffer.from(x5tOf(der), 'base64url').toString('hex')
const CLIENT_HASH = hex(CERTIFICATES.client)
const THIEF_HASH = hex(CERTIFICATES.thief)
const NAMED: ReadonlyMap<string, Buffer> = new Map([
  [`By=${OWN};Hash=${CLIENT_HASH}`, CERTIFICATES.client],
  [`by="${OWN}";hash=${CLIENT_HASH.toUpperCase()}`, CERTIFICATES.client],
  [`By=${OWN};Hash=${CLIENT_HASH};Subject="CN=\\"x\\",O=y"`, CERTIFICATES.client],
  [`By=${OWN};Hash=${THIEF_HASH}`, CERTIFICATES.thief],
  // The last is the proxy's own word.
  [`By=${OWN};Hash=${THIEF_HASH},By=${OWN};Hash=${CLIENT_HASH}`, CERTIFICATES.client],
  [`By=${OWN};Hash=${CLIENT_HASH},By=${OWN};Hash=${THIEF_HASH}`, CERTIFICATES.thief],
  [`By=${OWN};Hash=${THIEF_HASH};Subject="x,By=${OWN};Hash=${CLIENT_HASH}"`, CERTIFICATES.thief],
])

function certificate({ peer, xfcc }: Call, thumbprint: string): 'allow' | string {
  if (!peer) return 'no certificate'
  if (peer !== CERTIFICATES.hop) return x5tOf(peer) === thumbprint ? 'allow' : 'other certificate'
  const [line = '', second] = xfcc
  const named = second === undefined ? NAMED.get(line) : undefined
  if (!named) return 'word of the proxy'
  return x5tOf(named) === thumbprint ? 'allow' : 'other certificate'
}
