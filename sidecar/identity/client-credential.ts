import type { ClientCredential } from '../ports.ts'
import type { Credential } from './credential.ts'
import { pem } from './transport.ts'
import type { WorkloadIdentity } from './workload.ts'

/** The workload's first X509-SVID as what a client of another server shows; `undefined` while there is none. */
export function createClientCredential(
  workload: Pick<WorkloadIdentity, 'state'>,
): () => ClientCredential | undefined {
  let last: { readonly of: Credential; readonly as: ClientCredential } | undefined
  return () => {
    const state = workload.state()
    const [first] = state.kind === 'held' ? state.svids : []
    if (!first) return undefined
    if (last?.of !== first) last = { of: first, as: asClient(first) }
    return last.as
  }
}

function asClient({ id, privateKey, chain }: Credential): ClientCredential {
  return {
    spiffeId: id.uri,
    privateKey,
    cert: chain.map((one) => pem('CERTIFICATE', one)).join(''),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}
