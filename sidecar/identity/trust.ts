import { hash, X509Certificate } from 'node:crypto'
import { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { X509Trust } from '../../contracts/spiffe.ts'
import type { IdentitySettings } from '../settings.ts'
import { type JwtKeys, NO_JWT_KEYS, readJwtKeys } from './jwt-keys.ts'
import { createLive } from './live.ts'

/** What verifies identities of the own trust domain, as far as it is known here. */
export interface Trust extends X509Trust {
  /** 0 while only the anchors of the injection are known. */
  readonly sequence: number
  readonly jwt: JwtKeys
}

export type Offered =
  | { readonly ok: true; readonly news: boolean }
  | { readonly ok: false; readonly problem: string }

/** Roots of an earlier trust bundle, without its keys. */
export interface KeptRoots {
  readonly sequence: number
  readonly roots: readonly Uint8Array[]
}

export interface TrustState {
  current(): Trust
  /** Believes roots that were kept of a bundle, in place of the injected ones, and takes no older bundle. Of no effect once one was taken. */
  resume(kept: KeptRoots): void
  /** Sequence of the newest bundle that this pod is known to have held, though maybe only its roots are here. */
  held(): number
  /** Takes a bundle that came over an authenticated connection. An older one than the current changes nothing. */
  offer(bundle: TrustBundle): Offered
  watch(listener: () => void): () => void
}

export const MOST_ROOTS = 8
const JWT_KEYS_BYTES = 64 * 1024

/** Trust begins with the injected anchors and follows the bundle with the highest sequence ever seen, never back. */
export function createTrustState({
  trustDomain,
  anchors,
}: Pick<IdentitySettings, 'trustDomain' | 'anchors'>): TrustState {
  const live = createLive<Trust>({ trustDomain, roots: anchors, sequence: 0, jwt: NO_JWT_KEYS })
  let digest = ''
  let resumed = 0
  const held = () => Math.max(resumed, live.get().sequence)
  return {
    current: live.get,
    watch: live.watch,
    held,
    resume({ sequence, roots }) {
      if (live.get().sequence > 0 || sequence <= resumed) return
      resumed = sequence
      live.set({ ...live.get(), roots })
    },
    offer(bundle) {
      const problem = problemWith(bundle, trustDomain)
      if (problem) return { ok: false, problem }
      const jwt = readJwtKeys(bundle.jwtKeys)
      if ('problem' in jwt)
        return { ok: false, problem: `a trust bundle that cannot be used: ${jwt.problem}` }
      if (bundle.sequence < held()) return { ok: true, news: false }
      const { sequence, roots } = live.get()
      if (bundle.sequence === resumed && sequence === 0 && !sameRoots(bundle.x509Roots, roots))
        return { ok: false, problem: `other roots in trust bundle ${resumed} than this pod has kept of it` }
      const content = hash('sha256', TrustBundle.encode(bundle).finish())
      if (bundle.sequence === sequence) {
        // Two contents under one number: somebody's state went back, and neither can be told to be the newer.
        return content === digest
          ? { ok: true, news: false }
          : { ok: false, problem: `two different trust bundles with sequence ${sequence}` }
      }
      digest = content
      live.set({ trustDomain, roots: bundle.x509Roots, sequence: bundle.sequence, jwt })
      return { ok: true, news: true }
    },
  }
}

function problemWith(bundle: TrustBundle, trustDomain: string): string | undefined {
  if (bundle.trustDomain !== trustDomain) return `a trust bundle of another trust domain than ${trustDomain}`
  if (!Number.isSafeInteger(bundle.sequence) || bundle.sequence < 1)
    return 'a trust bundle without a sequence'
  const { x509Roots, jwtKeys } = bundle
  if (x509Roots.length === 0 || x509Roots.length > MOST_ROOTS)
    return `a trust bundle with ${x509Roots.length} roots, not 1 to ${MOST_ROOTS}`
  if (!x509Roots.every(isAuthority)) return 'a trust bundle with a root that is not a CA certificate'
  if (jwtKeys.length > JWT_KEYS_BYTES)
    return `a trust bundle with more than ${JWT_KEYS_BYTES} bytes of JWT keys`
  return undefined
}

function sameRoots(these: readonly Uint8Array[], those: readonly Uint8Array[]): boolean {
  return (
    these.length === those.length &&
    these.every((root) => those.some((one) => Buffer.compare(root, one) === 0))
  )
}

/** Whether it is a certificate of an authority, DER. */
export function isAuthority(root: Uint8Array): boolean {
  try {
    return new X509Certificate(root).ca
  } catch {
    return false
  }
}
