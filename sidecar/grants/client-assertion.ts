import { createPublicKey, hash, type JsonWebKey, type KeyObject, sign } from 'node:crypto'
import type { Now } from '../ports.ts'

export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** Seconds that an assertion lives. */
const LIFE_S = 60

export interface AssertionWish {
  readonly clientId: string
  /** The authorization server, by its issuer identifier: one audience that no other server could mean by it. */
  readonly audience: string
  readonly privateKey: KeyObject
}

/** A JWT by which a client says who it is (RFC 7523 section 2.2), a new one each time; `undefined` when there is no algorithm for the key. */
export type MakeAssertion = (wish: AssertionWish) => (() => string) | undefined

/**
 * Each assertion is made for one question, sent once: servers refuse a `jti` that they have seen (OpenID Connect Core section 9, "MUST only be used once"),
 * so that one kept for later would be worth nothing. `nextId` must never give the same text twice.
 */
export function createAssertions(wall: Now, nextId: () => string): MakeAssertion {
  const names = new WeakMap<KeyObject, string>()
  return ({ clientId, audience, privateKey }) => {
    const how = algorithmOf(privateKey)
    if (!how) return undefined
    const kid = names.get(privateKey) ?? thumbprintOf(privateKey)
    names.set(privateKey, kid)
    const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
    return () => {
      const at = Math.floor(wall() / 1000)
      const claims = { iss: clientId, sub: clientId, aud: audience, jti: nextId(), iat: at, exp: at + LIFE_S }
      const signed = `${encode({ alg: how.alg, typ: 'JWT', kid })}.${encode(claims)}`
      return `${signed}.${sign(how.hash, Buffer.from(signed), key).toString('base64url')}`
    }
  }
}

interface How {
  readonly alg: string
  /** `null`: the algorithm has its own. */
  readonly hash: string | null
}

const CURVES: Readonly<Record<string, How>> = {
  prime256v1: { alg: 'ES256', hash: 'sha256' },
  secp384r1: { alg: 'ES384', hash: 'sha384' },
}

function algorithmOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): How | undefined {
  if (type === 'ec') return CURVES[details?.namedCurve ?? '']
  if (type === 'ed25519') return { alg: 'EdDSA', hash: null }
  return type === 'rsa' && (details?.modulusLength ?? 0) >= 2048
    ? { alg: 'RS256', hash: 'sha256' }
    : undefined
}

/** Members of a public key that its thumbprint is made of, in the order of RFC 7638 section 3.2 and RFC 8037 section 2. */
const MEMBERS: Readonly<Record<string, readonly (keyof JsonWebKey)[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}

/** RFC 7638, SHA-256: the name under which a server finds the key without having been told one. */
export function thumbprintOf(key: KeyObject): string {
  const jwk = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  const members = (MEMBERS[jwk.kty ?? ''] ?? []).map((name) => [name, jwk[name]])
  return hash('sha256', JSON.stringify(Object.fromEntries(members)), 'base64url')
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
