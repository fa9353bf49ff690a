import { hash } from 'node:crypto'
import { FingerprintKind, type Revocation } from './gen/portcullis/feed/v1/feed.ts'

/** Bytes of a fingerprint. Two values that share one are beyond anybody's reach, and nobody gains by finding them: it denies more. */
export const FINGERPRINT_BYTES = 12

/** What a machine may revoke: the field names of `portcullis.feed.v1.Revocation.subject`. */
export const FINGERPRINT_KINDS = {
  jti: FingerprintKind.FINGERPRINT_KIND_JTI,
  sid: FingerprintKind.FINGERPRINT_KIND_SID,
  sub: FingerprintKind.FINGERPRINT_KIND_SUB,
  clientId: FingerprintKind.FINGERPRINT_KIND_CLIENT_ID,
} as const
export type FingerprintedKind = keyof typeof FINGERPRINT_KINDS

export interface Fingerprinted {
  /** The TokenIssuer, as `namespace/name`; empty standalone. */
  readonly source: string
  readonly issuer: string
  readonly kind: FingerprintedKind
  readonly value: string
}

/** The 12 bytes, one character (of code 0 to 255) each. With the lengths in front no two different entries have the same text. */
export function fingerprintOf({ source, issuer, kind, value }: Fingerprinted): string {
  const text = `${kind}/${source.length}/${issuer.length}/${source}${issuer}${value}`
  return hash('sha256', text, 'binary').slice(0, FINGERPRINT_BYTES)
}

/** Whose entries these are, in the same form. It is part of the id, so that nobody takes the id of another issuer's entry. */
export function placeOf({ source, issuer, kind }: Omit<Fingerprinted, 'value'>): string {
  const text = `${kind}/${source.length}/${issuer.length}/${source}${issuer}`
  return hash('sha256', text, 'binary').slice(0, FINGERPRINT_BYTES)
}

const PREFIX = 'm/'
const ID = /^m\/([A-Za-z0-9_-]{32})$/

/** Id of the one entry that machines make about a value: it follows from what the entry is about, so nobody has to remember it. */
export function idOfFingerprint(place: string, fingerprint: string): string {
  return PREFIX + Buffer.from(place + fingerprint, 'latin1').toString('base64url')
}

/** What such an id is made of; undefined when it is another one. 32 characters are 24 bytes exactly, so each has one spelling. */
export function partsOfId(id: string): { readonly place: string; readonly fingerprint: string } | undefined {
  const [, text] = ID.exec(id) ?? []
  if (text === undefined) return undefined
  const parts = Buffer.from(text, 'base64url').toString('latin1')
  return { place: parts.slice(0, FINGERPRINT_BYTES), fingerprint: parts.slice(FINGERPRINT_BYTES) }
}

/** Where an entry that a machine made belongs. */
export interface About extends Omit<Fingerprinted, 'value'> {
  readonly place: string
  readonly fingerprint: string
}

/** What an entry is about whose id follows from it; undefined for every other one. */
export function aboutOf({ id, source, issuer, subject }: Revocation): About | undefined {
  const parts = partsOfId(id)
  if (!parts || !subject) return undefined
  const told = subject.$case === 'fingerprint' ? subject.fingerprint : undefined
  const kind = told ? fingerprintKind(told.kind) : KINDS.find((one) => one === subject.$case)
  if (!kind || parts.place !== placeOf({ source, issuer, kind })) return undefined
  const own = told
    ? told.value.toString('latin1')
    : fingerprintOf({ source, issuer, kind, value: subjectValue(subject) })
  return own === parts.fingerprint ? { source, issuer, kind, ...parts } : undefined
}

/** The entry under the id that follows from it, as machines make it; undefined for a kind that they do not. */
export function made(entry: Revocation): Revocation | undefined {
  const { source, issuer, subject } = entry
  const kind = KINDS.find((one) => one === subject?.$case)
  if (!kind || !subject) return undefined
  const fingerprint = fingerprintOf({ source, issuer, kind, value: subjectValue(subject) })
  return { ...entry, id: idOfFingerprint(placeOf({ source, issuer, kind }), fingerprint) }
}

/** What an entry is about: the value of its subject; empty for everything, and for what is told by fingerprint. */
export function subjectValue(subject: NonNullable<Revocation['subject']>): string {
  switch (subject.$case) {
    case 'jti':
      return subject.jti
    case 'sid':
      return subject.sid
    case 'sub':
      return subject.sub
    case 'clientId':
      return subject.clientId
    case 'kid':
      return subject.kid
    case 'tenant':
      return subject.tenant
    case 'everything':
    case 'fingerprint':
      return ''
    default:
      return subject satisfies never
  }
}

/** Kind of a fingerprint as the wire names it; undefined for one that this version does not know. */
export function fingerprintKind(kind: FingerprintKind): FingerprintedKind | undefined {
  return KINDS.find((one) => FINGERPRINT_KINDS[one] === kind)
}

const KINDS = ['jti', 'sid', 'sub', 'clientId'] as const satisfies readonly FingerprintedKind[]
