import type { KeyObject } from 'node:crypto'
import {
  type Certificate,
  type GeneralName,
  KEY_USAGE,
  readCertificate,
  same,
  URI_NAME,
  urisOf,
} from './spiffe/certificate.ts'
import { ascii } from './spiffe/der.ts'

/** SPIFFE identities and X509-SVIDs (SPIFFE-ID and X509-SVID standards): read and verified, for both programs. */

/** A SPIFFE ID that follows the grammar; made by `parseSpiffeId` only. */
export interface SpiffeId {
  readonly uri: string
  readonly trustDomain: string
  /** Empty for the trust domain itself, otherwise begins with `/`. */
  readonly path: string
}

const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/
const SEGMENT = /^[a-zA-Z0-9._-]+$/
const SPIFFE_ID_BYTES = 2_048

/**
 * The ID in `text`, or `undefined` when it breaks the grammar (SPIFFE-ID section 2). Never normalises: an ID that has two
 * spellings is a way to be somebody else.
 */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  if (text.length > SPIFFE_ID_BYTES || !text.startsWith('spiffe://')) return undefined
  const [trustDomain = '', ...segments] = text.slice('spiffe://'.length).split('/')
  if (!isTrustDomain(trustDomain)) return undefined
  if (!segments.every((one) => SEGMENT.test(one) && one !== '.' && one !== '..')) return undefined
  return { uri: text, trustDomain, path: segments.map((segment) => `/${segment}`).join('') }
}

/** SPIFFE-ID section 2.1: lower case, no port, no user, no percent-encoding. */
export function isTrustDomain(text: string): boolean {
  return TRUST_DOMAIN.test(text)
}

/** Who may certify identities of one trust domain: its root certificates, DER. Bundles of several domains are never pooled. */
export interface X509Trust {
  readonly trustDomain: string
  readonly roots: readonly Uint8Array[]
}

export type VerifiedSvid =
  | {
      readonly ok: true
      readonly id: SpiffeId
      readonly publicKey: KeyObject
      /** The earliest of the whole chain, milliseconds since the epoch. */
      readonly notBeforeMs: number
      readonly notAfterMs: number
    }
  | { readonly ok: false; readonly why: string }

/** Certificates from the leaf to the root, both counted. */
const MAX_PATH = 4
const MAX_ROOTS = 16

/**
 * Verifies an X509-SVID (DER, leaf first, each certificate issued by the next) against the roots of one trust domain at the moment
 * `at`, milliseconds since the epoch: RFC 5280 section 6 for the profile of X509-SVID section 5. Never throws for bad input.
 */
export function verifyX509Svid(chain: readonly Uint8Array[], trust: X509Trust, at: number): VerifiedSvid {
  if (chain.length === 0 || chain.length > MAX_PATH) return refuse(`chain of ${chain.length} certificates`)
  if (trust.roots.length === 0 || trust.roots.length > MAX_ROOTS) return refuse('no usable trust bundle')
  try {
    const presented = chain.map(readCertificate)
    const path = pathToRoot(presented, trust.roots.map(readCertificate))
    if (typeof path === 'string') return refuse(path)
    const id = leafId(path, trust.trustDomain)
    if (typeof id === 'string') return refuse(id)
    const broken = pathProblem(path, id, at)
    const [leaf] = path
    if (broken !== undefined || !leaf) return refuse(broken ?? 'no certificate')
    return {
      ok: true,
      id,
      publicKey: leaf.x509.publicKey,
      notBeforeMs: Math.max(...path.map(({ notBeforeMs }) => notBeforeMs)),
      notAfterMs: Math.min(...path.map(({ notAfterMs }) => notAfterMs)),
    }
  } catch (cause) {
    return refuse(cause instanceof Error ? `malformed: ${cause.message.slice(0, 200)}` : 'malformed')
  }
}

function refuse(why: string): VerifiedSvid {
  return { ok: false, why }
}

/** The presented certificates and the root that issued the last; the root itself may have been presented too. */
function pathToRoot(
  presented: readonly Certificate[],
  roots: readonly Certificate[],
): readonly Certificate[] | string {
  const last = presented.at(-1)
  if (!last) return 'no certificate'
  const anchored = presented.length > 1 && roots.some(({ x509 }) => same(x509.raw, last.x509.raw))
  // Two roots may share a name across a rotation: the one whose key made the signature is meant.
  const root = anchored ? last : roots.find((one) => issued(one, last))
  if (!root) return 'not issued by a root of the trust bundle'
  const path = anchored ? presented : [...presented, root]
  if (path.length > MAX_PATH) return `path of ${path.length} certificates`
  // The last step, to the root, was taken above; or the root itself was presented, and is the last.
  const gap = presented.findIndex((one, index) => {
    const issuer = presented[index + 1]
    return issuer !== undefined && !issued(issuer, one)
  })
  return gap < 0 ? path : `certificate ${gap} is not issued by certificate ${gap + 1}`
}

function issued(issuer: Certificate, subject: Certificate): boolean {
  return (
    same(issuer.subject, subject.issuer) &&
    strongSignature(subject) &&
    strongKey(issuer.x509.publicKey) &&
    subject.x509.checkIssued(issuer.x509) &&
    subject.x509.verify(issuer.x509.publicKey)
  )
}

const SIGNATURES: readonly string[] = [
  '1.2.840.10045.4.3.2', // ecdsa-with-SHA256 and its two sisters, RFC 5758
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11', // sha256WithRSAEncryption and its two sisters, RFC 4055
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112', // Ed25519, RFC 8410
]
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1']

function strongSignature({ signatureAlgorithm }: Certificate): boolean {
  return SIGNATURES.includes(signatureAlgorithm)
}

function strongKey({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): boolean {
  if (type === 'ec') return CURVES.includes(details?.namedCurve ?? '')
  return type === 'ed25519' || (type === 'rsa' && (details?.modulusLength ?? 0) >= 2_048)
}

// X509-SVID sections 2, 3.1, 4.1, 4.3, 4.4 for the leaf.
function leafId([leaf]: readonly Certificate[], trustDomain: string): SpiffeId | string {
  if (!leaf) return 'no certificate'
  const [uri, second] = urisOf(leaf)
  if (uri === undefined || second !== undefined) return 'not exactly one URI in the leaf'
  const id = parseSpiffeId(uri)
  if (!id) return 'the URI of the leaf is no SPIFFE ID'
  if (id.trustDomain !== trustDomain) return 'the leaf is of another trust domain'
  if (id.path === '') return 'the ID of the leaf has no path'
  if (leaf.emptySubject && !leaf.names?.critical)
    return 'empty subject without a critical subject alternative name'
  if (leaf.basicConstraints?.ca) return 'the leaf is a CA'
  const usage = leaf.keyUsage
  if (!usage?.critical || !usage.bits.has(KEY_USAGE.digitalSignature)) return 'key usage of the leaf'
  if (usage.bits.has(KEY_USAGE.keyCertSign) || usage.bits.has(KEY_USAGE.crlSign))
    return 'key usage of the leaf'
  if (!strongKey(leaf.x509.publicKey)) return 'key of the leaf'
  const extended = leaf.extendedKeyUsage
  if (extended && !(extended.includes('1.3.6.1.5.5.7.3.1') && extended.includes('1.3.6.1.5.5.7.3.2')))
    return 'extended key usage of the leaf'
  return id
}

function pathProblem(path: readonly Certificate[], id: SpiffeId, at: number): string | undefined {
  for (const [index, one] of path.entries()) {
    if (at < one.notBeforeMs) return `certificate ${index} is not valid yet`
    if (at > one.notAfterMs) return `certificate ${index} has expired`
    if (index === 0) continue
    const problem = authorityProblem(one, index - 1, id.trustDomain)
    if (problem) return `certificate ${index}: ${problem}`
    // RFC 5280 section 6.1.4: constraints bind everything below.
    if (!path.slice(0, index).every((below) => permits(one, below)))
      return `certificate ${index}: name constraints`
  }
  return undefined
}

function authorityProblem(one: Certificate, between: number, trustDomain: string): string | undefined {
  if (!one.basicConstraints?.ca) return 'not a CA'
  const { pathLength } = one.basicConstraints
  if (pathLength !== undefined && pathLength < between) return 'path length'
  if (!one.keyUsage?.critical || !one.keyUsage.bits.has(KEY_USAGE.keyCertSign)) return 'key usage'
  const uris = urisOf(one)
  if (uris.length > 1 || (uris.length === 1 && uris[0] !== `spiffe://${trustDomain}`)) return 'identity'
  return undefined
}

function permits(authority: Certificate, below: Certificate): boolean {
  const constraints = authority.nameConstraints
  if (!constraints) return true
  const { permitted, excluded } = constraints
  return (below.names?.entries ?? []).every((name) => {
    const allowed = permitted.filter(({ type }) => type === name.type)
    const forbidden = excluded.filter(({ type }) => type === name.type)
    if (allowed.length === 0 && forbidden.length === 0) return true
    // Names other than URIs are not compared here: where one is constrained, it is refused.
    if (name.type !== URI_NAME) return false
    const host = hostOf(name)
    const within = (base: GeneralName): boolean => matches(ascii(base.content), host)
    return (allowed.length === 0 || allowed.some(within)) && !forbidden.some(within)
  })
}

function hostOf(name: GeneralName): string {
  return parseSpiffeId(ascii(name.content))?.trustDomain ?? ''
}

// RFC 5280 section 4.2.1.10: with a leading period any host below the domain, otherwise that very host.
function matches(constraint: string, host: string): boolean {
  return constraint.startsWith('.') ? host.endsWith(constraint) : host === constraint
}
