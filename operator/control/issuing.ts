import { readFile } from 'node:fs/promises'
import { SignerService } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { IssuerService } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { SpiffeId, X509Trust } from '../../contracts/spiffe.ts'
import { callUnary, createMeshChannel, type MeshChannel } from '../mesh/channel.ts'
import type { MeshIdentity } from '../mesh/identity.ts'
import { createLive, type Live } from '../mesh/live.ts'
import { type OwnSvid, openOwnSvid } from '../mesh/own-svid.ts'
import { type Clocks, Fault, type Report } from '../ports.ts'
import type { BundleSignature } from './bundles.ts'

export interface IssuingNeeds extends Clocks {
  /** `host:port` of the issuer's service. */
  readonly issuer: string
  readonly trustDomain: string
  readonly tokenFile: string
  readonly trust: Live<X509Trust>
  readonly report: Report
}

/** What this replica has from the issuer: its own SVID, and signatures. */
export interface Issuing extends AsyncDisposable {
  readonly identity: OwnSvid
  sign(digest: Buffer, signal: AbortSignal): Promise<BundleSignature>
}

const CALL_MS = 5_000
const TOKEN_BYTES = 8 * 1024
const MESSAGE_BYTES = 256 * 1024

/** Gets the replica's SVID, trying until the signal aborts. */
export async function openIssuing(needs: IssuingNeeds, signal: AbortSignal): Promise<Issuing> {
  const shown = createLive<MeshIdentity | undefined>(undefined)
  const channel = channelTo(needs, shown)
  const within = (one: AbortSignal) => ({ deadlineMs: needs.now() + CALL_MS, signal: one })
  const identity = await openOwnSvid(
    {
      ...needs,
      failed: (problem) => needs.report('svid_not_issued', { issuer: needs.issuer, problem }),
      issue: async (csr, held, one) => {
        if (shown.current() !== held) shown.set(held)
        const token = await readToken(needs.tokenFile)
        const answer = await callUnary(
          channel.client(),
          IssuerService.issueControl,
          { csr, token },
          within(one),
        )
        if (!answer.ok) throw new Fault('fetch', answer.why)
        const { svid } = answer.value
        if (!svid) throw new Fault('fetch', 'the issuer answered without an SVID')
        return svid
      },
    },
    signal,
  )
  const signing = channelTo(needs, identity)
  return {
    identity,
    async sign(digest, one) {
      const answer = await callUnary(signing.client(), SignerService.signBundle, { digest }, within(one))
      if (!answer.ok) throw new Fault('fetch', `the issuer did not sign: ${answer.why}`)
      return { keyId: answer.value.keyId, value: answer.value.signature }
    },
    async [Symbol.asyncDispose]() {
      await identity[Symbol.asyncDispose]()
      channel[Symbol.dispose]()
      signing[Symbol.dispose]()
    },
  }
}

function channelTo(needs: IssuingNeeds, identity: Live<MeshIdentity | undefined>): MeshChannel {
  const prefix = '/portcullis/operator/issuer/'
  const expected = (server: SpiffeId) =>
    server.trustDomain === needs.trustDomain && server.path.startsWith(prefix)
  const { issuer: target, trust, now } = needs
  return createMeshChannel({
    target,
    identity,
    trust,
    expected,
    now,
    requestBytes: MESSAGE_BYTES,
    responseBytes: MESSAGE_BYTES,
  })
}

// Read anew each time: the kubelet replaces it long before it expires.
async function readToken(path: string): Promise<string> {
  const token = await readFile(path, 'utf8').catch(() => '')
  if (token.length === 0 || token.length > TOKEN_BYTES)
    throw new Fault('internal', `${path}: no service account token`)
  return token.trim()
}
