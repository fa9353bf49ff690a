import type { Metadata } from '@grpc/grpc-js'
import type { SpiffeId } from '../../contracts/spiffe.ts'

/** The verified peer of a call; `undefined` when it has none. Given by whoever terminates TLS. */
export type PeerOf = (call: { readonly metadata: Metadata }) => { readonly id: SpiffeId } | undefined

const UID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const POD = new RegExp(`^/portcullis/pod/(${UID})$`)
const OPERATOR = new RegExp(`^/portcullis/operator/control/(${UID})$`)

/** UID of the pod whose control SVID this is; `undefined` for everybody else's identity, a workload's own included. */
export function podUidOf(id: SpiffeId, trustDomain: string): string | undefined {
  return id.trustDomain === trustDomain ? POD.exec(id.path)?.[1] : undefined
}

/** Whether this is a replica of `control`. */
export function isOperator(id: SpiffeId, trustDomain: string): boolean {
  return id.trustDomain === trustDomain && OPERATOR.test(id.path)
}
