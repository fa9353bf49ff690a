import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { childrenOf, der, octetsOfBits, readDer, TAG } from '../../contracts/spiffe/der.ts'
import { formatTime } from '../../contracts/time.ts'

// Writes the three kinds of certificate we make (RFC 5280, X509-SVID): root, intermediate, leaf. Everything is EC P-256 with
// SHA-256; nothing of a certificate comes from whoever asked for it but the key.

export interface Signer {
  /** DER of the issuing certificate, and its key. */
  readonly certificate: Uint8Array
  readonly privateKey: KeyObject
}
export interface Validity {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** 16 random bytes made a positive DER integer of full length (RFC 5280 section 4.1.2.2). */
export function serialFrom(random: Buffer): Buffer {
  const serial = Buffer.from(random.subarray(0, 16))
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial
}

/** Self-signed, identity `spiffe://<td>`. `name` tells roots apart for people and in the issuer field. */
export function createRoot(
  privateKey: KeyObject,
  subject: { readonly name: string; readonly trustDomain: string },
  validity: Validity,
  serial: Buffer,
): Buffer {
  const publicKey = createPublicKey(privateKey)
  const self = nameOf(subject.name)
  const key = keyIdOf(publicKey)
  const extensions = [basicConstraints(), CA_USAGE, uri(subject.trustDomain, '', false), subjectKey(key)]
  return certificate({ issuer: self, subject: self, publicKey, validity, serial, extensions }, privateKey)
}

/** Path length 0, and names constrained to the trust domain: what it could sign at worst is ours. */
export function createIntermediate(
  publicKey: KeyObject,
  subject: { readonly name: string; readonly trustDomain: string },
  options: Validity & { readonly serial: Buffer },
  root: Signer,
): Buffer {
  const extensions = [
    basicConstraints(0),
    CA_USAGE,
    uri(subject.trustDomain, '', false),
    nameConstraints(subject.trustDomain),
    subjectKey(keyIdOf(publicKey)),
    authorityKey(keyIdOf(createPublicKey(root.privateKey))),
  ]
  const issuer = subjectOf(root.certificate)
  const { serial, ...validity } = options
  return certificate(
    { issuer, subject: nameOf(subject.name), publicKey, validity, serial, extensions },
    root.privateKey,
  )
}

/** An X509-SVID: empty subject, one critical URI, digitalSignature, server and client. */
export function createLeaf(
  publicKey: KeyObject,
  subject: { readonly trustDomain: string; readonly path: string },
  options: Validity & { readonly serial: Buffer },
  issuer: Signer,
): Buffer {
  const extensions = [
    LEAF_USAGE,
    LEAF_PURPOSES,
    uri(subject.trustDomain, subject.path, true),
    subjectKey(keyIdOf(publicKey)),
    authorityKey(keyIdOf(createPublicKey(issuer.privateKey))),
  ]
  const { serial, ...validity } = options
  const names = { issuer: subjectOf(issuer.certificate), subject: der(TAG.sequence) }
  return certificate({ ...names, publicKey, validity, serial, extensions }, issuer.privateKey)
}

/** The webhook's own authority: signs TLS servers and, having no SPIFFE ID, no identity. */
export function createServingCa(
  privateKey: KeyObject,
  name: string,
  validity: Validity,
  serial: Buffer,
): Buffer {
  const publicKey = createPublicKey(privateKey)
  const self = nameOf(name)
  const extensions = [basicConstraints(0), CA_USAGE, subjectKey(keyIdOf(publicKey))]
  return certificate({ issuer: self, subject: self, publicKey, validity, serial, extensions }, privateKey)
}

/** A TLS server under these DNS names (RFC 6125). */
export function createServingLeaf(
  publicKey: KeyObject,
  dnsNames: readonly string[],
  options: Validity & { readonly serial: Buffer },
  issuer: Signer,
): Buffer {
  const extensions = [
    LEAF_USAGE,
    SERVER_PURPOSE,
    extension(
      '551d11',
      true,
      der(TAG.sequence, ...dnsNames.map((name) => der(0x82, Buffer.from(name, 'latin1')))),
    ),
    subjectKey(keyIdOf(publicKey)),
    authorityKey(keyIdOf(createPublicKey(issuer.privateKey))),
  ]
  const { serial, ...validity } = options
  const names = { issuer: subjectOf(issuer.certificate), subject: der(TAG.sequence) }
  return certificate({ ...names, publicKey, validity, serial, extensions }, issuer.privateKey)
}

interface Content {
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly publicKey: KeyObject
  readonly validity: Validity
  readonly serial: Buffer
  readonly extensions: readonly Buffer[]
}

const ECDSA_SHA256 = der(TAG.sequence, Buffer.from('06082a8648ce3d040302', 'hex'))
const VERSION_3 = der(0xa0, der(TAG.integer, Buffer.of(2)))

function certificate(content: Content, signer: KeyObject): Buffer {
  const { notBeforeMs, notAfterMs } = content.validity
  const tbs = der(
    TAG.sequence,
    VERSION_3,
    der(TAG.integer, content.serial),
    ECDSA_SHA256,
    content.issuer,
    der(TAG.sequence, time(notBeforeMs), time(notAfterMs)),
    content.subject,
    content.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(TAG.sequence, ...content.extensions)),
  )
  const signature = der(TAG.bitString, Buffer.of(0), sign('sha256', tbs, signer))
  return der(TAG.sequence, tbs, ECDSA_SHA256, signature)
}

// RFC 5280 section 4.1.2.5: two digits of the year until 2049, four from then on.
function time(at: number): Buffer {
  const digits = formatTime(at).replaceAll(/[-:T]/g, '')
  const early = digits < '2050'
  return der(early ? 0x17 : 0x18, Buffer.from(early ? digits.slice(2) : digits, 'latin1'))
}

function nameOf(commonName: string): Buffer {
  const attribute = der(TAG.sequence, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(commonName)))
  return der(TAG.sequence, der(0x31, attribute))
}

function subjectOf(issuer: Uint8Array): Uint8Array {
  const [tbs] = childrenOf(readDer(issuer, TAG.sequence))
  const subject = tbs && childrenOf(tbs)[5]
  if (!subject) throw new SyntaxError('issuer certificate without subject')
  return subject.whole
}

/** RFC 7093 section 2, method 1. */
function keyIdOf(publicKey: KeyObject): Buffer {
  const [, bits] = childrenOf(readDer(publicKey.export({ type: 'spki', format: 'der' }), TAG.sequence))
  return createHash('sha256').update(octetsOfBits(bits)).digest().subarray(0, 20)
}

const CRITICAL = der(TAG.boolean, Buffer.of(0xff))
function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  const id = der(TAG.oid, Buffer.from(oid, 'hex'))
  return der(TAG.sequence, id, ...(critical ? [CRITICAL] : []), der(TAG.octetString, value))
}

const CA_USAGE = extension('551d0f', true, der(TAG.bitString, Buffer.from('0106', 'hex')))
const LEAF_USAGE = extension('551d0f', true, der(TAG.bitString, Buffer.from('0780', 'hex')))
const LEAF_PURPOSES = extension(
  '551d25',
  false,
  der(TAG.sequence, Buffer.from('06082b0601050507030106082b06010505070302', 'hex')),
)

const SERVER_PURPOSE = extension(
  '551d25',
  false,
  der(TAG.sequence, Buffer.from('06082b06010505070301', 'hex')),
)

function basicConstraints(pathLength?: number): Buffer {
  const length = pathLength === undefined ? [] : [der(TAG.integer, Buffer.of(pathLength))]
  return extension('551d13', true, der(TAG.sequence, CRITICAL, ...length))
}

function uri(trustDomain: string, path: string, critical: boolean): Buffer {
  const name = der(0x86, Buffer.from(`spiffe://${trustDomain}${path}`, 'latin1'))
  return extension('551d11', critical, der(TAG.sequence, name))
}

function nameConstraints(trustDomain: string): Buffer {
  const subtree = der(TAG.sequence, der(0x86, Buffer.from(trustDomain, 'latin1')))
  return extension('551d1e', true, der(TAG.sequence, der(0xa0, subtree)))
}

function subjectKey(id: Buffer): Buffer {
  return extension('551d0e', false, der(TAG.octetString, id))
}

function authorityKey(id: Buffer): Buffer {
  return extension('551d23', false, der(TAG.sequence, der(0x80, id)))
}
