import { X509Certificate } from 'node:crypto'
import {
  ascii,
  bitsOf,
  booleanOf,
  childrenOf,
  type Der,
  expectTag,
  octetsOfBits,
  oidOf,
  readDer,
  smallIntegerOf,
  TAG,
} from './der.ts'

/** What path validation needs to know of a certificate (RFC 5280 section 4). */
export interface Certificate {
  readonly x509: X509Certificate
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly emptySubject: boolean
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
  readonly signatureAlgorithm: string
  readonly basicConstraints: { readonly ca: boolean; readonly pathLength: number | undefined } | undefined
  readonly keyUsage: { readonly critical: boolean; readonly bits: ReadonlySet<number> } | undefined
  readonly extendedKeyUsage: readonly string[] | undefined
  readonly names: { readonly critical: boolean; readonly entries: readonly GeneralName[] } | undefined
  readonly nameConstraints: NameConstraints | undefined
}

/** `type` is the context tag of RFC 5280 section 4.2.1.6; a URI is 6. */
export interface GeneralName {
  readonly type: number
  readonly content: Uint8Array
}
export interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

export const URI_NAME = 6
export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const
export const CERTIFICATE_BYTES = 8 * 1024

/** Reads one certificate. Throws SyntaxError, or what node throws, when it is none or has a critical extension unknown to us. */
export function readCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > CERTIFICATE_BYTES) throw new SyntaxError('certificate too long')
  const [tbs, outerAlgorithm, signature] = childrenOf(readDer(bytes, TAG.sequence))
  octetsOfBits(signature)
  const fields = childrenOf(expectTag(tbs, TAG.sequence))
  const [version, , innerAlgorithm, issuer, , subject] = fields
  if (smallIntegerOf(childrenOf(expectTag(version, 0xa0))[0]) !== 2)
    throw new SyntaxError('certificate is not v3')
  const algorithm = expectTag(innerAlgorithm, TAG.sequence)
  if (!same(algorithm.whole, expectTag(outerAlgorithm, TAG.sequence).whole))
    throw new SyntaxError('certificate names two signature algorithms')
  const x509 = new X509Certificate(bytes)
  const subjectName = expectTag(subject, TAG.sequence)
  return {
    x509,
    notBeforeMs: x509.validFromDate.getTime(),
    notAfterMs: x509.validToDate.getTime(),
    emptySubject: subjectName.content.length === 0,
    subject: subjectName.whole,
    issuer: expectTag(issuer, TAG.sequence).whole,
    signatureAlgorithm: oidOf(childrenOf(algorithm)[0]),
    ...extensionsOf(fields),
  }
}

type Extensions = Pick<
  Certificate,
  'basicConstraints' | 'keyUsage' | 'extendedKeyUsage' | 'names' | 'nameConstraints'
>

const READ = {
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  names: '2.5.29.17',
  nameConstraints: '2.5.29.30',
} as const

function extensionsOf(fields: readonly Der[]): Extensions {
  const wrapped = fields.find(({ tag }) => tag === 0xa3)
  const found = new Map<string, Extension>()
  for (const element of wrapped ? childrenOf(readDer(wrapped.content, TAG.sequence)) : []) {
    const { oid, ...extension } = extensionOf(element)
    if (found.has(oid)) throw new SyntaxError(`certificate has extension ${oid} twice`)
    // RFC 5280 section 4.2: what is critical and not understood forbids use.
    if (extension.critical && !Object.values<string>(READ).includes(oid))
      throw new SyntaxError(`certificate has unknown critical extension ${oid}`)
    found.set(oid, extension)
  }
  const [basic, usage, extended, names, constraints] = Object.values(READ).map((oid) => found.get(oid))
  return {
    basicConstraints: basic && basicConstraintsOf(basic.value),
    keyUsage: usage && { critical: usage.critical, bits: bitsOf(readDer(usage.value, TAG.bitString)) },
    extendedKeyUsage: extended && childrenOf(readDer(extended.value, TAG.sequence)).map(oidOf),
    names: names && { critical: names.critical, entries: generalNames(readDer(names.value, TAG.sequence)) },
    nameConstraints: constraints && nameConstraintsOf(constraints.value),
  }
}

interface Extension {
  readonly critical: boolean
  readonly value: Uint8Array
}

function extensionOf(element: Der): Extension & { readonly oid: string } {
  const parts = childrenOf(expectTag(element, TAG.sequence))
  const [id, second] = parts
  const critical = second?.tag === TAG.boolean ? booleanOf(second) : false
  const value = parts[second?.tag === TAG.boolean ? 2 : 1]
  return { oid: oidOf(id), critical, value: expectTag(value, TAG.octetString).content }
}

function basicConstraintsOf(value: Uint8Array) {
  const parts = childrenOf(readDer(value, TAG.sequence))
  const [first] = parts
  const ca = first?.tag === TAG.boolean ? booleanOf(first) : false
  const length = parts[first?.tag === TAG.boolean ? 1 : 0]
  return { ca, pathLength: length && smallIntegerOf(length) }
}

function generalNames(parent: Der): readonly GeneralName[] {
  return childrenOf(parent).map(({ tag, content }) => {
    if ((tag & 0xc0) !== 0x80) throw new SyntaxError('certificate has a malformed name')
    return { type: tag & 0x1f, content }
  })
}

function nameConstraintsOf(value: Uint8Array): NameConstraints {
  const parts = childrenOf(readDer(value, TAG.sequence))
  const subtrees = (tag: number) =>
    parts
      .filter((part) => part.tag === tag)
      .flatMap(childrenOf)
      .map((subtree) => {
        const [base, ...bounds] = generalNames(expectTag(subtree, TAG.sequence))
        // RFC 5280 section 4.2.1.10: minimum is zero (absent in DER) and maximum is absent.
        if (!base || bounds.length > 0) throw new SyntaxError('certificate has malformed name constraints')
        return base
      })
  return { permitted: subtrees(0xa0), excluded: subtrees(0xa1) }
}

/** The URIs among a certificate's names, in order. */
export function urisOf(certificate: Certificate): readonly string[] {
  return (certificate.names?.entries ?? [])
    .filter(({ type }) => type === URI_NAME)
    .map(({ content }) => ascii(content))
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
