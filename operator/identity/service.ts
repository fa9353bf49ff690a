import {
  type handleUnaryCall,
  type Metadata,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import {
  type SignBundleRequest,
  type SignBundleResponse,
  SignerService,
} from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import {
  type IssueControlRequest,
  type IssueControlResponse,
  type IssueJwtRequest,
  type IssueJwtResponse,
  IssuerService,
  type IssueWorkloadRequest,
  type IssueWorkloadResponse,
} from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { PeerOf } from '../mesh/peers.ts'
import type { MeshService } from '../mesh/server.ts'
import { Fault } from '../ports.ts'
import type { Authority } from './authority.ts'
import { DENIALS, type Denied } from './denial.ts'
import type { Given, Issue } from './issue.ts'

export type IssueKind = 'control' | 'workload' | 'jwt' | 'bundle'

/** What happened, for metrics and Events. Never a token or a key. */
export interface IssueRecord {
  issued(kind: IssueKind, count: number): void
  denied(kind: IssueKind, denied: Denied): void
  failed(kind: IssueKind, why: string): void
}

export interface ServiceNeeds {
  readonly issue: Issue
  readonly authority: Authority
  readonly record: IssueRecord
  readonly trustDomain: string
}

const CALL_MS = 15_000
/** Calls that wait for the API server at once; the rest are told to come back. */
const MAX_PENDING = 256
const DIGEST_BYTES = 32

/** The gRPC faces of the issuer. */
export function issuerServices(needs: ServiceNeeds, peerOf: PeerOf): readonly MeshService[] {
  const { issue, authority, record, trustDomain } = needs
  let pending = 0
  const unary = <Q, A>(kind: IssueKind, answer: Answerer<Q, A>): handleUnaryCall<Q, A> => {
    return (call, callback) => {
      if (pending >= MAX_PENDING) {
        record.failed(kind, 'too many calls at once')
        callback({ code: status.UNAVAILABLE, details: 'too many calls at once; try again with back-off' })
        return
      }
      pending += 1
      void settle(kind, answer, { call, callback, record }).finally(() => {
        pending -= 1
      })
    }
  }
  const issuer = {
    issueControl: unary<IssueControlRequest, IssueControlResponse>(
      'control',
      ({ csr, token }, call, signal) => issue.control({ csr, token, client: peerOf(call) }, signal),
    ),
    issueWorkload: unary<IssueWorkloadRequest, IssueWorkloadResponse>('workload', ({ csr }, call, signal) =>
      issue.workload(csr, peerOf(call), signal),
    ),
    issueJwt: unary<IssueJwtRequest, IssueJwtResponse>('jwt', (request, call, signal) =>
      issue.jwt(request, peerOf(call), signal),
    ),
  }
  const signer = {
    signBundle: unary<SignBundleRequest, SignBundleResponse>('bundle', async ({ digest }, call) => {
      const caller = peerOf(call)
      if (!caller) return { ok: false, reason: 'client_missing' }
      const control = `spiffe://${trustDomain}/portcullis/operator/control/`
      if (!caller.id.uri.startsWith(control)) return { ok: false, reason: 'client_identity' }
      if (digest.length !== DIGEST_BYTES) return { ok: false, reason: 'digest' }
      return { ok: true, value: authority.signBundle(digest) }
    }),
  }
  return [
    { definition: IssuerService, implementation: issuer },
    { definition: SignerService, implementation: signer },
  ]
}

type Answerer<Q, A> = (
  request: Q,
  call: { readonly metadata: Metadata },
  signal: AbortSignal,
) => Promise<Given<A>>

interface Exchange<Q, A> {
  readonly call: ServerUnaryCall<Q, A>
  readonly callback: sendUnaryData<A>
  readonly record: IssueRecord
}

async function settle<Q, A>(
  kind: IssueKind,
  answer: Answerer<Q, A>,
  { call, callback, record }: Exchange<Q, A>,
): Promise<void> {
  const gone = new AbortController()
  call.on('cancelled', () => gone.abort())
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(CALL_MS)])
  try {
    const given = await answer(call.request, call, signal)
    if (given.ok) {
      record.issued(kind, 1)
      callback(null, given.value)
      return
    }
    record.denied(kind, given)
    const [code, why] = DENIALS[given.reason]
    callback({ code, details: `${given.reason}: ${why}` })
  } catch (cause) {
    const { message } = Fault.from(cause)
    record.failed(kind, message)
    // What went wrong inside is for our log; the caller learns that it may try again.
    callback({ code: status.UNAVAILABLE, details: 'no answer can be given now; try again with back-off' })
  }
}
