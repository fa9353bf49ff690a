import { hash } from 'node:crypto'
import { resolve } from 'node:path'
import type { Issuer, Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import { APPLICATION_ENTRYPOINT, engineLimits, prepareBundle } from '../../../sidecar/policy/bundle.ts'
import type { Installed } from '../../../sidecar/ports.ts'
import { type Blob, createInstall, type PreparePolicy } from '../../../sidecar/trust/install.ts'
import { createTrustStore, type TrustStore } from '../../../sidecar/trust/store.ts'
import { jwksOf, type SigningKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { NO_TERMS } from '../../fixtures/terms.ts'
import { AUDIENCE, ISSUER } from '../../fixtures/tokens.ts'

// Snapshot messages as a feed sends them, and the real road into trust to send them down.

export const LIMITS = engineLimits(64 * 1024 * 1024)
export const INVOICES = await readBundle(resolve(POLICY.invoices))

/** The TokenIssuer that says what is stated here, unless another is named. */
export const SOURCE = 'shop/idp'

export interface Stated {
  readonly issuer?: string
  readonly source?: string
  readonly keys?: readonly SigningKey[]
  readonly document?: Buffer
  readonly algorithms?: readonly string[]
  readonly notAfterMs?: number
  readonly refreshable?: boolean
}

export function issuerMessage(stated: Stated = {}): Issuer {
  return {
    issuer: stated.issuer ?? ISSUER,
    algorithms: [...(stated.algorithms ?? ['RS256', 'ES256'])],
    skewS: 60,
    tenant: { $case: 'fixedTenant', fixedTenant: 'acme' },
    keys: {
      jwks: stated.document ?? Buffer.from(JSON.stringify(jwksOf(stated.keys ?? []))),
      notAfterMs: stated.notAfterMs ?? 0,
      refreshable: stated.refreshable ?? true,
    },
    revokedKids: [],
    ...NO_TERMS,
    source: stated.source ?? SOURCE,
  }
}

export function snapshotMessage(
  generation: number,
  issuers: readonly Stated[],
  change: Partial<Snapshot> = {},
): Snapshot {
  return {
    generation,
    profile: {
      audience: AUDIENCE,
      exclusiveAudience: false,
      maxTokenLifetimeS: 3600,
      leases: undefined,
      routes: [],
      tokens: undefined,
    },
    issuers: issuers.map(issuerMessage),
    policy: policyMessage(INVOICES),
    withheld: '',
    ...change,
  }
}

export function policyMessage(files: ReadonlyMap<string, Uint8Array>): NonNullable<Snapshot['policy']> {
  return {
    revision: 'test',
    files: [...files].map(([path, content]) => ({
      path,
      sha256: hash('sha256', content, 'buffer'),
      size: content.length,
    })),
    signature: undefined,
  }
}

export function blobsOf(...bundles: readonly ReadonlyMap<string, Uint8Array>[]): Blob {
  const contents = bundles.flatMap((files) => [...files.values()])
  const blobs = new Map(contents.map((content) => [hash('sha256', content), content]))
  return (sha256) => blobs.get(sha256)
}

export const preparePolicy: PreparePolicy = (files) => prepareBundle(files, APPLICATION_ENTRYPOINT, LIMITS)

export interface Trust {
  readonly store: TrustStore
  /** Installs these issuers under the next generation. */
  state(...issuers: readonly Stated[]): Promise<Installed>
}

export function openTrust(swapped?: Parameters<typeof createTrustStore>[1]): Trust {
  const store = createTrustStore(undefined, swapped)
  const install = createInstall(store, preparePolicy)
  let generation = 0
  return {
    store,
    state: (...issuers) => install(snapshotMessage(++generation, issuers), blobsOf(INVOICES)),
  }
}
