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

export interface TrustState {
  current(): Trust
  /** Takes a bundle that came over an authenticated connection. An older one than the current changes nothing. */
  offer(bundle: TrustBundle): Offered
  watch(listener: () => void): () => void
}

const MOST_ROOTS = 8
const JWT_KEYS_BYTES = 64 * 1024

/** Trust begins with the injected anchors and follows the bundle with the highest sequence ever seen, never back. */
export function createTrustState({ trustDomain, anchors }: IdentitySettings): TrustState {
  const live = createLive<Trust>({ trustDomain, roots: anchors, sequence: 0, jwt: NO_JWT_KEYS })
  let digest = ''
  return {
    current: live.get,
    watch: live.watch,
    offer(bundle) {
      const problem = problemWith(bundle, trustDomain)
      if (problem) return { ok: false, problem }
      const jwt = readJwtKeys(bundle.jwtKeys)
      if ('problem' in jwt)
        return { ok: false, problem: `a trust bundle that cannot be used: ${jwt.problem}` }
      const { sequence } = live.get()
      if (bundle.sequence < sequence) return { ok: true, news: false }
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

function isAuthority(root: Uint8Array): boolean {
  try {
    return new X509Certificate(root).ca
  } catch {
    return false
  }
}
