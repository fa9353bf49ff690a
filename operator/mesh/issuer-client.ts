import { SignerService } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { IssuerService } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { X509Trust } from '../../contracts/spiffe.ts'
import { Fault, type Now } from '../ports.ts'
import { callUnary, createMeshChannel, type UnaryMethod } from './channel.ts'
import type { MeshIdentity } from './identity.ts'
import { createLive, type Live } from './live.ts'
import type { IssuedSvid } from './own-svid.ts'

/** How a replica of `control` reaches the issuer. */
export interface IssuerClientOptions {
  /** `portcullis-issuer.<namespace>.svc:8444`. */
  readonly target: string
  readonly trust: Live<X509Trust>
  /** The projected token, read anew for each call: the kubelet replaces it. */
  readonly token: () => Promise<string>
  readonly now: Now
}

export interface IssuerClient {
  /** For `openOwnSvid`. */
  issue(csr: Buffer, held: MeshIdentity | undefined, signal: AbortSignal): Promise<IssuedSvid>
  /** `digest`: 32 bytes. `own` must be a SVID of `control`. */
  signBundle(digest: Uint8Array, own: MeshIdentity, signal: AbortSignal): Promise<BundleSignature>
}
export interface BundleSignature {
  readonly keyId: string
  /** ECDSA P-256 with SHA-256, IEEE P1363. */
  readonly value: Buffer
}

const CALL_MS = 15_000
const REQUEST_BYTES = 16 * 1024
const RESPONSE_BYTES = 1024 * 1024

/** Calls the issuer, each time on a connection of its own: they are few, and always of the SVID of that moment. */
export function createIssuerClient(options: IssuerClientOptions): IssuerClient {
  const { target, trust, token, now } = options
  const ask = async <Q, A>(
    method: UnaryMethod<Q, A>,
    request: Q,
    identity: MeshIdentity | undefined,
    signal: AbortSignal,
  ): Promise<A> => {
    const { trustDomain } = trust.current()
    using channel = createMeshChannel({
      target,
      trust,
      now,
      identity: createLive(identity),
      expected: ({ uri }) => uri.startsWith(`spiffe://${trustDomain}/portcullis/operator/issuer/`),
      requestBytes: REQUEST_BYTES,
      responseBytes: RESPONSE_BYTES,
    })
    const within = { deadlineMs: now() + CALL_MS, signal }
    const answer = await callUnary(channel.client(), method, request, within)
    if (!answer.ok) throw new Fault('api', `${method.path}: status ${answer.code}, ${answer.why}`)
    return answer.value
  }
  return {
    issue: async (csr, held, signal) => {
      const request = { csr, token: (await token()).trim() }
      const { svid } = await ask(IssuerService.issueControl, request, held, signal)
      if (!svid) throw new Fault('api', 'the issuer answered without an SVID')
      return svid
    },
    signBundle: async (digest, own, signal) => {
      const request = { digest: Buffer.from(digest) }
      const { keyId, signature } = await ask(SignerService.signBundle, request, own, signal)
      return { keyId, value: signature }
    },
  }
}
