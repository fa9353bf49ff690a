import 'reflect-metadata'
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  webcrypto,
} from 'node:crypto'
import * as x509 from '@peculiar/x509'
import type { TrustBundle } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'

// Certificate authorities and JWT keys of a trust domain, made for one test by a library that the product's sidecar does not use.

type Keys = x509.X509CertificateCreateSelfSignedParams['keys']

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0])

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const DAY_MS = 24 * 3_600_000

export interface Authority {
  readonly root: Buffer
  readonly rootPem: string
  issue(leaf: Leaf): Promise<Buffer>
}

export interface Leaf {
  readonly id: string
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  readonly notBefore?: number
  readonly notAfter?: number
}

export interface KeyAndChain {
  readonly keyPem: string
  readonly chainPem: string
}

export async function createAuthority(trustDomain: string): Promise<Authority> {
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as unknown as Keys
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=root ${randomBytes(4).toString('hex')}`,
    notBefore: new Date(Date.now() - 30 * DAY_MS),
    notAfter: new Date(Date.now() + 365 * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
    ],
  })
  return {
    root: Buffer.from(root.rawData),
    rootPem: root.toString('pem'),
    issue: (leaf) => issue(root, keys.privateKey, leaf),
  }
}

async function issue(
  root: x509.X509Certificate,
  signingKey: Keys['privateKey'],
  leaf: Leaf,
): Promise<Buffer> {
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: '',
    issuer: root.subject,
    notBefore: new Date(leaf.notBefore ?? Date.now() - DAY_MS),
    notAfter: new Date(leaf.notAfter ?? Date.now() + DAY_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: new x509.PublicKey(Buffer.from(leaf.spki)),
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: leaf.id }], true),
    ],
  })
  return Buffer.from(certificate.rawData)
}

/** A key and a certificate for a server of this trust domain. */
export async function serverCredential(authority: Authority, id: string): Promise<KeyAndChain> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const leaf = await authority.issue({ id, spki: publicKey.export({ type: 'spki', format: 'der' }) })
  return {
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    chainPem: new x509.X509Certificate(leaf).toString('pem'),
  }
}

function serial(): string {
  return `01${randomBytes(15).toString('hex')}`
}

export interface JwtSigner {
  readonly jwk: Readonly<Record<string, unknown>>
  readonly privateKey: KeyObject
  sign(claims: object, header?: object): string
}

export function createJwtSigner(kid: string): JwtSigner {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...createPublicKey(privateKey).export({ format: 'jwk' }), kid, use: 'jwt-svid' }
  return {
    jwk,
    privateKey,
    sign: (claims, header = { alg: 'ES256', kid, typ: 'JWT' }) => {
      const signed = [header, claims]
        .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
        .join('.')
      const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return `${signed}.${signature.toString('base64url')}`
    },
  }
}

export interface BundleParts {
  readonly trustDomain: string
  readonly sequence: number
  readonly authorities: readonly Authority[]
  readonly signers: readonly JwtSigner[]
}

export function bundleOf({ trustDomain, sequence, authorities, signers }: BundleParts): TrustBundle {
  return {
    sequence,
    trustDomain,
    x509Roots: authorities.map(({ root }) => root),
    jwtKeys: Buffer.from(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) })),
    bundleKeys: [],
    refreshHintS: 300,
  }
}
