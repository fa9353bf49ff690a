import type { KeyObject } from 'node:crypto'
import { proveCsr } from '../../contracts/csr.ts'
import type {
  IssueControlResponse,
  IssueJwtRequest,
  IssueJwtResponse,
  IssueWorkloadResponse,
} from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Peer } from '../mesh/peers.ts'
import type { Now } from '../ports.ts'
import { type Asked, type AttestRules, attest, hashOf, livingProblem, podUidOf } from './attest.ts'
import type { Authority } from './authority.ts'
import { type Denied, deny } from './denial.ts'
import { type Entitlement, entitlementsOf, type Grant } from './entitlement.ts'
import type { Pod, Registry } from './ports.ts'

export interface IssueNeeds {
  readonly authority: Authority
  readonly registry: Registry
  readonly rules: () => AttestRules & Lifetimes
  /** WorkloadIdentity objects that select the pod. */
  readonly grants: (pod: Pod) => readonly Grant[]
  readonly now: Now
}
export interface Lifetimes {
  readonly controlTtlMs: number
  readonly svidTtlMs: number
  readonly jwtTtlMs: number
}
export type Given<T> = { readonly ok: true; readonly value: T } | Denied

/** What the issuer does, as values. Each rejects with a Fault when no answer can be given now. */
export interface Issue {
  control(asked: Asked, signal: AbortSignal): Promise<Given<IssueControlResponse>>
  workload(
    csr: Uint8Array,
    client: Peer | undefined,
    signal: AbortSignal,
  ): Promise<Given<IssueWorkloadResponse>>
  jwt(
    request: IssueJwtRequest,
    client: Peer | undefined,
    signal: AbortSignal,
  ): Promise<Given<IssueJwtResponse>>
}

const MAX_AUDIENCES = 8
const AUDIENCE_BYTES = 512

export function createIssue(needs: IssueNeeds): Issue {
  const { authority, registry, rules, grants, now } = needs
  const entitled = async (
    client: Peer | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly ok: true; readonly of: readonly Entitlement[] } | Denied> => {
    const pod = await podOfClient(client, needs, signal)
    return 'reason' in pod ? pod : { ok: true, of: entitlementsOf(pod, grants(pod)) }
  }
  return {
    control: async (asked, signal) => {
      const attested = await attest(asked, rules(), registry, signal)
      if (!attested.ok) return attested
      const { path, publicKey } = attested
      const signed = authority.signX509({ path, publicKey, ttlMs: rules().controlTtlMs }, now())
      return { ok: true, value: { svid: svidOf(signed, ''), bundle: authority.bundle() } }
    },
    workload: async (csr, client, signal) => {
      const proven = proveCsr(csr)
      if (!proven.ok) return deny('csr')
      // The application sees this key: it must not open what only the sidecar may.
      if (client && hashOf(client.publicKey) === hashOf(proven.key)) return deny('key_reused')
      const all = await entitled(client, signal)
      if (!all.ok) return all
      const at = now()
      const sign = (publicKey: KeyObject, { path, hint, svidTtlMs }: Entitlement) =>
        svidOf(authority.signX509({ path, publicKey, ttlMs: svidTtlMs ?? rules().svidTtlMs }, at), hint)
      const svids = all.of.map((one) => sign(proven.key, one))
      return { ok: true, value: { svids, bundle: authority.bundle() } }
    },
    jwt: async ({ audience, spiffeId }, client, signal) => {
      const fits = (one: string) => one !== '' && Buffer.byteLength(one) <= AUDIENCE_BYTES
      if (audience.length === 0 || audience.length > MAX_AUDIENCES || !audience.every(fits))
        return deny('audience')
      const all = await entitled(client, signal)
      if (!all.ok) return all
      const { trustDomain, jwtTtlMs } = rules()
      const wanted = all.of.filter(
        ({ path }) => spiffeId === '' || spiffeId === `spiffe://${trustDomain}${path}`,
      )
      if (wanted.length === 0) return deny('not_entitled')
      const at = now()
      const svids = await Promise.all(
        wanted.map(async ({ path, hint }) => ({
          ...(await authority.signJwt({ path, audience: [...new Set(audience)], ttlMs: jwtTtlMs }, at)),
          hint,
        })),
      )
      return { ok: true, value: { svids } }
    },
  }
}

/** The living pod of a control SVID, whose key is the pinned one. */
async function podOfClient(
  client: Peer | undefined,
  { registry, rules }: IssueNeeds,
  signal: AbortSignal,
): Promise<Pod | Denied> {
  if (!client) return deny('client_missing')
  const uid = podUidOf(client.id.path)
  if (!uid) return deny('client_identity')
  if (!rules().perPod.take(uid)) return deny('rate_limited')
  const stored = await registry.pin(uid, signal)
  if (!stored) return deny('client_key')
  const { namespace, pod: name, current, previous, serviceAccount } = stored.pin
  const hash = hashOf(client.publicKey)
  if (hash !== current && hash !== previous) return deny('client_key', { namespace, name, uid })
  const pod = await registry.pod(namespace, name, signal)
  if (!pod) return deny('pod_gone')
  if (pod.uid !== uid) return deny('pod_replaced')
  if (pod.serviceAccount !== serviceAccount) return deny('pod_service_account', pod)
  const ended = livingProblem(pod)
  return ended ? deny(ended, pod) : pod
}

function svidOf(signed: ReturnType<Authority['signX509']>, hint: string) {
  const { spiffeId, chain, notBeforeMs, notAfterMs } = signed
  return { spiffeId, chain: [...chain], notBeforeMs, notAfterMs, hint }
}
