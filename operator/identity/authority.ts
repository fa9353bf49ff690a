import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { SignJWT } from 'jose'
import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { verifyX509Svid } from '../../contracts/spiffe.ts'
import { Fault, type Monotonic } from '../ports.ts'
import type { Keys, Material } from './keys.ts'
import type { Entropy } from './ports.ts'
import { activeOf, type KeyRecord, type Use } from './ring.ts'
import { SIGNING_LEASE_MS } from './rotation.ts'
import { createIntermediate, createLeaf, type Signer, serialFrom } from './x509.ts'

/** What a replica read of keys and bundle, and when by the monotonic clock. */
export interface KeyReading {
  readonly keys: Readonly<Record<Use, Keys>>
  readonly bundle: TrustBundle
  readonly readAt: number
}

export interface Authority {
  /** `path` begins with `/`. Moments in milliseconds since the epoch. */
  signX509(asked: X509Asked, at: number): SignedX509
  signJwt(asked: JwtAsked, at: number): Promise<SignedJwt>
  /** `digest`: 32 bytes. */
  signBundle(digest: Uint8Array): { readonly keyId: string; readonly signature: Buffer }
  bundle(): TrustBundle
}
export interface X509Asked {
  readonly path: string
  readonly publicKey: KeyObject
  readonly ttlMs: number
}
export interface SignedX509 {
  readonly spiffeId: string
  readonly chain: readonly Buffer[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
}
export interface JwtAsked {
  readonly path: string
  readonly audience: readonly string[]
  readonly ttlMs: number
}
export interface SignedJwt {
  readonly spiffeId: string
  readonly token: string
  readonly expiresAtMs: number
}

const BACKDATE_MS = 30_000
const INTERMEDIATE_MS = 24 * 3_600_000
export const MAX_JWT_TTL_MS = 15 * 60_000

interface Intermediate extends Signer {
  readonly rootId: string
  readonly renewAtMs: number
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface AuthorityNeeds {
  /** The newest reading; `undefined` before the first. */
  readonly reading: () => KeyReading | undefined
  readonly monotonic: Monotonic
  readonly entropy: Entropy
  /** Tells the intermediates of replicas apart. */
  readonly replica: string
}

/** Signs with the active keys. Throws a Fault when the keys were last read too long ago: they may have been revoked since. */
export function createAuthority({ reading, monotonic, entropy, replica }: AuthorityNeeds): Authority {
  let intermediate: Intermediate | undefined

  const fresh = (): KeyReading => {
    const read = reading()
    if (!read || monotonic() - read.readAt > SIGNING_LEASE_MS)
      throw new Fault('api', 'the signing keys could not be read for too long')
    return read
  }
  const intermediateOf = (read: KeyReading, at: number): Intermediate => {
    const root = signingKey(read.keys.X509CA)
    // A clock that was set back would find it not valid yet.
    const usable = intermediate && at >= intermediate.notBeforeMs && at < intermediate.renewAtMs
    if (!intermediate || !usable || intermediate.rootId !== root.record.id)
      intermediate = makeIntermediate(root, { trustDomain: read.bundle.trustDomain, replica, entropy }, at)
    return intermediate
  }

  const signX509 = ({ path, publicKey, ttlMs }: X509Asked, at: number): SignedX509 => {
    const read = fresh()
    const issuer = intermediateOf(read, at)
    const { record } = signingKey(read.keys.X509CA)
    const notAfterMs = seconds(Math.min(at + Math.min(ttlMs, record.maxTtlMs), issuer.notAfterMs))
    const notBeforeMs = seconds(at - BACKDATE_MS)
    const { trustDomain, x509Roots: roots } = read.bundle
    const validity = { notBeforeMs, notAfterMs, serial: serialFrom(entropy(16)) }
    const chain = [
      createLeaf(publicKey, { trustDomain, path }, validity, issuer),
      Buffer.from(issuer.certificate),
    ]
    // What goes out is what anybody would accept, or it does not go out.
    const spiffeId = `spiffe://${trustDomain}${path}`
    const check = verifyX509Svid(chain, { trustDomain, roots }, at)
    if (!check.ok || check.id.uri !== spiffeId)
      throw new Fault(
        'internal',
        `a certificate that was signed does not verify: ${check.ok ? 'identity' : check.why}`,
      )
    return { spiffeId, chain, notBeforeMs, notAfterMs }
  }

  const signJwt = async ({ path, audience, ttlMs }: JwtAsked, at: number): Promise<SignedJwt> => {
    const read = fresh()
    const { record, privateKey } = signingKey(read.keys.JWTSVID)
    const spiffeId = `spiffe://${read.bundle.trustDomain}${path}`
    const iat = Math.floor(at / 1_000)
    const exp = iat + Math.floor(Math.min(ttlMs, record.maxTtlMs, MAX_JWT_TTL_MS) / 1_000)
    const token = await new SignJWT({ sub: spiffeId, aud: [...audience], iat, exp })
      .setProtectedHeader({ alg: 'ES256', kid: record.id, typ: 'JWT' })
      .sign(privateKey)
    return { spiffeId, token, expiresAtMs: exp * 1_000 }
  }

  const signBundle = (digest: Uint8Array) => {
    const { record, privateKey } = signingKey(fresh().keys.BundleSigning)
    return {
      keyId: record.id,
      signature: sign('sha256', digest, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
    }
  }
  return { signX509, signJwt, signBundle, bundle: () => fresh().bundle }
}

interface SigningKey {
  readonly record: KeyRecord
  readonly privateKey: KeyObject
  readonly material: Material
}

function signingKey({ ring, material }: Keys): SigningKey {
  const record = activeOf(ring)
  const found = record && material.get(record.id)
  if (!record || !found?.privateKey) throw new Fault('internal', `no active key for ${ring.use}`)
  // A signature under a key that no bundle carries yet could be verified by nobody.
  if (record.publishedSequence === undefined)
    throw new Fault('api', `the active key for ${ring.use} is not published yet`)
  return { record, privateKey: found.privateKey, material: found }
}

function makeIntermediate(
  root: SigningKey,
  owner: { readonly trustDomain: string; readonly replica: string; readonly entropy: Entropy },
  at: number,
): Intermediate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const life = Math.max(INTERMEDIATE_MS, 3 * root.record.maxTtlMs)
  const notAfterMs = seconds(Math.min(at + life, root.record.notAfterMs))
  const validity = {
    notBeforeMs: seconds(at - 2 * BACKDATE_MS),
    notAfterMs,
    serial: serialFrom(owner.entropy(16)),
  }
  const subject = { name: `portcullis issuer ${owner.replica}`.slice(0, 64), trustDomain: owner.trustDomain }
  const signer = { certificate: root.material.published, privateKey: root.privateKey }
  const certificate = createIntermediate(publicKey, subject, validity, signer)
  return {
    certificate,
    privateKey,
    rootId: root.record.id,
    renewAtMs: at + (notAfterMs - at) / 2,
    notBeforeMs: validity.notBeforeMs,
    notAfterMs,
  }
}

/** Certificates count in whole seconds. */
function seconds(at: number): number {
  return Math.floor(at / 1_000) * 1_000
}
