import type { TrustDomain, TrustDomainStatus } from '../../contracts/crd/trust-domain.ts'
import { formatTime } from '../../contracts/time.ts'
import type { Keys } from '../identity/keys.ts'
import { inBundle, type Use } from '../identity/ring.ts'
import { bad, good, judge } from '../reconcile/judgement.ts'

/** Keys and bundle as they are stored. */
export interface Stored {
  readonly keys: Readonly<Record<Use, Keys>>
  readonly sequence: number
}

const AT_MOST = 8

/** What the status of a TrustDomain is to say. `served`: the name that this installation issues in. */
export function trustDomainStatus(
  domain: TrustDomain,
  stored: Stored | undefined,
  served: string,
  at: number,
): TrustDomainStatus {
  const { generation } = domain.metadata
  const mine = domain.spec.name === served
  const judged = !mine
    ? bad(
        'Issuing',
        'NotServed',
        `spec.name: this installation issues in ${served} only; install another one for ${domain.spec.name}, or delete this object`,
      )
    : stored
      ? good('Issuing', 'Issuing', `trust bundle ${stored.sequence}`)
      : bad(
          'Issuing',
          'NoKeys',
          'the keys are being made; see the log of portcullis-issuer if this does not end',
        )
  const listed = (use: Use) =>
    stored?.keys[use].ring.keys
      .filter(inBundle)
      .slice(-AT_MOST)
      .map(({ id, state, notAfterMs }) => ({ id, state, notAfter: formatTime(notAfterMs) })) ?? []
  return {
    observedGeneration: generation,
    conditions: [
      ...judge(
        domain.status?.conditions?.filter(({ type }) => type === 'Issuing' || type === 'Ready'),
        [judged, { ...judged, type: 'Ready' }],
        { generation, at },
      ),
    ],
    ...(mine && stored
      ? {
          sequence: stored.sequence,
          roots: listed('X509CA'),
          jwtKeys: listed('JWTSVID'),
          bundleKeys: listed('BundleSigning'),
        }
      : {}),
  }
}
