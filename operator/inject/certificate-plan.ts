import { createPrivateKey, X509Certificate } from 'node:crypto'

/** The webhook's authority and serving certificate: what is held, and the next step of their rotation. Pure. */

/** PEM both. */
export interface Pair {
  readonly certificate: string
  readonly key: string
}

export interface Held {
  readonly current: Pair
  /** Already in the caBundle, signs nothing yet. */
  readonly next: Pair | undefined
  /** Certificates (PEM, maybe several) that replicas may still serve under. */
  readonly previous: string
  /** What every replica serves. */
  readonly leaf: Pair
}

export type Step = 'begin' | 'prepare' | 'activate' | 'renew' | 'forget' | 'none'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
export const CA_MS = 90 * DAY_MS
export const LEAF_MS = 7 * DAY_MS
/** Clocks of API servers may be behind ours. */
export const BACKDATE_MS = 5 * 60_000
/** How long a new authority is known before it signs: API servers read their webhooks from a cache of seconds. */
const KNOWN_FOR_MS = HOUR_MS
/** By when a replica that runs has loaded the leaf of the new authority, or is not ready any more. */
const LOADED_BY_MS = DAY_MS

export interface Seen {
  /** The caBundle of every webhook as the API server has it. */
  readonly live: readonly string[]
  /** The name that the API server asks for. */
  readonly dnsName: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

export function nextStep(held: Held | undefined, { live, dnsName, at }: Seen): Step {
  const ca = held && read(held.current.certificate)
  if (!held || !ca || !fits(held.current) || ca.validToDate.getTime() <= at) return 'begin'
  if (held.next) {
    const { certificate } = held.next
    const known = live.length > 0 && live.every((bundle) => holds(bundle, certificate))
    if (known && ageOf(certificate, at) >= KNOWN_FOR_MS) return 'activate'
  } else if (isDue(ca, at)) return 'prepare'
  const leaf = read(held.leaf.certificate)
  if (!leaf || !fits(held.leaf) || !leaf.checkHost(dnsName) || !issued(ca, leaf) || isDue(leaf, at))
    return 'renew'
  return held.previous && ageOf(held.leaf.certificate, at) >= LOADED_BY_MS ? 'forget' : 'none'
}

/** Next, current and previous, each once, in that order; what has expired is left out. */
export function bundleOf({ next, current, previous }: Held, at: number): string {
  const all = [...(next ? [next.certificate] : []), current.certificate, previous].flatMap(certificatesOf)
  const valid = all.filter((pem) => (read(pem)?.validToDate.getTime() ?? 0) > at)
  return [...new Set(valid)].join('')
}

/** Why a leaf would not be accepted under a caBundle; undefined when it would. */
export function unverified(leafPem: string, bundle: string, at: number): string | undefined {
  const leaf = read(leafPem)
  if (!leaf) return 'the serving certificate cannot be read'
  if (leaf.validFromDate.getTime() > at || leaf.validToDate.getTime() <= at)
    return 'the serving certificate is not valid now'
  const issuers = certificatesOf(bundle).flatMap((pem) => read(pem) ?? [])
  const good = issuers.some((ca) => ca.validToDate.getTime() > at && issued(ca, leaf))
  return good ? undefined : 'its caBundle does not verify the serving certificate'
}

/** Milliseconds since the epoch; 0 when it cannot be read. */
export function notAfterOf(pem: string): number {
  return read(pem)?.validToDate.getTime() ?? 0
}

export function certificatesOf(pem: string): readonly string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return found.map((one) => `${one.replaceAll('\r', '')}\n`)
}

/** Two thirds of its life are over. */
function isDue(certificate: X509Certificate, at: number): boolean {
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()]
  return at >= from + ((to - from) * 2) / 3
}

function issued(ca: X509Certificate, leaf: X509Certificate): boolean {
  return leaf.checkIssued(ca) && leaf.verify(ca.publicKey)
}

/** Since it was made. */
function ageOf(pem: string, at: number): number {
  const certificate = read(pem)
  return certificate ? at - certificate.validFromDate.getTime() - BACKDATE_MS : 0
}

/** Whoever edits the Secret by hand may leave a key of another certificate there. */
function fits({ certificate, key }: Pair): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}

function holds(bundle: string, pem: string): boolean {
  const [wanted] = certificatesOf(pem)
  return wanted !== undefined && certificatesOf(bundle).includes(wanted)
}

function read(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}
