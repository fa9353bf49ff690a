import type { Now, Report } from '../ports.ts'
import {
  BACKDATE_MS,
  bundleOf,
  CA_MS,
  certificatesOf,
  type Held,
  LEAF_MS,
  nextStep,
  notAfterOf,
  type Pair,
  type Step,
  unverified,
} from './certificate-plan.ts'

/**
 * The webhook's own certificates: an authority of 90 days and a leaf of 7, each replaced at two thirds of its life. A new
 * authority is in the caBundle before it signs, an old one after it signed, so that no API server and no replica ever meets a
 * certificate it does not know. The leader writes; every replica loads.
 */

/** Makes certificates and their keys; see operator/identity. Validity in milliseconds since the epoch. */
export interface CertificateMaker {
  /** May sign serving certificates and nothing else. */
  makeCa(name: string, validity: Validity): Promise<Pair>
  /** For TLS servers under these DNS names (subjectAltName). */
  makeLeaf(ca: Pair, dnsNames: readonly string[], validity: Validity): Promise<Pair>
}
export interface Validity {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** The Secret, its data decoded. A write names the version that it replaces; undefined: it must not exist. */
export interface CertificateStore {
  read(signal: AbortSignal): Promise<StoredCertificates | undefined>
  write(
    data: Readonly<Record<string, string>>,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<'stored' | 'conflict'>
}
export interface StoredCertificates {
  readonly data: Readonly<Record<string, string>>
  readonly version: string
}

/** Our webhook configurations. */
export interface Hooks {
  /** caBundle (PEM, empty when unset) of every webhook of both configurations; empty: a configuration is missing. */
  read(signal: AbortSignal): Promise<readonly string[]>
  /** Server-side apply of `webhooks[].clientConfig.caBundle` with a field manager of its own. */
  patch(caBundle: string, signal: AbortSignal): Promise<void>
}

export interface CertificateNeeds {
  readonly maker: CertificateMaker
  readonly store: CertificateStore
  readonly hooks: Hooks
  /** `portcullis-control.<ns>.svc` first, as the API server asks for that name. */
  readonly dnsNames: readonly string[]
  readonly now: Now
  readonly report: Report
  /** Gives the pair to the server: called with each new one. */
  readonly serve: (pair: Pair) => void
  /** portcullis_webhook_cert_not_after_seconds. */
  readonly notAfter: (seconds: number) => void
}

export interface Certificates {
  /**
   * One pass: take what is due a step further (leader only), see that the live caBundle is the one wanted (leader only), load
   * the serving pair. To be called every minute and whenever the Secret or a configuration changes. Rejects with what broke.
   */
  pass(leading: boolean, signal: AbortSignal): Promise<void>
  /** Why this replica must get no admission requests; undefined when its leaf verifies under every live caBundle. */
  notReadyBecause(): string | undefined
}

export const STORE_NAME = 'portcullis-webhook-tls'

export function createCertificates(needs: CertificateNeeds): Certificates {
  let served: Pair | undefined
  let live: readonly string[] = []
  return {
    pass: async (leading, signal) => {
      live = await needs.hooks.read(signal)
      const held = leading
        ? await advance(needs, live, signal)
        : decode((await needs.store.read(signal))?.data)
      if (!held) return
      if (leading && live.length > 0) {
        const wanted = bundleOf(held, needs.now())
        if (live.some((bundle) => certificatesOf(bundle).join('') !== wanted)) {
          await needs.hooks.patch(wanted, signal)
          live = await needs.hooks.read(signal)
        }
      }
      if (held.leaf.certificate === served?.certificate) return
      needs.serve(held.leaf)
      served = held.leaf
      needs.notAfter(notAfterOf(served.certificate) / 1_000)
    },
    notReadyBecause: () => {
      if (!served) return `webhook: no certificate yet (Secret ${STORE_NAME}, written by the leader)`
      if (live.length === 0)
        return 'webhook: MutatingWebhookConfiguration portcullis-inject or ValidatingWebhookConfiguration portcullis-validate is missing; install the chart again'
      for (const bundle of live) {
        const why = unverified(served.certificate, bundle, needs.now())
        if (why) return `webhook: ${why}; the leader sets it in a moment`
      }
      return undefined
    },
  }
}

/** One step at most: each is stored before anything depends on it, so a leader that ends here loses nothing. */
async function advance(
  needs: CertificateNeeds,
  live: readonly string[],
  signal: AbortSignal,
): Promise<Held | undefined> {
  const stored = await needs.store.read(signal)
  const held = decode(stored?.data)
  const step = nextStep(held, { live, dnsName: needs.dnsNames[0] ?? '', at: needs.now() })
  if (step === 'none') return held
  const after = await taken(step, held, live, needs)
  if ((await needs.store.write(encode(after, needs.now()), stored?.version, signal)) === 'conflict') {
    // Another leader was here. What it wrote counts, and the next pass goes on from there.
    return decode((await needs.store.read(signal))?.data)
  }
  needs.report('webhook_certificates', { step })
  return after
}

async function taken(
  step: Exclude<Step, 'none'>,
  held: Held | undefined,
  live: readonly string[],
  { maker, dnsNames, now }: CertificateNeeds,
): Promise<Held> {
  const at = now()
  const validity = (ms: number): Validity => ({ notBeforeMs: at - BACKDATE_MS, notAfterMs: at + ms })
  // Tells the authorities of successive rotations apart.
  const makeCa = () => maker.makeCa(`portcullis webhook ${at}`, validity(CA_MS))
  const makeLeaf = (ca: Pair) => maker.makeLeaf(ca, dnsNames, validity(LEAF_MS))
  if (!held || step === 'begin') {
    const current = await makeCa()
    // Other replicas may still serve under what is live: it stays known until they have loaded the new leaf.
    const previous = [...new Set(live.flatMap(certificatesOf))].slice(0, 4).join('')
    return { current, next: undefined, previous, leaf: await makeLeaf(current) }
  }
  if (step === 'prepare') return { ...held, next: await makeCa() }
  if (step === 'activate' && held.next) {
    const [current, previous] = [held.next, held.current.certificate]
    return { current, next: undefined, previous, leaf: await makeLeaf(current) }
  }
  if (step === 'forget') return { ...held, previous: '' }
  return { ...held, leaf: await makeLeaf(held.current) }
}

/** `tls.crt`, `tls.key` and `ca.crt` are what people and tools expect in such a Secret. */
function encode(held: Held, at: number): Readonly<Record<string, string>> {
  const { current, next, previous, leaf } = held
  return {
    'tls.crt': leaf.certificate,
    'tls.key': leaf.key,
    'ca.crt': bundleOf(held, at),
    'ca-current.crt': current.certificate,
    'ca-current.key': current.key,
    ...(next ? { 'ca-next.crt': next.certificate, 'ca-next.key': next.key } : {}),
    ...(previous ? { 'ca-previous.crt': previous } : {}),
  }
}

/** undefined: nothing that could be served, so the leader begins anew. */
function decode(data: Readonly<Record<string, string>> | undefined): Held | undefined {
  const pair = (certificate = '', key = ''): Pair | undefined =>
    certificate && key ? { certificate, key } : undefined
  const current = pair(data?.['ca-current.crt'], data?.['ca-current.key'])
  const leaf = pair(data?.['tls.crt'], data?.['tls.key'])
  if (!data || !current || !leaf) return undefined
  const next = pair(data['ca-next.crt'], data['ca-next.key'])
  return { current, next, leaf, previous: data['ca-previous.crt'] ?? '' }
}
