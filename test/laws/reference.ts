import { createLocalJWKSet, jwtVerify } from 'jose'
import type { Jwk } from '../fixtures/keys.ts'
import { AUDIENCE, ISSUER } from '../fixtures/tokens.ts'

// A second opinion: jose with everything pinned, and a small table of what jose leaves to its caller.
// It shares no line with the product and is written the other way round: each rule says when a token is fine.

export interface Rules {
  readonly atS: number
  readonly skewS: number
  readonly lifetimeS: number
  readonly tenants: readonly string[]
  readonly scope: string
  /** `cnf` is judged by the caller (call-reference.ts); otherwise a token that has one is refused. */
  readonly cnfJudged?: boolean
}

type Members = Readonly<Record<string, unknown>>

const REQUIRED = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti', 'tenant']
export const CHOOSES_KEY_OR_MEANING = [
  'jku',
  'jwk',
  'x5u',
  'x5c',
  'b64',
  'cty',
  'zip',
  'crit',
  'enc',
  'epk',
  'p2c',
  'p2s',
  'apu',
  'apv',
  'iv',
  'tag',
]
const MAX_BYTES = 8 * 1024
const DEEPEST = 16

export function createReference(keys: readonly Jwk[], algorithms: readonly string[], rules: Rules) {
  const find = createLocalJWKSet({ keys: keys.map((key) => ({ kty: String(key['kty']), ...key })) })
  const options = {
    algorithms: [...algorithms],
    issuer: ISSUER,
    audience: AUDIENCE,
    typ: 'at+jwt',
    requiredClaims: REQUIRED,
    clockTolerance: rules.skewS,
    currentDate: new Date(rules.atS * 1000),
  }
  return async (token: string): Promise<'allow' | string> => {
    const wrong = spelling(token)
    if (wrong) return wrong
    try {
      const { payload, protectedHeader } = await jwtVerify(token, find, options)
      return (
        HEADER.find(([, fine]) => !fine(protectedHeader))?.[0] ??
        CLAIMS.find(([, fine]) => !fine(payload, rules))?.[0] ??
        'allow'
      )
    } catch (cause) {
      return cause instanceof Error ? `jose: ${cause.message}` : 'jose'
    }
  }
}

const HEADER: readonly (readonly [name: string, fine: (header: Members) => boolean])[] = [
  ['kid', ({ kid }) => typeof kid === 'string'],
  ['forbidden member', (header) => !CHOOSES_KEY_OR_MEANING.some((name) => name in header)],
]

const whole = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0
const name = (value: unknown): boolean =>
  typeof value === 'string' && value.length >= 1 && value.length <= 256
const texts = (value: unknown): boolean =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')

const CLAIMS: readonly (readonly [name: string, fine: (claims: Members, rules: Rules) => boolean])[] = [
  ['exp', ({ exp }) => whole(exp)],
  ['iat', ({ iat }, { atS, skewS }) => whole(iat) && iat <= atS + skewS],
  ['nbf', ({ nbf }) => nbf === undefined || whole(nbf)],
  [
    'lifetime',
    ({ exp, iat }, { lifetimeS }) => Number(exp) > Number(iat) && Number(exp) - Number(iat) <= lifetimeS,
  ],
  ['identity', ({ sub, client_id, jti }) => name(sub) && name(client_id) && name(jti)],
  ['aud', ({ aud }) => typeof aud === 'string' || texts(aud)],
  ['tenant', ({ tenant }, { tenants }) => tenants.some((one) => one === tenant)],
  ['cnf', (claims, { cnfJudged = false }) => cnfJudged || !('cnf' in claims)],
  ['roles', ({ roles }) => roles === undefined || (Array.isArray(roles) && roles.every(isRole))],
  [
    'scope',
    ({ scope }, rules) =>
      typeof scope === 'string' &&
      /^[!#-[\]-~]+( [!#-[\]-~]+)*$/.test(scope) &&
      scope.split(' ').includes(rules.scope),
  ],
]

// What must be so before anybody parses: one spelling, one reading.
export function spelling(token: string, maxBytes = MAX_BYTES): string | undefined {
  if (token.length > maxBytes) return 'size'
  const segments = token.split('.')
  if (segments.length !== 3) return 'segments'
  const bytes = segments.map((segment) => Buffer.from(segment, 'base64url'))
  if (segments.some((segment, at) => bytes[at]?.toString('base64url') !== segment)) return 'base64url'
  for (const part of bytes.slice(0, 2)) {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(part)
    if (!Buffer.from(text).equals(part)) return 'UTF-8'
    try {
      const value: unknown = JSON.parse(text)
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'object'
      // As many names in the text as in what came out of it.
      if (names(text) !== names(JSON.stringify(value))) return 'duplicate'
      if (depth(value) > DEEPEST) return 'depth'
      if (/\\u0000|\\ud[89a-f]/i.test(JSON.stringify(value))) return 'text'
    } catch {
      return 'JSON'
    }
  }
  return undefined
}

function names(text: string): number {
  return text.match(/"(?:[^"\\]|\\.)*"\s*:/gs)?.length ?? 0
}

function depth(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depth))
}

// A plain value, or SCIM's complex one.
function isRole(role: unknown): boolean {
  if (typeof role === 'string') return true
  return typeof role === 'object' && role !== null && 'value' in role && typeof role.value === 'string'
}
