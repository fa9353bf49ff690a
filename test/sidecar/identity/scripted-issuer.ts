import { type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import { proveCsr } from '../../../contracts/csr.ts'
import {
  type IssueControlRequest,
  type IssueControlResponse,
  type IssueJwtRequest,
  type IssueJwtResponse,
  IssuerService,
  type IssueWorkloadRequest,
  type IssueWorkloadResponse,
  type TrustBundle,
  type X509Svid,
} from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Authority, JwtSigner, KeyAndChain } from './authority.ts'
import { openTlsServer, type PeerOf, type TlsServer } from './tls-server.ts'

// An issuer over real TLS and gRPC that does what its script says. It takes any token and pins nothing; it remembers what it was asked.

export interface Script {
  authority: Authority
  signer: JwtSigner
  bundle: TrustBundle
  podUid: string
  workloadIds: readonly string[]
  hints: readonly string[]
  svidTtlMs: number
  /** As `svidTtlMs` where unset. */
  workloadTtlMs?: number
  jwtTtlMs: number
  /** Refuses everything, or the one method, with this code. */
  refuse: Partial<Record<Method | 'all', { readonly code: number; readonly details: string }>>
  /** Changes an answer on its way out. */
  spoil: <T>(method: Method, answer: T) => T
  wall: () => number
}

export type Method = 'control' | 'workload' | 'jwt'

export interface Asked {
  readonly method: Method
  /** Of the client certificate; undefined without one. */
  readonly peer: string | undefined
  /** SHA-256 of the key asked for; empty for tokens. */
  readonly key: string
  readonly token: string
  readonly audience: readonly string[]
}

export interface ScriptedIssuer extends TlsServer {
  readonly asked: readonly Asked[]
}

export async function openScriptedIssuer(script: Script, credential: KeyAndChain): Promise<ScriptedIssuer> {
  const asked: Asked[] = []
  const server = await openTlsServer(credential, (grpc, peerOf) =>
    grpc.addService(IssuerService, { ...methods(script, asked, peerOf) }),
  )
  return { ...server, asked }
}

function methods(script: Script, asked: Asked[], peerOf: PeerOf) {
  type Call<T> = ServerUnaryCall<T, unknown>
  const enter = (method: Method, call: Call<unknown>, rest: Partial<Asked>) => {
    asked.push({ method, peer: peerOf(call.getPeer()), key: '', token: '', audience: [], ...rest })
    return script.refuse.all ?? script.refuse[method]
  }
  const svid = async (
    id: string,
    csr: Uint8Array,
    hint: string,
    ttlMs = script.svidTtlMs,
  ): Promise<X509Svid> => {
    const proven = proveCsr(csr)
    if (!proven.ok) throw new Error(proven.why)
    const at = script.wall()
    const validity = { notBefore: at - 30_000, notAfter: at + ttlMs }
    const leaf = await script.authority.issue({ id, spki: proven.spki, ...validity })
    return {
      spiffeId: id,
      chain: [leaf],
      notBeforeMs: validity.notBefore,
      notAfterMs: validity.notAfter,
      hint,
    }
  }
  const { trustDomain } = script.bundle
  return {
    issueControl(call: Call<IssueControlRequest>, reply: sendUnaryData<IssueControlResponse>) {
      const { csr, token } = call.request
      const refusal = enter('control', call, { token, key: keyOf(csr) })
      if (refusal) return reply(refusal)
      svid(`spiffe://${trustDomain}/portcullis/pod/${script.podUid}`, csr, '').then(
        (one) => reply(null, script.spoil('control', { svid: one, bundle: script.bundle })),
        () => reply({ code: status.INTERNAL, details: 'test' }),
      )
    },
    issueWorkload(call: Call<IssueWorkloadRequest>, reply: sendUnaryData<IssueWorkloadResponse>) {
      const refusal = enter('workload', call, { key: keyOf(call.request.csr) })
      if (refusal) return reply(refusal)
      const svids = script.workloadIds.map((id, index) =>
        svid(id, call.request.csr, script.hints[index] ?? '', script.workloadTtlMs),
      )
      Promise.all(svids).then(
        (all) => reply(null, script.spoil('workload', { svids: all, bundle: script.bundle })),
        () => reply({ code: status.INTERNAL, details: 'test' }),
      )
    },
    issueJwt(call: Call<IssueJwtRequest>, reply: sendUnaryData<IssueJwtResponse>) {
      const { audience, spiffeId } = call.request
      const refusal = enter('jwt', call, { audience })
      if (refusal) return reply(refusal)
      const exp = Math.floor((script.wall() + script.jwtTtlMs) / 1000)
      const iat = Math.floor(script.wall() / 1000)
      const ids = spiffeId ? [spiffeId] : script.workloadIds
      const svids = ids.map((sub) => ({
        spiffeId: sub,
        token: script.signer.sign({ sub, aud: audience, exp, iat }),
        expiresAtMs: exp * 1000,
        hint: '',
      }))
      reply(null, script.spoil('jwt', { svids }))
    },
  }
}

function keyOf(csr: Uint8Array): string {
  const proven = proveCsr(csr)
  return proven.ok ? proven.spki.toString('base64') : proven.why
}
