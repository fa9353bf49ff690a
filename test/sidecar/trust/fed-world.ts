import { generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import { bundleDigest } from '../../../contracts/bundle-digest.ts'
import type { Policy, Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { Staleness } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { BundleKey } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import { createSigners, type Signers } from '../../../sidecar/policy/signature.ts'
import type { Monotonic, Now } from '../../../sidecar/ports.ts'
import { createFedTrust, type FedTrust } from '../../../sidecar/trust/fed.ts'
import type { PreparePolicy } from '../../../sidecar/trust/install.ts'
import { createLocalRevocations, type LocalRevocations } from '../../../sidecar/trust/local-revocations.ts'
import { AUDIENCE } from '../../fixtures/tokens.ts'
import { INVOICES, policyMessage, preparePolicy, type Stated, snapshotMessage } from './beliefs.ts'

// Trust that an operator feeds, with an operator's bundle key that signs for it.

export interface Signer {
  readonly key: BundleKey
  readonly sign: (policy: Policy) => Policy
}

export function bundleSigner(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = bundleKey(publicKey)
  return {
    key,
    sign: (policy) => {
      const value = sign('sha256', bundleDigest(policy.files), { key: privateKey, dsaEncoding: 'ieee-p1363' })
      return { ...policy, signature: { keyId: key.id, value } }
    },
  }
}

export function bundleKey(publicKey: KeyObject): BundleKey {
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return { id: hash('sha256', spki, 'base64url'), spki }
}

export const SIGNER = bundleSigner()
export const LEASES = { standardMs: 60_000, strictMs: 5_000, readDegradedMs: 900_000 }
export const ROUTES = [
  { actions: ['invoice:refund'], staleness: Staleness.STALENESS_STRICT, requirements: undefined },
  { actions: ['invoice:read'], staleness: Staleness.STALENESS_READ_DEGRADED, requirements: undefined },
]

/** A snapshot as the operator sends it: with leases, and a policy that its key signed. */
export function fedSnapshot(
  generation: number,
  issuers: readonly Stated[],
  change: Partial<Snapshot> = {},
): Snapshot {
  return snapshotMessage(generation, issuers, {
    profile: {
      audience: AUDIENCE,
      exclusiveAudience: false,
      maxTokenLifetimeS: 3600,
      leases: LEASES,
      routes: [...ROUTES],
      tokens: undefined,
    },
    policy: SIGNER.sign(policyMessage(INVOICES)),
    ...change,
  })
}

export function withheldSnapshot(generation: number, why: string): Snapshot {
  return { generation, profile: undefined, issuers: [], policy: undefined, withheld: why }
}

export interface OpenFed extends FedTrust {
  readonly local: LocalRevocations
  readonly signers: Signers
}

export function openFed(
  clocks: { readonly wall?: Now; readonly monotonic?: Monotonic } = {},
  prepare: PreparePolicy = preparePolicy,
): OpenFed {
  const signers = createSigners()
  const use = signers.read([SIGNER.key])
  if (typeof use !== 'function') throw new Error(use.join())
  use()
  const local = createLocalRevocations()
  const fed = createFedTrust({
    prepare,
    local,
    rules: { signatureProblem: signers.problem },
    wall: clocks.wall ?? Date.now,
    monotonic: clocks.monotonic ?? (() => performance.now()),
  })
  return { ...fed, local, signers }
}
